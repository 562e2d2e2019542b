"""`restore`: restore a container from a directory that `checkpoint` wrote.

Not part of the specification; the command line is that of runc (runc-restore(8)). The cgroup with the limits of
config.json and the mount points are created as by `create`. CRIU restores everything else from the image, and its
children become children of the runtime. docs/decisions/0013-checkpoint.md.
"""

from __future__ import annotations

import _socket
import fcntl
import os

from pyruntime.errors import HostError, PyruntimeError, UsageError, words
from pyruntime.runtime.cgroups.group import Cgroup
from pyruntime.runtime.compiler.compile import Plan, compile_restore
from pyruntime.runtime.compiler.setup import PlanOptions, Revived, Setup
from pyruntime.runtime.config.joining import kept_of
from pyruntime.runtime.config.load import Config, load_bundle
from pyruntime.runtime.lifecycle import channel, notify
from pyruntime.runtime.lifecycle import checkpoint_protocol as protocol
from pyruntime.runtime.lifecycle.checkpoint_criu import Criu, environment, find_program
from pyruntime.runtime.lifecycle.checkpoint_image import (
    EXTERNAL_NAMESPACES,
    RESTORE_LOG,
    CriuRequest,
    has_mount,
    make_directory,
    mount_sources,
    open_directory,
    read_descriptors,
    refuse_rootless,
    remove_log,
)
from pyruntime.runtime.lifecycle.create import Request, check_bundle, check_terminal, own_unit, record_of
from pyruntime.runtime.lifecycle.delete import delete, destroy
from pyruntime.runtime.lifecycle.facts import read_host
from pyruntime.runtime.lifecycle.launch import Launch
from pyruntime.runtime.lifecycle.life import prepare, settle
from pyruntime.runtime.lifecycle.parent import THIS_PROCESS, Parent
from pyruntime.runtime.lifecycle.report import report_pid
from pyruntime.runtime.lifecycle.store import StateDirectory, StateRecord
from pyruntime.runtime.lifecycle.template import leave
from pyruntime.system import kernel, sockets, uapi
from pyruntime.system.json import encode
from pyruntime.system.processes import start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from pyruntime.runtime.compiler.setup import Host

_STAGE = "stage"   # in the container's directory: mount point of the root filesystem while CRIU works
_JOINED = ("ipc", "uts")   # namespaces that CRIU enters by path; network and pid by descriptor


class RestoreRequest(CriuRequest):
    """The options of `restore`, besides the ID, the bundle and those of `CriuRequest`.

    ``lsm_profile``   TYPE:NAME, ``apparmor`` or ``selinux``: overrides the label of the image
    ``lsm_context``   SELinux context of the mounts
    ``inherited``     descriptors for pipes of the processes whose other ends were outside, by their keys: pipe:[N]
    ``restored``      called with init's pid when all processes exist, and none of them goes on yet
    The other options are those of `create`.
    """

    def __init__(self, *, console_socket: str = "", console: _socket.socket | None = None, pid_file: str = "",
                 detached: bool = True, lsm_profile: str = "", lsm_mount_context: str = "",
                 cgroup_manager: str = "cgroupfs", streams: Sequence[int] = (), parent: Parent = THIS_PROCESS,
                 inherited: Mapping[str, int] | None = None, restored: Callable[[int], None] = lambda pid: None,
                 warn: Callable[[str], None] = lambda text: None, debug: Callable[[str], None] = lambda text: None,
                 **options: Any) -> None:
        super().__init__(**options)
        self.inherited = inherited or {}
        self.restored = restored
        if lsm_profile and lsm_profile.partition(":")[0] not in ("apparmor", "selinux"):
            raise UsageError(f'--lsm-profile "{lsm_profile}": write apparmor:NAME or selinux:LABEL')
        self.lsm_profile = lsm_profile
        self.lsm_mount_context = lsm_mount_context
        self.create = Request(console_socket=console_socket, console=console, pid_file=pid_file, detached=detached,
                              rootless=self.rootless, cgroup_manager=cgroup_manager, streams=streams, parent=parent,
                              warn=warn, debug=debug)


def restore(root: str, container_id: str, bundle: str, request: RestoreRequest, *, subreaper: bool = True) -> int:
    """Restore a container. Detached: return 0 once the container runs. Otherwise forward signals and the terminal,
    wait, delete the container and return its exit status (128 + N when signal N killed it). Raises PyruntimeError;
    after an error nothing of the container is left.
    """
    if request.create.detached:
        _restore(root, container_id, bundle, request)
        return 0
    from pyruntime.runtime.lifecycle.foreground import Foreground  # lazy: only without --detach

    foreground = Foreground()
    foreground.begin()
    try:
        ours = theirs = None
        if load_bundle(bundle).get("process.terminal", False):
            ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM, 0)
            request.create.console = theirs
        if subreaper:
            kernel.become_subreaper()
        record = _restore(root, container_id, bundle, request)
        pidfd = os.pidfd_open(record.pid)
        try:
            if ours is not None and theirs is not None:
                theirs.close()   # otherwise receive_fd would never end if the image has no terminal
                try:
                    foreground.terminal(sockets.receive_fd(ours))
                except PyruntimeError as error:
                    delete(root, container_id, force=True, warn=error.notes.append)
                    raise
            status = foreground.wait(record.pid, pidfd)
        finally:
            os.close(pidfd)
        delete(root, container_id, force=True, warn=request.create.warn)
        return status
    finally:
        foreground.end()


def _restore(root: str, container_id: str, bundle: str, request: RestoreRequest) -> StateRecord:
    config = load_bundle(bundle)
    check_bundle(config)
    check_terminal(config, request.create)
    refuse_rootless(request, "restore")
    return revive(root, container_id, config, request,
                  read_host(request.rootless, systemd=request.create.cgroup_manager == "systemd"))


def revive(root: str, container_id: str, config: Config, request: RestoreRequest, host: Host) -> StateRecord:
    """Restore a container of a checked configuration on a host: with a cgroup in each of its hierarchies. Raises like
    `restore`."""
    container = StateDirectory(root, container_id)
    program = find_program(request.criu)
    names = read_descriptors(request.image_path)
    kept = kept_of(config, new_keyring=True)
    notifies = has_mount(request.image_path, notify.PLACE) and not any(
        node.get("destination") == notify.PLACE for node in config["mounts"].each())
    if notifies:   # `create` mounted a directory for the notify socket, which config.json does not have
        mounts = [*config.get("mounts", []), notify.mount(container.directory)]
        config = Config({**config.value, "mounts": mounts}, config.document, config.bundle, config.forgiven)
    make_directory(request.work_path, "--work-path")
    remove_log(request.work_path, RESTORE_LOG)
    stage = os.path.join(container.directory, _STAGE)
    namespaces = _open_namespaces(config)
    given = {**namespaces, **request.inherited}
    try:
        revived = Revived(program=program, descriptors=1 + len(given),
                          environment=[f"{name}={value}" for name, value in environment().items()])
        plan = compile_restore(config, host, PlanOptions(
            scratch=stage, cgroup_manager=request.create.cgroup_manager), container_id, revived)
        for warning in (*(f"{config.document}: {problem}" for problem in config.forgiven), *plan.warnings):
            request.create.warn(warning)
        record = record_of(config, container_id, plan, command=request.create.command)
        container.claim(record)
        revival = Revival(plan, config, container, record, request)
        try:
            container.keep(encode(kept).encode())
            if notifies:
                notify.prepare(container.directory)
            os.mkdir(stage, 0o700)
            revival.bring_back(names, given)
            os.rmdir(stage)
            record.creator = [0, 0]
            leave(container, record, kept, host)
            settle(container, record, prepare(container, record))
        except BaseException as error:
            revival.abandon(error)
            container.remove()
            raise
        return record
    finally:
        for fd in namespaces.values():
            os.close(fd)


def _open_namespaces(config: Config) -> dict[str, int]:
    """Open the namespaces that the container joins: CRIU's key -> descriptor."""
    opened: dict[str, int] = {}
    try:
        for node in config["linux.namespaces"].each():
            kind, path = node.get("type"), node.get("path", "")
            if not path or kind in _JOINED:
                continue
            if kind not in EXTERNAL_NAMESPACES:
                raise HostError(f"{config.document}: {node.where}.path: CRIU cannot restore a container into a given"
                                f" {kind} namespace", f"{node.where}.path")
            try:
                opened[EXTERNAL_NAMESPACES[kind][1]] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise HostError(f'{config.document}: {node.where}.path: open "{path}": {error.strerror}',
                                f"{node.where}.path") from None
    except BaseException:
        for fd in opened.values():
            os.close(fd)
        raise
    return opened


class Revival(Launch):
    """The launch of `restore`, followed by the RPC exchange with the CRIU that it starts. CRIU takes the place of init
    in the plan: the steps that move init into cgroups move CRIU and its children."""

    def __init__(self, plan: Plan, config: Config, container: StateDirectory, record: StateRecord,
                 request: RestoreRequest) -> None:
        super().__init__(plan, {}, 0, request.create.debug, request.create.streams, request.create.parent)
        self.config = config
        self.container = container
        self.record = record
        self.request = request
        self._began = False
        self._nodes = [step.args["path"] for step in plan.steps if step.op.name == "device_source"]

    def ready(self) -> None:
        if own_unit(self.record, self.plan):
            self.container.write(self.record)

    def _spawn(self) -> None:
        super()._spawn()
        self.init, self.stub = self.stub, 0

    def over(self, report: channel.Report | None) -> bool:
        for path in self._nodes if report is not None and report.kind == channel.EXEC else ():
            os.unlink(path)   # the node is mounted by now
        return self.taken_over(report)

    def bring_back(self, names: list[str], inherited: dict[str, int]) -> None:
        """Start CRIU and have it restore the container; returns when its processes run. ``names``: the keys of the
        standard descriptors; ``inherited``: more descriptors by their keys."""
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0)
        sockets.blocking(ours, theirs)
        try:
            self.given = [theirs.fileno(), *inherited.values()]
            self.preserve = len(self.given)
            self.run()
            self._began = True
        finally:
            theirs.close()
        criu = Criu(self.init, ours, os.path.join(self.request.work_path, RESTORE_LOG), self.parent)
        self.init = 0
        # Opened in CRIU's mount namespace: CRIU works in these directories, and refuses mounts of other namespaces.
        inside = f"/proc/{criu.pid}/root"
        opened: list[int] = []
        try:
            try:
                opened.append(self._open_image(inside))
                opened.append(open_directory(self.request.work_path, "--work-path", inside))
                options = self._options(criu.pid, names, list(inherited))
            except (OSError, UsageError) as error:
                # Both directories exist: CRIU has died.
                raise criu.gone(protocol.RESTORE, error) from None
            criu.request(protocol.RESTORE, {"opts": {
                **options, "images_dir_fd": opened[0], "work_dir_fd": opened[1]}}, self._notified)
        finally:
            for fd in opened:
                os.close(fd)

    def _open_image(self, inside: str) -> int:
        """A descriptor of the image's directory.

        With a user namespace, CRIU's children read the directory both as the host's root and as the container's root,
        but only the host's root may enter it. They get a detached overlay of the directory that both may enter.
        """
        if not any(node.get("type") == "user" for node in self.config["linux.namespaces"].each()):
            return open_directory(self.request.image_path, "--image-path", inside)
        image = open_directory(self.request.image_path, "--image-path")
        top = os.path.join(self.container.directory, "image")
        os.mkdir(top)
        try:
            os.chmod(top, 0o755)
            return kernel.detached_filesystem("overlay", [("lowerdir", f"{top}:/proc/self/fd/{image}")])
        finally:
            os.rmdir(top)   # the overlay keeps a reference
            os.close(image)

    def _options(self, criu: int, names: list[str], keys: list[str]) -> dict[str, Any]:
        request = self.request
        inherited = [{"key": name, "fd": number} for number, name in enumerate(names)
                     if name.startswith(("pipe:[", "file["))]
        inherited += [{"key": key, "fd": 4 + number} for number, key in enumerate(keys)]
        joined = [{"ns": node.get("type"), "ns_file": node.get("path")}
                  for node in self.config["linux.namespaces"].each()
                  if node.get("path") and node.get("type") in _JOINED]
        return {
            **request.options(RESTORE_LOG, self.record.annotations),
            "root": os.path.join(self.container.directory, _STAGE), "rst_sibling": True,
            "ext_mnt": [{"key": key, "val": path} for key, path in mount_sources(criu, self.record.rootfs)],
            "inherit_fd": inherited,
            # A file that replaces a file of the host may have another mode.
            "skip_file_rwx_check": any(name.startswith("file[") for name in names),
            "join_ns": joined, "cg_root": self._cgroup_roots() if request.manage_cgroups_mode != "ignore" else [],
            "lsm_profile": request.lsm_profile or None, "lsm_mount_context": request.lsm_mount_context or None}

    def _cgroup_roots(self) -> list[dict[str, str]]:
        """The container's cgroup in each hierarchy, relative to the hierarchy's root: the image may be from another
        cgroup."""
        roots = []
        for hierarchy in read_host(self.request.rootless).cgroup.all():
            if hierarchy.key in self.record.cgroup:
                path = hierarchy.root.rstrip("/") + self.record.cgroup[hierarchy.key][len(hierarchy.mountpoint):]
                # An entry without a controller applies to every hierarchy that has no entry: that of v2.
                roots.append({"ctrl": hierarchy.key, "path": path} if hierarchy.key else {"path": path})
        return roots

    # --- notifications from CRIU -----------------------------------------------------------------------------------

    def _notified(self, script: str, pid: int, fd: int) -> None:
        if script == "orphan-pts-master":
            self._hand_terminal(fd)
        elif script == "setup-namespaces":
            self._known(pid)
            if any(node.get("type") == "network" and not node.get("path", "")
                   for node in self.config["linux.namespaces"].each()):
                _loopback_up(pid)
            self._run_hooks()
        elif script == "post-restore":
            self._known(pid)
            self.container.write(self.record)
            report_pid(pid, self.request.create.pid_file, "")
            self.request.restored(pid)

    def _known(self, pid: int) -> None:
        self.record.pid, self.record.started = pid, start_time(pid)

    def _run_hooks(self) -> None:
        """prestart and createRuntime: they set up the network, because the namespaces are new and empty."""
        from pyruntime.runtime.lifecycle.hooks import environment, run_hook  # lazy: only with hooks

        self.container.write(self.record)
        state = Setup.state_of(self.config, self.record.id, "creating", self.record.pid)
        for kind in ("prestart", "createRuntime"):
            for hook in self.config[f"hooks.{kind}"].each():
                run_hook(hook.where, path=hook.get("path"), args=hook.get("args") or [hook.get("path")],
                         env=environment(hook.get("env")), timeout=hook.get("timeout", 0), state=state)

    def _hand_terminal(self, master: int) -> None:
        """Hand over the master end of the terminal that the restored processes have open."""
        request = self.request.create
        if master < 0 or not (request.console or request.console_socket):
            return   # a terminal that the container itself opened, with its master end
        sock = request.console or sockets.connect(request.console_socket, "--console-socket")
        try:
            sock.sendmsg([b"/dev/pts/ptmx"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, master.to_bytes(4, "little"))])
        except OSError as error:
            raise PyruntimeError(f"--console-socket: send the terminal: {error.strerror}") from None
        finally:
            sock.close()

    def abandon(self, error: BaseException) -> None:
        """Undo everything: CRIU's children are killed through their cgroup, which is that of CRIU."""
        notes = error.notes if isinstance(error, PyruntimeError) else []
        try:
            if self._began:   # even if the cgroup existed before: it was empty
                Cgroup(self.record.cgroup).kill()
                # If `run` failed, it has undone its steps, and the unit may belong to another running container.
                notes += destroy(self.container, self.record)
        except (OSError, PyruntimeError) as second:
            notes.append(words(second))
        self._fail(error)


def _loopback_up(pid: int) -> None:
    """Bring up lo in the network namespace of a process: CRIU restores the namespace empty (CriuRequest.options), and
    `create` brings up lo, too."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    target = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        kernel.setns(target, uapi.CLONE_NEWNET)
        try:
            # A socket belongs to the namespace in which it was created, so the process enters the namespace only
            # briefly.
            sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC, 0)
        finally:
            kernel.setns(home, uapi.CLONE_NEWNET)
    finally:
        os.close(target)
        os.close(home)
    try:
        request = b"lo".ljust(16, b"\0") + uapi.IFF_UP.to_bytes(2, "little") + bytes(22)   # struct ifreq
        fcntl.ioctl(sock.fileno(), uapi.SIOCSIFFLAGS, request)
    except OSError as error:
        raise PyruntimeError(f"cannot bring up lo: {error.strerror}") from None
    finally:
        sock.close()
