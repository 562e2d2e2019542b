"""The state directory: one directory a container below ``--root``, with what later commands need to know.

    ROOT/ID/state.json    the record below; written to a temporary name and renamed
    ROOT/ID/init          a link to nowhere, init's pid and start time, for `delete` when the record is damaged
    ROOT/ID/exec.json     the parts of the configuration that `exec` follows: what was checked at `create` holds
    ROOT/ID/start.sock    init listens here until `start` has spoken to it

Spec: runtime.md#state. No lock is held: an ID is taken and given back by rename(2), what a container is doing is asked
of the kernel (is init alive, does it listen, is its cgroup frozen), and what `delete` does before it gives the ID back
may be done twice.
"""

from __future__ import annotations

import errno
import os
import time
from _thread import get_native_id

from pyruntime.errors import ContainerExists, NoSuchContainer, PyruntimeError, StateError, UsageError
from pyruntime.system.directories import private
from pyruntime.system.json import decode, encode
from pyruntime.system.processes import start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_ID = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-.")
_UNCLAIMED = "~"   # no ID can begin with it
VERSION = 1


def check_id(container_id: str) -> str:
    """The ID itself; raises UsageError for one that cannot name a directory of ours."""
    if not container_id:
        raise UsageError("container id cannot be empty")
    if not _ID.issuperset(container_id) or container_id in (".", "..") or len(container_id) > 1024:
        raise UsageError(f'invalid container ID format: "{container_id}"; letters, digits and _+-. are allowed')
    return container_id


def refuse(phrase: str, container_id: str, status: str) -> NoReturn:
    """Raise StateError: an operation that the container's status does not allow, in runc's phrase."""
    raise StateError(f'{phrase}: "{container_id}" is {status}')


def timestamp() -> str:
    """Now, in RFC 3339 with nanoseconds, UTC."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09d}Z"


class StateRecord:
    """What is written down about a container.

    ``pid``, ``started``      init and its start time; 0 before it exists
    ``creator``               pid and start time of the process that runs `create`
    ``cgroup``                hierarchy -> directory of the container's cgroup; ``cgroup_made`` those that we made
    ``unit``                  the systemd unit that the cgroup is, or empty; ``user_unit`` whether it is a user's
    ``rdt``                   resctrl directories that `delete` removes
    ``hooks``                 the poststart and poststop hooks, as in config.json
    ``own_pids``              whether the container has a pid namespace of its own, whose end is init's
    ``total``, ``tail``       the number of the plan's steps, and those that `start` performs, for error messages:
                              index, phase, step, place in config.json, subject
    """

    FIELDS = ("version", "id", "ociVersion", "bundle", "rootfs", "created", "annotations", "pid", "started", "creator",
              "cgroup", "cgroup_made", "unit", "user_unit", "rdt", "hooks", "has_process", "own_pids", "total", "tail")

    def __init__(self, **values: Any) -> None:
        self.version: int = VERSION
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
        for name, value in values.items():
            assert name in self.FIELDS, name
            setattr(self, name, value)

    def alive(self) -> bool:
        """Whether init still runs."""
        return self.started > 0 and start_time(self.pid) == self.started

    def being_created(self) -> bool:
        """Whether a `create` is still at work on it."""
        return self.creator[0] > 0 and start_time(self.creator[0]) == self.creator[1]


class StateDirectory:
    """One container's directory."""

    def __init__(self, root: str, container_id: str) -> None:
        self.id = check_id(container_id)
        self.root = root
        self.directory = os.path.join(root, container_id)

    def claim(self, record: StateRecord) -> None:
        """Take the ID; raises ContainerExists. Of two that try at once, one wins.

        The directory is made under a name that no container can have and renamed with its record in it: whoever looks
        never finds one without, which could not be told from a leftover.
        """
        made = self._unclaimed()
        try:
            _make_private(self.root)
            if self.root == _below_runtime_directory():
                os.chmod(self.root, 0o1700)   # or it may be cleared away as old: XDG Base Directory Specification
            os.mkdir(made, 0o700)
        except OSError as error:
            raise PyruntimeError(f'cannot make the state directory "{made}": {error.strerror}') from None
        try:
            self.write(record, made)
            os.rename(made, self.directory)   # over a directory that holds anything it fails (rename(2))
        except OSError as error:
            _clear(made)
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise ContainerExists(f'container with given ID already exists: "{self.id}"') from None
            raise PyruntimeError(f'cannot make the state directory "{self.directory}": {error.strerror}') from None
        except PyruntimeError:
            _clear(made)
            raise

    def write(self, record: StateRecord, directory: str = "") -> None:
        """Write state.json, whole or not at all."""
        self._write("state.json", {name: getattr(record, name) for name in StateRecord.FIELDS}, directory)
        if record.pid and not directory:
            try:
                os.symlink(f"{record.pid}:{record.started}", os.path.join(self.directory, "init"))
            except FileExistsError:
                return   # a container has one init

    def init(self) -> tuple[int, int]:
        """Pid and start time of init without the record; zeros where none is known."""
        try:
            pid, _, started = os.readlink(os.path.join(self.directory, "init")).partition(":")
        except OSError:
            return 0, 0
        return int(pid), int(started)

    def keep(self, config: dict[str, Any]) -> None:
        """Write exec.json, whole or not at all."""
        self._write("exec.json", config)

    def _write(self, name: str, value: dict[str, Any], directory: str = "") -> None:
        data = encode(value).encode()
        path = os.path.join(directory or self.directory, name)
        temporary = f"{path}.{os.getpid()}"
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                view = memoryview(data)
                while view:   # a disk that is nearly full takes a part
                    view = view[os.write(fd, view):]
            finally:
                os.close(fd)
            os.rename(temporary, path)
        except OSError as error:
            try:
                os.unlink(temporary)
            except OSError as second:
                if second.errno not in (errno.ENOENT, errno.EROFS):
                    raise
            raise PyruntimeError(f'cannot write "{path}": {error.strerror}') from None

    def read(self) -> StateRecord:
        """The record; raises NoSuchContainer, and PyruntimeError for a file that is no record of ours."""
        path = os.path.join(self.directory, "state.json")
        values = self._read(path)
        if values.get("version") != VERSION:
            raise PyruntimeError(f'"{path}" was not written by this version of pyruntime')
        return StateRecord(**{name: values[name] for name in StateRecord.FIELDS if name in values})

    def kept(self) -> dict[str, Any]:
        """What `keep` wrote; raises as `read`."""
        path = os.path.join(self.directory, "exec.json")
        try:
            return self._read(path)
        except NoSuchContainer:
            if self.exists():
                raise PyruntimeError(f'"{path}" is missing: the container was created by another version of pyruntime'
                                     ) from None
            raise

    def _read(self, path: str) -> dict[str, Any]:
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
        values = decode(b"".join(parts), path)
        return values if isinstance(values, dict) else {}

    def exists(self) -> bool:
        """Whether there is a directory at all, be it only a leftover of a `create` that was killed."""
        return os.path.isdir(self.directory)

    def retire(self) -> bool:
        """Give the ID back; False when somebody else just did. Of two that try at once, one wins.

        The directory gets the name of one that is not claimed yet, so that `remove` clears it away even if nobody
        comes to it before.
        """
        try:
            os.rename(self.directory, self._unclaimed())
        except FileNotFoundError:
            return False
        return True

    def remove(self) -> bool:
        """Remove the directory; False when somebody else just did. What others left when they were killed goes too."""
        mine = self.retire()
        self.clear()
        return mine

    def clear(self) -> None:
        """Clear away what was retired, by this process or by one that is no more."""
        try:
            names = os.listdir(self.root)
        except FileNotFoundError:
            return   # there never was a container
        for name in names:
            if name.startswith(_UNCLAIMED):
                thread, pid = name.rsplit(".", 2)[1:]
                if int(thread) == get_native_id() or not start_time(int(pid)):
                    _clear(os.path.join(self.root, name))

    def _unclaimed(self) -> str:
        return os.path.join(self.root, f"{_UNCLAIMED}{self.id}.{get_native_id()}.{os.getpid()}")


def _clear(directory: str) -> None:
    try:
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            try:
                os.unlink(path)
            except IsADirectoryError:   # of lifecycle/notify.py, or of a `restore` that was killed
                _clear(path)
        os.rmdir(directory)
    except FileNotFoundError:
        return   # another process clears it away at the same time


def _make_private(path: str) -> None:
    # Not os.makedirs: it makes the directories above the last one as the caller's umask allows.
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        _make_private(os.path.dirname(path))
        _make_private(path)


def identifiers(root: str) -> list[str]:
    """The IDs below the state directory, sorted; none when it does not exist."""
    try:
        names = os.listdir(root)
    except FileNotFoundError:
        return []
    return sorted(name for name in names
                  if _ID.issuperset(name) and os.path.exists(os.path.join(root, name, "state.json")))


def _below_runtime_directory() -> str:
    """Our directory below XDG_RUNTIME_DIR; nothing where that is unset, empty, or root's, who has /run. The root of a
    user namespace is the user who made it, unless USER says that he really became root there."""
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
    """/run/pyruntime, or below the user's runtime directory when rootless (an empty XDG_RUNTIME_DIR is unset).

    Rootless is also who is root of a user namespace alone, unless USER says root: rootless Podman calls us so.
    Without one it is a directory in /tmp; raises PyruntimeError when that belongs to somebody else, who could have
    us run hooks of his.
    """
    if below := _below_runtime_directory():
        return below
    if os.geteuid() == 0:
        return "/run/pyruntime"
    return os.path.join(private(f"/tmp/pyruntime-{os.geteuid()}", "give --root, or set XDG_RUNTIME_DIR"), "pyruntime")
