"""The input of the compiler: the configuration, facts of the host, and the options of the command."""

from __future__ import annotations

import os

from pyruntime.runtime.plan.steps import NO_SLOT
from pyruntime.system import uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyruntime.runtime.cgroups.host import CgroupHost
    from pyruntime.runtime.cgroups.systemd import Systemd
    from pyruntime.runtime.config.load import Config

# linux.namespaces[].type and its flag, in the order of joining. The user namespace is last, so that namespaces of the
# host are joined with the host's privileges (if those do not suffice, setns is tried again after it).
NAMESPACES: dict[str, int] = {
    "pid": uapi.CLONE_NEWPID,
    "network": uapi.CLONE_NEWNET,
    "ipc": uapi.CLONE_NEWIPC,
    "uts": uapi.CLONE_NEWUTS,
    "cgroup": uapi.CLONE_NEWCGROUP,
    "time": uapi.CLONE_NEWTIME,
    "mount": uapi.CLONE_NEWNS,
    "user": uapi.CLONE_NEWUSER,
}
PROC_NAMES = {"network": "net", "mount": "mnt"}   # names below /proc/PID/ns that differ from the specification's


class Host:
    """Facts about the host and the caller, read once. ``rootless``: without full privileges in the initial user
    namespace.

    ``capabilities``  mask of the capabilities that this process can grant (its bounding and permitted sets)
    ``nodename``      the host name of the runtime's own UTS namespace
    ``last_cap``      the highest capability number of the kernel
    ``systemd``       the instance that creates the cgroup, if requested
    ``proc_mounts``   mount points of full procfs and sysfs instances, deepest first (for --no-pivot)
    """

    __slots__ = ("apparmor", "capabilities", "cgroup", "egid", "euid", "last_cap", "nodename", "proc_mounts", "resctrl",
                 "rootless", "selinux", "systemd", "user_namespace")

    def __init__(self, *, cgroup: CgroupHost, euid: int = 0, egid: int = 0, user_namespace: bool = False,
                 capabilities: int = (1 << 41) - 1, last_cap: int = 40, apparmor: bool = False, selinux: bool = False,
                 resctrl: str = "", proc_mounts: tuple[str, ...] = ("/proc", "/sys"), rootless: bool | None = None,
                 systemd: Systemd | None = None, nodename: str = "") -> None:
        self.cgroup = cgroup
        self.nodename = nodename
        self.euid = euid
        self.egid = egid
        self.user_namespace = user_namespace
        self.capabilities = capabilities
        self.last_cap = last_cap
        self.apparmor = apparmor
        self.selinux = selinux
        self.systemd = systemd
        self.resctrl = resctrl
        self.proc_mounts = proc_mounts
        self.rootless = (euid != 0 or user_namespace) if rootless is None else rootless


CGROUP_MANAGERS = ("cgroupfs", "systemd", "disabled")


class PlanOptions:
    """Options of the command line. ``scratch``: a directory of the host that belongs to the container;
    ``cgroup_manager``: one of CGROUP_MANAGERS; ``given``: kinds of namespaces whose descriptors the stub is started
    with: "user", which the configuration joins by a path, and "mount", of which the container's is a copy; ``waits``:
    whether init waits for `start`."""

    __slots__ = ("cgroup_manager", "console", "filter_cache", "given", "new_keyring", "pivot", "preserve_fds",
                 "scratch", "waits")

    def __init__(self, *, pivot: bool = True, new_keyring: bool = True, preserve_fds: int = 0, console: bool = False,
                 filter_cache: str = "", scratch: str = "", cgroup_manager: str = "cgroupfs",
                 given: Sequence[str] = (), waits: bool = True) -> None:
        self.given = given
        self.waits = waits
        self.cgroup_manager = cgroup_manager
        self.scratch = scratch
        self.pivot = pivot
        self.new_keyring = new_keyring
        self.preserve_fds = preserve_fds
        self.console = console
        self.filter_cache = filter_cache


class Joined:
    """The container that a process joins by `exec`, instead of creating a container.

    ``pid``            its init, in the runtime's pid namespace
    ``flags``          the namespaces of init that are not the runtime's (CLONE_NEW*)
    ``own_root``       whether its root filesystem is the root of its mount namespace, not only that of init
    ``cgroup``         the directory to enter in each hierarchy; ``cgroup_where``: the option that chose it, or empty
    ``unit``, ``user`` its systemd unit, or empty, and whether that is a user unit
    ``pid_file``, ``pidfd_socket``   as on the command line
    ``adopted``        whether init becomes its parent, instead of the runtime
    """

    __slots__ = ("adopted", "cgroup", "cgroup_where", "flags", "own_root", "pid", "pid_file", "pidfd_socket", "unit",
                 "user")

    def __init__(self, *, pid: int, flags: int, own_root: bool, cgroup: dict[str, str], cgroup_where: str = "",
                 pid_file: str = "", pidfd_socket: str = "", unit: str = "", user: bool = False,
                 adopted: bool = False) -> None:
        self.adopted = adopted
        self.pid = pid
        self.unit = unit
        self.user = user
        self.flags = flags
        self.own_root = own_root
        self.cgroup = cgroup
        self.cgroup_where = cgroup_where
        self.pid_file = pid_file
        self.pidfd_socket = pidfd_socket


class Revived:
    """The CRIU that restores a container, in the place of init.

    ``program``        its path; ``environment``: the variables that it inherits
    ``descriptors``    how many descriptors it gets besides the standard ones, from 3 on
    """

    __slots__ = ("descriptors", "environment", "program")

    def __init__(self, *, program: str, environment: list[str], descriptors: int) -> None:
        self.program = program
        self.environment = environment
        self.descriptors = descriptors


class Setup:
    """The input of every section's ``emit``: plain values, no I/O.

    ``slots`` names the descriptors that the parent passes to the stub at its start, in order; ``next_slot`` is the
    first slot for descriptors that the plan itself opens. ``birthplace`` is the slot of the cgroup that init is cloned
    into, if any.
    """

    def __init__(self, config: Config, host: Host, options: PlanOptions, container_id: str,
                 joined: Joined | None = None, revived: Revived | None = None) -> None:
        self.config = config
        self.host = host
        self.options = options
        self.container_id = container_id
        self.rootfs = os.path.normpath(os.path.join(config.bundle, config.get("root.path", "rootfs")))
        self.namespaces: dict[str, str] = {}
        self.where: dict[str, str] = {}
        for node in config["linux.namespaces"].each():
            self.namespaces[node.value["type"]] = node.get("path", "")
            self.where[node.value["type"]] = node.where
        self.warnings: list[str] = []
        self.cgroup_paths: dict[str, str] = {}
        # Destinations in order, the slots that keep some of them, and whether it is a procfs without subset=pid.
        self.mounted: list[tuple[str, int, bool]] = []
        self.birthplace = NO_SLOT
        self.joined_container = joined
        self.revived = revived
        self.slots = ["start"] * options.waits if joined is None else ["init"] if joined.own_root else ["init", "root"]
        if config.get("process.terminal", False) and options.console:
            self.slots.append("console")
        if self._notifies():
            self.slots.append("seccomp")
        self.slots += options.given
        if revived is not None:   # no `start`, and the terminal and the filter are from the image
            self.slots = []
        self._next_slot = len(self.slots)

    def _notifies(self) -> bool:
        seccomp = self.config["linux.seccomp"]
        actions = [rule.get("action") for rule in seccomp["syscalls"].each()]
        return "SCMP_ACT_NOTIFY" in (*actions, seccomp.get("defaultAction"))

    def slot(self) -> int:
        """Allocate a slot for a descriptor that the plan opens."""
        self._next_slot += 1
        return self._next_slot - 1

    def new(self, kind: str) -> bool:
        """Whether the container gets a new namespace of this kind."""
        return self.namespaces.get(kind) == ""

    def joined(self, kind: str) -> str:
        """The path of the namespace that the container joins, or the empty string."""
        return self.namespaces.get(kind, "")

    @property
    def in_user_namespace(self) -> bool:
        """Whether init cannot create device nodes: it runs in a user namespace other than the initial one."""
        return "user" in self.namespaces or self.host.user_namespace or self.host.euid != 0

    def warn(self, where: str, what: str) -> None:
        """Record a warning that the specification requires."""
        self.warnings.append(f"{self.config.document}: {where}: {what}")

    def state_now(self) -> dict[str, Any]:
        """The state document during the plan; the pid is 0 if init does not exist yet."""
        if self.joined_container:
            return self.state("running", pid=self.joined_container.pid)
        return self.state("creating", pid=0)

    def state(self, status: str, *, pid: int | None) -> dict[str, Any]:
        """The state document for a hook of this container."""
        return self.state_of(self.config, self.container_id, status, pid)

    @staticmethod
    def state_of(config: Config, container_id: str, status: str, pid: int | None) -> dict[str, Any]:
        """The state document of runtime.md#state for a hook; without the pid property if it is None."""
        state: dict[str, Any] = {"ociVersion": config.get("ociVersion"), "id": container_id, "status": status}
        if pid is not None:
            state["pid"] = pid
        state["bundle"] = config.bundle
        annotations = config.get("annotations")
        if annotations:
            state["annotations"] = annotations
        return state
