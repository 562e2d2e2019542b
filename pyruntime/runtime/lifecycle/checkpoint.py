"""`checkpoint`: save the processes of a container, with their memory, files and sockets, to a directory.

Not part of the specification; the command line and the directory are those of runc (runc-checkpoint(8)). CRIU does the
work (pyruntime/runtime/lifecycle/checkpoint_criu.py). If CRIU fails, the container keeps running.
"""

from __future__ import annotations

import os

from pyruntime.errors import CriuError, HostError, PyruntimeError, StateError, UsageError
from pyruntime.runtime.cgroups.group import Cgroup
from pyruntime.runtime.lifecycle import checkpoint_protocol as protocol
from pyruntime.runtime.lifecycle.checkpoint_criu import Criu, find_program, lacking
from pyruntime.runtime.lifecycle.checkpoint_image import (
    DUMP_LOG,
    EXTERNAL_NAMESPACES,
    CriuRequest,
    descriptor_names,
    external_mounts,
    make_directory,
    open_directory,
    refuse_rootless,
    remove_log,
    write_descriptors,
)
from pyruntime.runtime.lifecycle.delete import delete
from pyruntime.runtime.lifecycle.status import PAUSED, RUNNING, status_of
from pyruntime.runtime.lifecycle.store import StateDirectory, StateRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

_MOST = (1 << 32) - 1
_LACKING = {
    "mem_track": "the kernel does not track which pages were written (CONFIG_MEM_SOFT_DIRTY): leave out --pre-dump"
                 " and --parent-path",
    "lazy_pages": "the kernel cannot fill in pages later (CONFIG_USERFAULTFD): leave out --lazy-pages",
}


class CheckpointRequest(CriuRequest):
    """The options of `checkpoint`, besides the ID and those of `CriuRequest`.

    ``parent_path``  an earlier --pre-dump, relative to the image's directory
    ``page_server``  HOST:PORT of the page server that receives the memory
    ``status_fd``    a descriptor that receives a zero byte when the lazy page server listens; -1 for none
    ``ghost_limit``  the most bytes of an open file without a name that are saved; 0: CRIU's default, 1 MiB
    ``devices``      filesystems ("major:minor") of the host that are not mounted in this process's mount namespace
    """

    def __init__(self, *, parent_path: str = "", leave_running: bool = False, tcp_skip_in_flight: bool = False,
                 link_remap: bool = False, status_fd: int = -1, page_server: str = "", pre_dump: bool = False,
                 ghost_limit: int = 0, devices: Collection[str] = (),
                 warn: Callable[[str], None] = lambda text: None,
                 **options: Any) -> None:
        super().__init__(**options)
        if os.path.isabs(parent_path):
            raise UsageError(f'--parent-path must be relative: "{parent_path}"; write it relative to --image-path')
        self.parent_path = parent_path
        self.leave_running = leave_running
        self.tcp_skip_in_flight = tcp_skip_in_flight
        self.link_remap = link_remap
        self.status_fd = status_fd
        self.page_server = _address(page_server)
        self.pre_dump = pre_dump
        self.ghost_limit = ghost_limit
        self.devices = devices
        self.warn = warn

    def dump_options(self) -> dict[str, Any]:
        """The options of CRIU that apply to a dump only."""
        return {
            "leave_running": self.leave_running, "tcp_skip_in_flight": self.tcp_skip_in_flight,
            "link_remap": self.link_remap, "ghost_limit": min(self.ghost_limit, _MOST) or None,
            "parent_img": self.parent_path or None, "ps": self.page_server,
            "track_mem": self.pre_dump or bool(self.parent_path)}


def _address(text: str) -> dict[str, Any] | None:
    if not text:
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise UsageError(f'Use --page-server ADDRESS:PORT to specify page server: "{text}"')
    return {"address": host.strip("[]"), "port": int(port)}


def checkpoint(root: str, container_id: str, request: CheckpointRequest) -> None:
    """Checkpoint a running or paused container. Unless it is left running, CRIU kills it, and it is deleted.

    Raises StateError, UsageError, HostError, CriuError; after an error the container is running or paused as before.
    """
    container = StateDirectory(root, container_id)
    record = container.read()
    status = status_of(container, record)
    if status not in (RUNNING, PAUSED):
        raise StateError(f'Container cannot be checkpointed in {status} state: "{container_id}"')
    refuse_rootless(request, "checkpoint")
    program = find_program(request.criu)
    _check_features(program, request)
    make_directory(request.image_path, "--image-path")
    make_directory(request.work_path, "--work-path")
    parent = os.path.join(request.image_path, request.parent_path)
    if request.parent_path and not os.path.isdir(parent):
        raise UsageError(f'invalid --parent-path: stat {parent}: no such file or directory')
    options = {**request.options(DUMP_LOG, record.annotations), "root": record.rootfs, **request.dump_options(),
               "pid": record.pid, "freeze_cgroup": _freezer(record, status)}
    if not request.pre_dump:
        names = descriptor_names(record.pid)
        options["ext_mnt"] = [{"key": point, "val": key} for point, key in external_mounts(record.pid, request.devices)]
        options["external"] = [name for name in sorted(set(names)) if name.startswith("file[")]
        options["external"] += _joined_namespaces(container, record)
        write_descriptors(request.image_path, names)
    try:
        _dump(program, request, options)
    except BaseException as error:
        _let_go_on(record, status, error)
        raise
    if not (request.leave_running or request.pre_dump):
        delete(root, container_id, force=True, warn=request.warn)


def _freezer(record: StateRecord, status: str) -> str | None:
    """The freezer by which CRIU keeps the processes still; None: it stops one after the other. Raises StateError.

    CRIU would wait for ever for a process that has been stopped by a signal and is frozen by cgroup v1: it cannot be
    traced before it is thawed."""
    if not record.cgroup:
        return None
    group = Cgroup(record.cgroup)
    freezer, modern = group.find_freezer()
    stopped = 0 if modern else next(filter(_is_stopped, group.pids()), 0)
    if stopped and status == PAUSED:
        raise StateError(f"CRIU cannot save process {stopped}, which has been stopped by a signal, while cgroup v1"
                         " freezes it, too: continue it (SIGCONT) first")
    return None if stopped else freezer


def _is_stopped(pid: int) -> bool:
    """Whether a process, which may be frozen, has been stopped by a signal (signal(7))."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat, open(f"/proc/{pid}/wchan", "rb") as where:
            return stat.read().rpartition(b") ")[2][:1] == b"T" or where.read() == b"do_signal_stop"
    except (FileNotFoundError, ProcessLookupError):   # it has ended
        return False


def _check_features(program: str, request: CheckpointRequest) -> None:
    wanted = [name for name, asked in (("mem_track", request.pre_dump or bool(request.parent_path)),
                                       ("lazy_pages", request.lazy_pages)) if asked]
    missing = lacking(program, *wanted) if wanted else []
    if missing:
        raise HostError("CRIU is missing features: " + "; ".join(f"{name}: {_LACKING[name]}" for name in missing))


def _joined_namespaces(container: StateDirectory, record: StateRecord) -> list[str]:
    """The namespaces that the container joined: CRIU does not dump them, and `restore` joins them again."""
    found = []
    for entry in container.kept()["linux"].get("namespaces") or []:
        if entry["type"] in EXTERNAL_NAMESPACES and entry.get("path"):
            name, key = EXTERNAL_NAMESPACES[entry["type"]]
            found.append(f"{name}[{os.stat(f'/proc/{record.pid}/ns/{name}').st_ino}]:{key}")
    return found


def _dump(program: str, request: CheckpointRequest, options: dict[str, Any]) -> None:
    image = open_directory(request.image_path, "--image-path")
    try:
        work = open_directory(request.work_path, "--work-path")
        try:
            def notified(script: str, pid: int, fd: int) -> None:
                if script == "status-ready" and request.status_fd >= 0:
                    _say_ready(request.status_fd)

            log = os.path.join(request.work_path, DUMP_LOG)
            remove_log(request.work_path, DUMP_LOG)
            Criu.spawn(program, log).request(
                protocol.PRE_DUMP if request.pre_dump else protocol.DUMP,
                {"opts": {**options, "images_dir_fd": image, "work_dir_fd": work}}, notified)
        finally:
            os.close(work)
    finally:
        os.close(image)


def _say_ready(fd: int) -> None:
    try:
        os.write(fd, b"\0")
        os.close(fd)
    except OSError as error:
        raise CriuError(f"--status-fd {fd}: {error.strerror}") from None


def _let_go_on(record: StateRecord, status: str, error: BaseException) -> None:
    """If CRIU died, the container may still be frozen or freezing."""
    group = Cgroup(record.cgroup)
    try:
        if status == PAUSED:
            group.freeze()
        elif record.cgroup:
            group.thaw()
    except PyruntimeError as second:
        if isinstance(error, PyruntimeError):
            error.notes.append(str(second))
