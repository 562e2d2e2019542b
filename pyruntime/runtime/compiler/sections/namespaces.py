"""linux.namespaces, uidMappings, gidMappings, timeOffsets; hostname, domainname: the namespaces and their contents.

Spec:   config-linux.md#namespaces, #user-namespace-mappings, #offset-for-time-namespace; config.md#hostname
Emits:  open_namespace, hold_pids, setns, unshare, map_ids, become_root, close_proc, clone_init, setsid, loopback_up,
        cgroup_namespace, set_hostname, set_domainname   (phases ENTER, USER, UNSHARE, ISOLATE, HOOKS, SESSION)

From its clone on, init is visible to the processes of a joined pid namespace: with CAP_SYS_PTRACE they can access its
root directory and every descriptor (/proc/PID/root, /proc/PID/fd). In that case the stub does the whole set-up from
outside the pid namespace, and init is cloned at the end (docs/decisions/0019-nothing-of-the-host-is-open.md).
"""

from __future__ import annotations

import errno

from pyruntime.runtime.compiler.setup import NAMESPACES
from pyruntime.runtime.config.sections.namespaces import sysctl_namespace, sysctl_parts
from pyruntime.runtime.plan.steps import NO_SLOT, step
from pyruntime.system import uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.runtime.compiler.setup import Setup
    from pyruntime.runtime.config.node import Node
    from pyruntime.runtime.plan.steps import Step

# Created by unshare(2). The pid namespace is created by clone, the cgroup namespace through a helper, and the user
# namespace first.
_UNSHARED = ("mount", "uts", "ipc", "network", "time")
_UNPERMITTED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT)


def emit(setup: Setup) -> Iterator[Step]:
    """The steps that join, create and configure the namespaces."""
    yield from _join(setup)
    yield from cgroup_owner(setup)
    if setup.new("user"):
        yield from _user(setup)
    elif setup.joined("user"):
        yield step("user", "become_root", setup.where["user"])
    yield from _unshare(setup)
    yield from _isolate(setup)


def host_id(mappings: Node, inside: int) -> int:
    """The host's ID for an ID of the container; the same ID if it is not mapped (it then appears as the overflow
    ID)."""
    for line in mapping_lines(mappings):
        first, outside, size = map(int, line.split())
        if first <= inside < first + size:
            return outside + inside - first
    return inside


def cgroup_owner(setup: Setup) -> Iterator[Step]:
    """config-linux.md#cgroup-ownership: cgroup v2, a new cgroup namespace, and a writable cgroup mount."""
    path = setup.cgroup_paths.get("", "")
    writable = [mount for mount in setup.config["mounts"].each()
                if mount.get("source") == "cgroup" and mount.get("destination") == "/sys/fs/cgroup"
                and "ro" not in mount.get("options", [])]
    if not (path and setup.host.cgroup.layout == "v2" and setup.new("cgroup") and setup.new("user") and writable):
        return
    uid = host_id(setup.config["linux.uidMappings"], setup.config.get("process.user.uid", 0))
    yield step("cgroup", "cgroup_own", writable[0].where, path=path, uid=uid)


def _changed(setup: Setup) -> dict[str, str]:
    """The properties that the configuration changes in a namespace: kind -> an example. In the runtime's own namespace
    this would change the host."""
    found: dict[str, str] = {}
    for key in setup.config["linux.sysctl"].value or {}:
        found.setdefault(sysctl_namespace(sysctl_parts(key)), f'sysctl "{key}"')
    for field, present in (("hostname", setup.host.nodename), ("domainname", "")):
        if setup.config.get(field) not in (None, "", present):
            found["uts"] = field
    return found


def _join(setup: Setup) -> Iterator[Step]:
    slots = {}
    changed = _changed(setup)
    for kind, flag in NAMESPACES.items():
        if kind in setup.options.given:   # without root, the mounts are joined after the user namespace
            slots[kind] = setup.slots.index(kind)
        elif path := setup.joined(kind):
            slots[kind] = setup.slot()
            yield step("enter", "open_namespace", setup.where[kind] + ".path", label=f"{kind} namespace", path=path,
                       kind=flag, slot=slots[kind], foreign=changed.get(kind, ""))
    late = shares_pids(setup)
    if late:
        slot = slots.pop("pid")
        where = setup.where["pid"] + ".path"
        yield step("enter", "hold_pids", where, slot=slot)
        # Takes effect for children: the createContainer hooks, which run in the container's namespaces, and then init.
        yield step("hooks", "setns", where, label=f"pid namespace {setup.joined('pid')}", slot=slot,
                   kind=NAMESPACES["pid"])
    for kind, slot in slots.items():
        yield step("user" if kind == "user" else "enter", "setns", setup.where[kind] + ".path",
                   label=f"{kind} namespace {setup.joined(kind)}", slot=slot, kind=NAMESPACES[kind])


def shares_pids(setup: Setup) -> bool:
    """Whether init joins an existing pid namespace, and is therefore cloned late. Not from a new user namespace, which
    has no privileges in that pid namespace later on."""
    return bool(setup.joined("pid")) and not setup.new("user")


def mapping_lines(mappings: Node) -> list[str]:
    """The lines of a uid_map or gid_map file (user_namespaces(7)): inside, outside, count."""
    return [f"{m.value['containerID']} {m.value['hostID']} {m.value['size']}" for m in mappings.each()]


def _user(setup: Setup) -> Iterator[Step]:
    where = setup.where["user"]
    linux = setup.config["linux"]
    yield step("user", "unshare", where, label="new user namespace", flags=uapi.CLONE_NEWUSER)
    # /proc/PID belongs to the host's root while the stub is not dumpable, and an unprivileged parent could not map IDs.
    yield step("user", "set_dumpable", where, value=1)
    gids = mapping_lines(linux["gidMappings"])
    single = setup.host.rootless and len(gids) == 1 and gids[0].split()[1:] == [str(setup.host.egid), "1"]
    yield step("user", "map_ids", linux["uidMappings"].where, uids=mapping_lines(linux["uidMappings"]), gids=gids,
               setgroups="deny" if single else "")
    if _born_as_owner(setup):
        yield _clone(setup, "user")
    yield step("unshare" if _born_as_owner(setup) else "user", "become_root", linux["uidMappings"].where)


def _born_as_owner(setup: Setup) -> bool:
    """Whether init is cloned before it becomes the root of its user namespace: only the owner of the cgroup may create
    a process there, and moving it there later takes 10 ms. A time namespace applies to children of who creates it, and
    the processes of a joined pid namespace must not see the set-up."""
    return (setup.birthplace != NO_SLOT and setup.new("user") and not setup.new("time")
            and not setup.joined("pid"))


def _clone(setup: Setup, phase: str) -> Step:
    pid = setup.new("pid")
    return step(phase, "clone_init", setup.where["pid"] if pid else "process", label="init",
                flags=uapi.CLONE_NEWPID if pid else 0, cgroup=setup.birthplace)


def _unshare(setup: Setup) -> Iterator[Step]:
    flags = 0
    for kind in _UNSHARED:
        if setup.new(kind):
            flags |= NAMESPACES[kind]
    kinds = ", ".join(kind for kind in _UNSHARED if setup.new(kind))
    if flags:
        yield step("unshare", "unshare", "linux.namespaces", label=kinds, flags=flags)
    offsets = setup.config["linux.timeOffsets"]
    lines = [f"{clock} {node.get('secs', 0)} {node.get('nanosecs', 0)}\n" for clock, node in offsets.items()]
    if lines:
        if "user" in setup.namespaces:
            # Otherwise the file would belong to the host's root, since the stub's IDs have changed (proc(5),
            # PR_SET_DUMPABLE).
            yield step("unshare", "set_dumpable", offsets.where, value=1)
        yield step("unshare", "write_proc", offsets.where, path="self/timens_offsets", data="".join(lines))
    # A process of a joined pid namespace could access the stub through /proc/PID (CVE-2016-9962).
    yield step("unshare", "set_dumpable", "linux.namespaces", value=0)
    if shares_pids(setup):
        yield step("session", "close_proc", "linux.namespaces")
        yield _clone(setup, "session")
    elif not _born_as_owner(setup):
        yield _clone(setup, "unshare")


def _isolate(setup: Setup) -> Iterator[Step]:
    config = setup.config
    yield step("isolate", "setsid", "process")
    if shares_pids(setup):
        yield step("session", "setsid", "process")
    if setup.new("network"):
        yield step("isolate", "loopback_up", setup.where["network"])
    if config["hostname"]:
        yield step("isolate", "set_hostname", "hostname", name=config.get("hostname"))
    if config["domainname"]:
        yield step("isolate", "set_domainname", "domainname", name=config.get("domainname"))
    # Without a container cgroup (--cgroup-manager=disabled) the root of the namespace is the runtime's cgroup.
    if setup.new("cgroup") and (setup.cgroup_paths or setup.host.cgroup.layout != "none"):
        where = setup.where["cgroup"]
        slots = bytearray()
        # As with the directories themselves (cgroups/resources.py), hierarchies that are not writable are left out.
        lenient = setup.host.rootless and not config.get("linux.cgroupsPath")
        for hierarchy, path in setup.cgroup_paths.items():
            slots.append(setup.slot())
            yield step("enter", "open_file", where, label=f"cgroup {hierarchy or 'v2'}",
                       path=f"{path}/{'tasks' if hierarchy else 'cgroup.procs'}", slot=slots[-1],
                       tolerate=_UNPERMITTED if lenient else ())
        yield step("isolate", "cgroup_namespace", where, slots=bytes(slots))
