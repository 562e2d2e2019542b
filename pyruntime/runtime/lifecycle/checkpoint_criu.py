"""The CRIU program: find it, send it one request, and turn its failures into error messages.

CRIU runs as ``criu swrk 3`` with a socket at descriptor 3. It receives one request, sends notifications of its
progress, waits for a reply to each, and ends with a response. https://criu.org/RPC
"""

from __future__ import annotations

import _socket
import fcntl
import os
import re
import shutil
import subprocess

from pyruntime.errors import CriuError, HostError, PyruntimeError, words
from pyruntime.runtime.lifecycle import checkpoint_protocol as protocol
from pyruntime.runtime.lifecycle.parent import THIS_PROCESS, Parent
from pyruntime.system.processes import SIGKILL, ended
from pyruntime.system.sockets import blocking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

LEAST = (4, 0)   # the oldest version that is tested; 3.17 cannot dump on Linux 6.x
_INSTALL = ("install the package criu of a distribution that has it (Debian 13, Fedora, Ubuntu's ppa:criu/ppa), or name"
            " the program by --criu")
# Podman calls some commands without a PATH.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_GRACE = 5.0   # seconds for CRIU to release the container after the socket is closed
_ERROR = re.compile(r"^\([\d.]+\)\s+(?:\d+: )?Error \([^)]*\): (?:[\w-]+: )?(.*)$")
_BEGINS = ("Dumping processes (pid", "Dump CRIU run id")   # first lines of a dump and of a restore
# CRIU logs this and continues: a container with few files does not need the limit.
_HARMLESS = ("Can't setup RLIMIT_NOFILE",)


def environment() -> dict[str, str]:
    """The variables that CRIU inherits: it finds ip, iptables and tar by PATH."""
    return {**os.environ, "PATH": os.environ.get("PATH") or _PATH}


def find_program(name: str = "") -> str:
    """The path of the CRIU program (``name``, or criu in PATH). Raises HostError if it is missing or too old."""
    path = search(name)
    if not path:
        where = f'"{name}"' if name else '"criu" is not in PATH'
        raise HostError(f"checkpoint and restore need CRIU {LEAST[0]}.{LEAST[1]} or later: {where}"
                        f"{' is not a program' if name else ''}; {_INSTALL}")
    version = _version(path)
    if version < LEAST:
        found = ".".join(map(str, version))
        raise HostError(f"CRIU version {found} must be {LEAST[0]}.{LEAST[1]} or higher: \"{path}\"; {_INSTALL}")
    return path


def search(name: str = "") -> str:
    """The path of a program that may be CRIU, or empty."""
    found = shutil.which(name or "criu", path=environment()["PATH"])
    return os.path.abspath(found) if found else ""


def _version(path: str) -> tuple[int, ...]:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, env=environment(),
                              timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f'"{path}" cannot be run: {words(error)}') from None
    found = re.search(r"^Version: (\d+)\.(\d+)(?:\.(\d+))?", done.stdout, re.M)
    if not found:
        said = (done.stderr or done.stdout).strip().partition("\n")[0]
        raise HostError(f'"{path} --version" does not print a CRIU version' + (f": {said}" if said else ""))
    return tuple(int(part) for part in found.groups() if part)


class Criu:
    """One CRIU process, from its start to its end.

    ``log``  the absolute path of CRIU's log, for messages; empty if CRIU writes no log
    ``parent``  its parent process, which waits for it
    """

    def __init__(self, pid: int, socket: _socket.socket, log: str = "", parent: Parent = THIS_PROCESS) -> None:
        self.pid = pid
        self.socket = socket
        self.log = log
        self.parent = parent

    @classmethod
    def spawn(cls, program: str, log: str = "") -> Criu:
        """Start CRIU in its own process group: a signal from the terminal must not interrupt it half-way."""
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0)
        blocking(ours, theirs)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            # The descriptor may already be number 3; dup2(2) would then leave it close-on-exec.
            parked = fcntl.fcntl(theirs.fileno(), fcntl.F_DUPFD_CLOEXEC, 4)
            try:
                pid = os.posix_spawn(program, [program, "swrk", "3"], environment(), setpgroup=0, file_actions=[
                    (os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2),
                    (os.POSIX_SPAWN_DUP2, parked, 3)])
            finally:
                os.close(parked)
        except OSError as error:
            ours.close()
            raise HostError(f'"{program}" cannot be run: {error.strerror}') from None
        finally:
            theirs.close()
            os.close(null)
        return cls(pid, ours, log)

    def request(self, kind: int, values: Mapping[str, Any], notified: Callable[[str, int, int], None] | None = None,
                ) -> dict[str, Any]:
        """Send one request and return the response. ``notified`` is called with the name of each notification, and the
        pid and descriptor (-1 for none) that it carries. If ``notified`` raises, CRIU gives up and the exception is
        raised again. Raises CriuError with the reasons from CRIU's log.
        """
        try:
            response = self._converse(kind, values, notified)
        except BaseException:
            self.abandon()
            raise
        self.socket.close()
        self.parent.let_end(self.pid)
        if not response.get("success"):
            raise self._failure(kind, response)
        return response

    def _converse(self, kind: int, values: Mapping[str, Any], notified: Callable[[str, int, int], None] | None,
                  ) -> dict[str, Any]:
        self._send({"type": kind, **values})
        refused: BaseException | None = None
        while True:
            response, fd = self._receive(kind)
            if response.get("type") != protocol.NOTIFY:
                if refused is not None:
                    raise refused
                return response
            note = response.get("notify", {})
            try:
                if refused is None and notified is not None:
                    notified(note.get("script", ""), note.get("pid", 0), fd)
            except PyruntimeError as error:
                refused = error
            finally:
                if fd >= 0:
                    os.close(fd)
            self._send({"type": protocol.NOTIFY, "notify_success": refused is None})

    def _send(self, values: Mapping[str, Any]) -> None:
        try:
            self.socket.send(protocol.encode("request", values), _socket.MSG_NOSIGNAL)
        except (BrokenPipeError, ConnectionResetError):
            return   # CRIU has died; the next receive reports that

    def _receive(self, kind: int) -> tuple[dict[str, Any], int]:
        try:
            data, ancillary, _, _ = self.socket.recvmsg(1 << 20, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            data, ancillary = b"", []
        fd = next((int.from_bytes(item[2][:4], "little") for item in ancillary
                   if item[:2] == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS)), -1)
        if not data:
            raise self._failure(kind, None)
        try:
            return protocol.decode("response", data), fd
        except ValueError as error:
            if fd >= 0:
                os.close(fd)
            raise self._failure(kind, None, f"invalid response: {error}") from None

    def abandon(self) -> None:
        """End CRIU. When the socket is closed, CRIU gives up and puts the container's processes back as they were; if
        it does not, it is killed."""
        self.socket.close()
        try:
            pidfd = os.pidfd_open(self.pid)
            try:
                if not ended(pidfd, _GRACE):
                    os.kill(self.pid, SIGKILL)
            finally:
                os.close(pidfd)
            self.parent.wait(self.pid)
        except (ProcessLookupError, ChildProcessError):
            return   # it has been waited for already

    def gone(self, kind: int, error: BaseException) -> PyruntimeError:
        """End CRIU and return the error for a request that could not be sent."""
        alive = os.path.isdir(f"/proc/{self.pid}/root/")   # a zombie has no root directory
        self.abandon()
        if alive:
            return CriuError(f"criu failed: type {protocol.NAMES[kind]}: {error}", self.log)
        return self._failure(kind, None)

    def _failure(self, kind: int, response: Mapping[str, Any] | None, how: str = "it exited without a response",
                 ) -> CriuError:
        reasons = log_errors(self.log)
        errno = (response or {}).get("cr_errno", 0)
        text = f"criu failed: type {protocol.NAMES[kind]} errno {errno}"
        if response is None:
            text += f": {how}"
        if not reasons and (response or {}).get("cr_errmsg"):
            assert response is not None
            reasons = [str(response["cr_errmsg"]).strip()]
        if reasons:
            text += f": {reasons[0]}"
        lines = [text, *reasons[1:]]
        if self.log:
            lines.append(f"log file: {self.log}")
        return CriuError("\n  ".join(lines), self.log, died=response is None)


def log_errors(path: str, most: int = 5) -> list[str]:
    """The first errors in CRIU's log: the first is the cause, the others follow from it."""
    if not path:
        return []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return []   # CRIU died before it opened its log
    # Before that line CRIU probes the kernel, and logs each missing feature as an error.
    begin = next((number for number, line in enumerate(lines) if any(words in line for words in _BEGINS)), 0)
    found = [match[1] for match in map(_ERROR.match, lines[begin:]) if match]
    kept = [line for line in found if not line.startswith(_HARMLESS) and not line.endswith("FAILED.")]
    return list(dict.fromkeys(kept))[:most]


def lacking(program: str, *features: str) -> list[str]:
    """The features (by their names in the protocol) that CRIU or the kernel lacks."""
    response = Criu.spawn(program).request(protocol.FEATURE_CHECK, {"features": dict.fromkeys(features, True)})
    return [name for name in features if not response.get("features", {}).get(name)]
