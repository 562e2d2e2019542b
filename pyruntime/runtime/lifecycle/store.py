"""The state directory: a directory for each container below ``--root``, with the data for later commands.

    ROOT/ID/state.json    the record below; written to a temporary name and renamed
    ROOT/ID/init          a dangling link to init's pid and start time, for `delete` if the record is damaged
    ROOT/ID/exec.json     the parts of the configuration that `exec` needs, as checked by `create`
    ROOT/ID/life.plan     the front's instructions for later commands; valid only for the state.json it was made for
    ROOT/ID/exec.plan     the same for `exec` (template.py); exec.0 ...: for `exec --process` with a file that was
                          given before (replay.py)
    ROOT/ID/start.sock    init listens here until `start` connects

Spec: runtime.md#state. No lock is held. An ID is claimed and released by rename(2), the status of a container is read
from the kernel (init alive, init listening, cgroup frozen), and everything that `delete` does before it releases the ID
may be repeated.
"""

from __future__ import annotations

import errno
import os
from _thread import get_native_id

from pyruntime.errors import (
    ContainerExists,
    NoSuchContainer,
    PyruntimeError,
    RecordError,
    StateError,
    UsageError,
)
from pyruntime.system.directories import private
from pyruntime.system.processes import alive, start_time
from pyruntime.system.records import Record, damaged, members

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_ID = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-.")
UNCLAIMED = "~"   # no ID can start with this
SYSTEM_ROOT = "/run/pyruntime"   # of root, without --root


def check_id(container_id: str) -> str:
    """Return the ID; raises UsageError if it cannot name a directory."""
    if not container_id:
        raise UsageError("container id cannot be empty")
    if not _ID.issuperset(container_id) or container_id in (".", "..") or len(container_id) > 1024:
        raise UsageError(f'invalid container ID format: "{container_id}"; letters, digits and _+-. are allowed')
    return container_id


def refuse(phrase: str, container_id: str, status: str) -> NoReturn:
    """Raise StateError for an operation that the container's status does not allow, with runc's phrase."""
    raise StateError(f'{phrase}: "{container_id}" is {status}')


class StateRecord(Record):
    """The record of a container.

    ``pid``, ``started``      init and its start time; 0 before init exists
    ``creator``               pid and start time of the process that runs `create`, and whether it does nothing else
    ``cgroup``                hierarchy -> directory of the container's cgroup; ``cgroup_made``: those made by `create`
    ``unit``                  the systemd unit of the cgroup, or empty; ``user_unit``: whether it is a user unit
    ``rdt``                   resctrl directories that `delete` removes
    ``hooks``                 the poststart and poststop hooks, as in config.json
    ``own_pids``              whether the container has its own pid namespace, which ends with init
    ``total``, ``tail``       the number of steps in the plan, and the steps of `start`, for error messages:
                              index, phase, step, place in config.json, subject
    """

    FIELDS = ("id", "ociVersion", "bundle", "rootfs", "created", "annotations", "pid", "started", "creator",
              "cgroup", "cgroup_made", "unit", "user_unit", "rdt", "hooks", "has_process", "own_pids", "total", "tail")
    NEEDED = ("id",)

    def __init__(self, **values: Any) -> None:
        self.id: str = ""
        self.ociVersion: str = ""
        self.bundle: str = ""
        self.rootfs: str = ""
        self.created: str = ""
        self.annotations: dict[str, str] = {}
        self.pid: int = 0
        self.started: int = 0
        self.creator: list[int] = [0, 0]
        self.cgroup: dict[str, str] = {}
        self.cgroup_made: list[str] = []
        self.unit: str = ""
        self.user_unit: bool = False
        self.rdt: list[str] = []
        self.hooks: dict[str, Any] = {}
        self.has_process: bool = True
        self.own_pids: bool = True
        self.total: int = 0
        self.tail: list[list[Any]] = []
        self._set(values)

    def alive(self) -> bool:
        """Whether init is still alive."""
        return alive(self.pid, self.started)

    def being_created(self) -> bool:
        """Whether `create` is still running."""
        return alive(*self.creator[:2])


class StateDirectory:
    """The directory of a container."""

    def __init__(self, root: str, container_id: str) -> None:
        self.id = check_id(container_id)
        self.root = root
        self.directory = os.path.join(root, container_id)
        self._held = -1

    def hold(self) -> None:
        """Keep the directory that has the ID now open until `release`: `retire` then renames no other one, which a
        later container with this ID may have."""
        try:
            self._held = os.open(self.directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return   # there is none, or it is no directory: the next access reports that

    def release(self) -> None:
        """End `hold`."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def current(self, directory: str = "") -> bool:
        """Whether the held directory still has the ID (or is at ``directory``); True if none is held."""
        try:
            return self._held < 0 or os.path.samestat(os.fstat(self._held), os.lstat(directory or self.directory))
        except FileNotFoundError:
            return False

    def claim(self, record: StateRecord) -> None:
        """Claim the ID; raises ContainerExists. If two processes try at once, one succeeds.

        The directory is created under a name that no container can have and renamed with its record in it: a directory
        without a record would be mistaken for a leftover.
        """
        made = self._unclaimed()
        try:
            _make_private(self.root)
            if self.root == _below_runtime_directory():
                os.chmod(self.root, 0o1700)   # sticky: or it may be removed as old (XDG Base Directory Specification)
            os.mkdir(made, 0o700)
        except OSError as error:
            raise PyruntimeError(f'cannot create the state directory "{made}": {error.strerror}') from None
        try:
            self.write(record, made)
            os.rename(made, self.directory)   # fails if the target is a directory that is not empty (rename(2))
        except OSError as error:
            _clear(made)
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise ContainerExists(f'container with given ID already exists: "{self.id}"') from None
            raise PyruntimeError(f'cannot create the state directory "{self.directory}": {error.strerror}') from None
        except PyruntimeError:
            _clear(made)
            raise

    def write(self, record: StateRecord, directory: str = "") -> None:
        """Write state.json atomically."""
        self._replace("state.json", record.encoded(), directory)
        if record.pid and not directory:
            try:
                os.symlink(f"{record.pid}:{record.started}", os.path.join(self.directory, "init"))
            except FileExistsError:
                return   # a container has one init

    def init(self) -> tuple[int, int]:
        """Pid and start time of init without the record; zeros if unknown."""
        try:
            pid, _, started = os.readlink(os.path.join(self.directory, "init")).partition(":")
        except OSError:
            return 0, 0
        return int(pid), int(started)

    def keep(self, config: bytes) -> None:
        """Write exec.json atomically."""
        self._replace("exec.json", config)

    def keep_plan(self, name: str, plan: bytes) -> None:
        """Write a plan for the front atomically."""
        self._replace(name, plan)

    def _replace(self, name: str, data: bytes, directory: str = "") -> None:
        from pyruntime.system.files import replace  # lazy: `state` and `list` write nothing

        path = os.path.join(directory or self.directory, name)
        try:
            replace(path, data)
        except OSError as error:
            raise PyruntimeError(f'cannot write "{path}": {error.strerror}') from None

    def read(self) -> StateRecord:
        """The record; raises NoSuchContainer, and RecordError for an invalid record."""
        path = os.path.join(self.directory, "state.json")
        return StateRecord.parse(self._read(path), path, f'remove the container with "delete --force {self.id}"')

    def kept(self) -> dict[str, Any]:
        """Read the file of `keep`; raises like `read`."""
        path, remedy = os.path.join(self.directory, "exec.json"), "delete the container and create it again"
        try:
            values = members(self._read(path), path, remedy)
        except NoSuchContainer:
            if self.exists():
                raise RecordError(f'"{path}" is missing: {remedy}') from None
            raise
        if not isinstance(values.get("process", {}), dict):
            raise damaged(path, "it is no configuration", remedy)
        return values

    def _read(self, path: str) -> bytes:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchContainer(f'container does not exist: "{self.id}"') from None
        except OSError as error:
            raise PyruntimeError(f'cannot read "{path}": {error.strerror}') from None
        try:
            parts = []
            while part := os.read(fd, 1 << 16):
                parts.append(part)
        finally:
            os.close(fd)
        return b"".join(parts)

    def exists(self) -> bool:
        """Whether the directory exists, even if only as a leftover of a `create` that was killed."""
        return os.path.isdir(self.directory)

    def retire(self) -> bool:
        """Release the ID; False if another process did. If two processes try at once, one succeeds.

        The directory is renamed to an unclaimed name, so that a later `remove` deletes it if this process is killed.
        """
        retired = self._unclaimed()
        try:
            os.rename(self.directory, retired)
        except FileNotFoundError:
            return False
        if self.current(retired):
            return True
        # Another `delete` has released the ID since `hold`, and a `create` claimed it: that container gets its name
        # back. No third one is replaced, because a claimed directory is never empty (rename(2)).
        try:
            os.rename(retired, self.directory)
        except OSError as error:
            raise PyruntimeError(f'"{retired}" is the state of a running container, which cannot have its name back:'
                                 f" {error.strerror}; rename it") from None
        return False

    def remove(self) -> bool:
        """Remove the directory; False if another process did. Leftovers of killed processes are removed, too."""
        mine = self.retire()
        self.clear()
        return mine

    def clear(self) -> None:
        """Remove retired directories, of this process or of processes that have died."""
        try:
            names = os.listdir(self.root)
        except FileNotFoundError:
            return   # there was never a container
        for name in names:
            if name.startswith(UNCLAIMED):
                thread, pid = name.rsplit(".", 2)[1:]
                if int(thread) == get_native_id() or not start_time(int(pid)):
                    _clear(os.path.join(self.root, name))

    def _unclaimed(self) -> str:
        return os.path.join(self.root, f"{UNCLAIMED}{self.id}.{get_native_id()}.{os.getpid()}")


def _clear(directory: str) -> None:
    try:
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            try:
                os.unlink(path)
            except IsADirectoryError:   # from lifecycle/notify.py, or from a `restore` that was killed
                _clear(path)
        os.rmdir(directory)
    except FileNotFoundError:
        return   # another process removes it at the same time


def _make_private(path: str) -> None:
    # Not os.makedirs: it creates the parent directories with modes that depend on the caller's umask.
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        _make_private(os.path.dirname(path))
        _make_private(path)


def identifiers(root: str) -> list[str]:
    """The IDs below the state directory, sorted; empty if it does not exist."""
    try:
        names = os.listdir(root)
    except FileNotFoundError:
        return []
    return sorted(name for name in names
                  if _ID.issuperset(name) and os.path.exists(os.path.join(root, name, "state.json")))


def _below_runtime_directory() -> str:
    """The runtime's directory below XDG_RUNTIME_DIR; empty if that is unset, empty, or root's, who has /run. The root
    of a user namespace is the user who created it, unless USER says that he is really root there."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if not runtime or (os.geteuid() == 0 and (not _in_user_namespace() or os.environ.get("USER") == "root")):
        return ""
    return os.path.join(os.path.abspath(runtime), "pyruntime")


def _in_user_namespace() -> bool:
    fd = os.open("/proc/self/uid_map", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096).split() != [b"0", b"0", b"4294967295"]
    finally:
        os.close(fd)


def default_root() -> str:
    """/run/pyruntime, or when rootless, a directory below the user's runtime directory (an empty XDG_RUNTIME_DIR is
    unset). The root of a user namespace is rootless, too, unless USER is root: rootless Podman calls the runtime so.
    Without a runtime directory it is a directory in /tmp; raises PyruntimeError if that belongs to another user, who
    could have the runtime run hooks.
    """
    if below := _below_runtime_directory():
        return below
    if os.geteuid() == 0:
        return SYSTEM_ROOT
    return os.path.join(private(f"/tmp/pyruntime-{os.geteuid()}", "give --root, or set XDG_RUNTIME_DIR"), "pyruntime")
