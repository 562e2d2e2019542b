"""Without root: a process that does for this program what needs a user namespace.

A process with threads cannot enter a user namespace (user_namespaces(7)), and a library does not know which threads its
program has. So the first sandbox starts a helper (helper_process.py), which becomes root of a user namespace. It forks
for each call, and ends with this program. All sandboxes of the program are in this user namespace, and those of its
children (fork), because they may use the templates of the program: each has its own helper there. So has a program
whose helper was killed.
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
from array import array
from threading import RLock

from pyruntime.errors import HostError, PyruntimeError
from pyruntime.sandbox.host_errors import refused
from pyruntime.system.processes import own_program
from pyruntime.system.sockets import blocking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

ASK = b"\0"   # what is sent with descriptors
_MOST = 8     # descriptors of one message
_lock = RLock()   # of `_helpers`, and of what no child may have; reentrant: the garbage collector closes sandboxes
_helpers: list[Helper] = []   # the one of this process, if it has been started


class Helper:
    """The helper process, which is root of a user namespace.

    ``namespace``  a path of the user namespace, which outlives the process
    ``held``       a descriptor of it, of which a helper that takes the place of this one becomes the owner
    ``ranges``     whether it has the user's subordinate IDs (subuid(5)), not only the user, who is root there
    """

    held: int
    _owns: bool

    def __init__(self, before: Helper | None = None) -> None:
        """``before``: a helper that has ended, or that of the parent (fork): this one enters its user namespace, where
        its sandboxes and templates are. Raises HostError if this user cannot make user namespaces."""
        entered = () if before is None else (before.held,)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        blocking(self._control, theirs)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [*own_program("sandbox/__main__.py"), *map(str, entered)], pass_fds=entered, stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0)
            except OSError as error:
                self._control.close()
                raise HostError("cannot start the helper of sandboxes without root:"
                                f" {error.filename or 'fork'}: {error.strerror}") from None
        self.held, self._owns = -1, False
        try:
            told = self._control.recv(1 << 16)
            if not told:
                raise HostError(f"the helper of sandboxes without root ended with status {self._process.wait()}")
            self._maps: tuple[list[tuple[int, int, int]], ...] = _result(told)
            if before is None:
                self.held = os.open(f"/proc/{self._process.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
                self._owns = True
            else:
                self.held, self._owns, before._owns = before.held, True, False
        except BaseException:
            self.close()
            raise
        self.namespace = f"/proc/{os.getpid()}/fd/{self.held}"
        self.ranges = all(len(lines) > 1 for lines in self._maps)

    def maps(self, uid: int, gid: int) -> bool:
        """Whether the user namespace has these IDs."""
        return all(any(first <= number < first + count for first, _, count in lines)
                   for number, lines in zip((uid, gid), self._maps, strict=True))

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def call(self, function: Callable[..., Any], args: Sequence[Any], fds: Sequence[int], base: int) -> tuple[Any, int]:
        """See private_mounts.call. The function is one of a module, and the arguments can be pickled."""
        found: list[int] = []
        try:
            with _lock:   # no child (fork) gets a copy of theirs: the answer would not end before the child
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
                blocking(ours, theirs)
                with theirs:
                    socket.send_fds(self._control, [ASK], [theirs.fileno()])
            with ours:
                socket.send_fds(ours, [ASK], [*fds, *([base] if base >= 0 else [])])
                ours.sendall(pickle.dumps((function, args, base >= 0)))
                ours.shutdown(socket.SHUT_WR)
                found += receive(ours)[1]
                return _result(received(ours)), found.pop()
        except OSError as error:
            raise PyruntimeError(f"the helper of sandboxes without root cannot be asked: {error.strerror}") from None
        except (EOFError, pickle.UnpicklingError):   # an incomplete answer
            raise PyruntimeError("the helper of sandboxes without root was killed") from None
        finally:
            for namespace in found:   # of a call that has failed
                os.close(namespace)

    def close(self) -> None:
        """End the process."""
        if self.alive:
            self._control.shutdown(socket.SHUT_RDWR)   # a child that did not come from Python may have a copy
        self._control.close()
        self._process.wait()
        if self._owns:
            self._owns = False
            os.close(self.held)

    def forget(self) -> None:
        """In a child of this process (fork): the helper is not its own."""
        self._control.close()
        self._process.returncode = 0   # nothing to wait for


def helper() -> Helper:
    """The helper of this program, which is started if there is none. Raises HostError."""
    with _lock:
        if not (_helpers and _helpers[0].alive):
            before = _helpers[0] if _helpers else None
            _helpers[:] = [Helper(before)]
            if before:
                before.close()
        return _helpers[0]


def end_helper() -> None:
    """End the helper, after the last sandbox."""
    for one in _helpers:
        one.close()
    _helpers.clear()


def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """ASK, or nothing at the end, and the descriptors that came with it. No program inherits them: socket.recv_fds
    ignores its flags."""
    found = array("i")
    asked, ancillary, _, _ = sock.recvmsg(len(ASK), socket.CMSG_LEN(_MOST * found.itemsize), socket.MSG_CMSG_CLOEXEC)
    for _, _, data in ancillary:
        found.frombytes(data)
    return asked, list(found)


def received(sock: socket.socket) -> bytes:
    """Everything up to the end."""
    parts = []
    while part := sock.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


def failure(error: BaseException) -> bytes:
    """An error of the helper, for `_result`: it has the same class here, if that is one of ours."""
    if isinstance(error, OSError) and not isinstance(error, PyruntimeError):
        error = refused("make or use the sandbox's files", error)
    if not isinstance(error, PyruntimeError):
        error = PyruntimeError(f"{type(error).__name__}: {error}")
    return pickle.dumps((False, (type(error), error.args, error.__dict__)))


def _result(data: bytes) -> Any:
    succeeded, value = pickle.loads(data)
    if succeeded:
        return value
    kind, args, fields = value
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(fields)
    raise error


def _after_fork() -> None:
    for one in _helpers:
        one.forget()
    _lock.release()


os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_after_fork)
