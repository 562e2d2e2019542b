"""Processes, each identified by its pid and start time: the kernel gives the pid of an ended process to another one."""

from __future__ import annotations

import os
import sys

# For other modules, too: ``signal`` would cost 5 ms of import.
from _signal import SIGHUP, SIGKILL, SIGPIPE, SIGTERM, SIGXFSZ, pidfd_send_signal  # type: ignore[import-not-found]
from struct import Struct

from pyruntime.errors import HostError
from pyruntime.system.installed import PACKAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SIGHUP", "SIGKILL", "SIGPIPE", "SIGTERM", "SIGXFSZ", "alive", "dying", "ended", "inner_pid", "interpreter",
           "kill", "own_program", "reaped_status", "send_signal", "signal_pidfd", "start_time", "wait"]


_INTERPRETER: list[str] = []
_PIDFD_INFO = Struct("Q52xi")   # struct pidfd_info: mask, ..., exit_code
_PIDFD_INFO_EXIT = 1 << 3
_PIDFD_GET_INFO = 3 << 30 | _PIDFD_INFO.size << 16 | 0xFF << 8 | 11   # _IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)


def remember_interpreter() -> None:
    """Keep the interpreter's name: a process restored from a snapshot of this one runs another program, the front."""
    _INTERPRETER[:] = [interpreter()]


def interpreter() -> str:
    """The program that runs this process, to run more Python: the environment's PYTHONEXECUTABLE sets sys.executable
    even with -I, and would choose the program of a container's monitor."""
    return _INTERPRETER[0] if _INTERPRETER else os.readlink("/proc/self/exe").removesuffix(" (deleted)")


def own_program(script: str) -> list[str]:
    """The command line, to which arguments are added, of a script of this package in an interpreter of its own.

    -IS: without the environment and without site, which a container's monitor must not trust or wait for. The script
    gets the directories of packages that this process has as its first argument, with colons between them; only
    absolute ones, because the other process may work elsewhere.
    """
    # Ours, too, which an editable installation does not name; each once, because the other process does the same.
    packages = dict.fromkeys(path for path in (*sys.path, os.path.dirname(PACKAGE)) if path.startswith("/"))
    return [interpreter(), "-IS", f"{PACKAGE}/{script}", ":".join(packages)]


def _stat(pid: int) -> list[bytes]:
    """The words of proc_pid_stat(5) from the third, the state, on; empty if there is no such process, or a zombie.
    Raises HostError for a process of this user that /proc hides."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        if _hidden(pid):
            # lazy: only for a refusal
            from pyruntime.system.restrictions import hidden_process
            raise HostError(hidden_process(pid)) from None
        return []
    try:
        words = os.read(fd, 4096).rpartition(b")")[2].split()
    except ProcessLookupError:
        return []
    finally:
        os.close(fd)
    return [] if words[0] in (b"Z", b"X") else words


def _hidden(pid: int) -> bool:
    """Whether a process that has no visible entry in /proc exists and is this user's: of another user's, whom kill(2)
    refuses, nothing is known, and none is recorded."""
    if pid <= 0:   # no process, but for kill(2) this one's group
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    # It may have begun in between; /proc of another pid namespace says nothing about this pid.
    try:
        return os.readlink("/proc/self") == str(os.getpid()) and not os.path.lexists(f"/proc/{pid}/stat")
    except OSError:
        return False


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 if it does not exist or is a zombie. Raises HostError if it
    is a process of this user that /proc hides (hidepid, proc(5))."""
    words = _stat(pid)
    return int(words[19]) if words else 0


def dying(pid: int) -> bool:
    """Whether the process has been killed and still exists, for example frozen: SIGKILL is pending."""
    words = _stat(pid)
    return bool(words) and bool(int(words[28]) >> SIGKILL - 1 & 1)


def alive(pid: int, started: int) -> bool:
    """Whether the process still runs; pid 0 and start time 0 stand for no process."""
    return pid > 0 and started > 0 and start_time(pid) == started


def send_signal(pid: int, started: int, number: int) -> None:
    """Send a signal. Raises ProcessLookupError if the process has ended, and OSError if the signal is refused."""
    pidfd = _open(pid, started)
    try:
        pidfd_send_signal(pidfd, number)
    finally:
        os.close(pidfd)


def inner_pid(pid: int) -> int:
    """The process ID in the innermost pid namespace (NSpid of proc_pid_status(5)). Raises FileNotFoundError or
    ProcessLookupError if there is no such process."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="surrogateescape") as file:
        line = next(line for line in file if line.startswith("NSpid:"))
    return int(line.split()[-1])


def signal_pidfd(pidfd: int, number: int) -> None:
    """Send a signal to the process of a pidfd; no effect if it has ended. Raises OSError if the signal is refused."""
    try:
        pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return


def kill(pid: int, started: int, *, seconds: float, thaw: Callable[[], None] | None = None) -> bool:
    """Kill a process and wait until it has ended; False if it still exists after ``seconds``.

    ``thaw`` is called after the signal is sent: a task in a frozen v1 cgroup does not take SIGKILL before it is thawed.
    """
    try:
        pidfd = _open(pid, started)
    except ProcessLookupError:
        return True
    try:
        pidfd_send_signal(pidfd, SIGKILL)
        if thaw:
            thaw()
        return ended(pidfd, seconds)
    except ProcessLookupError:
        return True
    finally:
        os.close(pidfd)


def wait(pid: int, started: int, *, seconds: float) -> bool:
    """Wait until a process has ended; False if it still exists after ``seconds``."""
    try:
        pidfd = _open(pid, started)
    except ProcessLookupError:
        return True
    try:
        return ended(pidfd, seconds)
    finally:
        os.close(pidfd)


def reaped_status(pidfd: int) -> int | None:
    """The wait status (wait(2)) of a process that has been reaped, by the kernel because its parent ignores SIGCHLD, or
    by another wait of the parent; None if the kernel does not tell (before Linux 6.15), or if it has not been reaped.
    The pidfd must have been opened before the process was reaped. ioctl PIDFD_GET_INFO, linux/pidfd.h."""
    from fcntl import ioctl  # lazy: a shared library, and few statuses are lost

    info = bytearray(_PIDFD_INFO.pack(_PIDFD_INFO_EXIT, 0))
    try:
        ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:
        return None
    mask, status = _PIDFD_INFO.unpack(info)
    return status if mask & _PIDFD_INFO_EXIT else None


def ended(pidfd: int, seconds: float) -> bool:
    """Wait until the process behind a pidfd has ended; False if it still exists after ``seconds``."""
    from select import POLLIN, poll  # lazy: a shared library, and `state` waits for no process

    waiting = poll()
    waiting.register(pidfd, POLLIN)
    return bool(waiting.poll(seconds * 1000))


def _open(pid: int, started: int) -> int:
    """A pidfd of the process. Raises ProcessLookupError if the process has ended."""
    if pid <= 0:
        raise ProcessLookupError
    pidfd = os.pidfd_open(pid)
    # After pidfd_open: the descriptor refers to the process whose start time is read here (pidfd_open(2)).
    if start_time(pid) != started:
        os.close(pidfd)
        raise ProcessLookupError
    return pidfd
