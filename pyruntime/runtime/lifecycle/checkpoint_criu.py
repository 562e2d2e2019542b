"""The CRIU program: finding it, asking it for one thing, and putting its failures into words.

It is run as ``criu swrk 3`` with a socket at descriptor 3, takes one request, tells on the way how far it is
(notifications, each of which it waits for an answer to), and ends with its response. https://criu.org/RPC
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
from pyruntime.system.processes import SIGKILL, ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

LEAST = (4, 0)   # what we are tested with; 3.17 cannot dump on Linux 6.x
_INSTALL = ("install the package criu of a distribution that has it (Debian 13, Fedora, Ubuntu's ppa:criu/ppa), or name"
            " the program by --criu")
# Podman calls some commands without a PATH.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_GRACE = 5.0   # seconds that a CRIU which lost us may take to let the container go on
_ERROR = re.compile(r"^\([\d.]+\)\s+(?:\d+: )?Error \([^)]*\): (?:[\w-]+: )?(.*)$")
_BEGINS = ("Dumping processes (pid", "Dump CRIU run id")   # of a dump, of a restore
# It says so and goes on: the limit is not needed for a container's few files.
_HARMLESS = ("Can't setup RLIMIT_NOFILE",)


def environment() -> dict[str, str]:
    """What CRIU gets of our environment: it runs ip, iptables and tar by PATH."""
    return {**os.environ, "PATH": os.environ.get("PATH") or _PATH}


def find_program(name: str = "") -> str:
    """The path of the CRIU program (``name``, or criu in PATH). Raises HostError: none, or too old."""
    path = search(name)
    if not path:
        where = f'"{name}"' if name else '"criu" is not in PATH'
        raise HostError(f"checkpoint and restore need CRIU {LEAST[0]}.{LEAST[1]} or later: {where}"
                        f"{' is no program' if name else ''}; {_INSTALL}")
    version = _version(path)
    if version < LEAST:
        found = ".".join(map(str, version))
        raise HostError(f"CRIU version {found} must be {LEAST[0]}.{LEAST[1]} or higher: \"{path}\"; {_INSTALL}")
    return path


def search(name: str = "") -> str:
    """The path of a program that may be CRIU; empty when there is none."""
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
        raise HostError(f'"{path} --version" does not say a version of CRIU' + (f": {said}" if said else ""))
    return tuple(int(part) for part in found.groups() if part)


class Criu:
    """One CRIU process, from its start to its end.

    ``log``  the absolute path of the file that it writes its log to, for messages; empty where it writes none
    """

    def __init__(self, pid: int, socket: _socket.socket, log: str = "") -> None:
        self.pid = pid
        self.socket = socket
        self.log = log

    @classmethod
    def spawn(cls, program: str, log: str = "") -> Criu:
        """Start it in a process group of its own: what the terminal sends to us must not end it half-way."""
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            # 3 may be the number of theirs itself; dup2(2) would leave it close-on-exec then.
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
        """Have one thing done; returns the response. ``notified`` is called with the name of each notification, the pid
        and the descriptor (-1 for none) that came with it; what it raises makes CRIU give up and is raised again.

        Raises CriuError with the reasons of CRIU's log.
        """
        try:
            response = self._converse(kind, values, notified)
        except BaseException:
            self.abandon()
            raise
        self.socket.close()
        os.waitpid(self.pid, 0)
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
            return   # it has died; the next receive says so

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
            raise self._failure(kind, None, f"what it says cannot be read: {error}") from None

    def abandon(self) -> None:
        """End it. It gives up by itself when it finds us gone, and puts the container's processes back as they were;
        one that does not is killed."""
        self.socket.close()
        try:
            pidfd = os.pidfd_open(self.pid)
            try:
                if not ended(pidfd, _GRACE):
                    os.kill(self.pid, SIGKILL)
            finally:
                os.close(pidfd)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            return   # it has been waited for already

    def gone(self, kind: int, error: BaseException) -> PyruntimeError:
        """The error for a CRIU that could not even be asked; it is ended."""
        alive = os.path.isdir(f"/proc/{self.pid}/root/")   # no zombie has a root directory
        self.abandon()
        if alive:
            return CriuError(f"criu failed: type {protocol.NAMES[kind]}: {error}", self.log)
        return self._failure(kind, None)

    def _failure(self, kind: int, response: Mapping[str, Any] | None, how: str = "it died before it answered",
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
        return CriuError("\n  ".join(lines), self.log)


def log_errors(path: str, most: int = 5) -> list[str]:
    """What CRIU's log calls errors, the first ones: the first is the cause, the others follow from it."""
    if not path:
        return []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return []   # it died before it opened its log
    # Before that line it finds out what the kernel can, and calls everything that it cannot an error.
    begin = next((number for number, line in enumerate(lines) if any(words in line for words in _BEGINS)), 0)
    found = [match[1] for match in map(_ERROR.match, lines[begin:]) if match]
    return [line for line in found if not line.startswith(_HARMLESS) and not line.endswith("FAILED.")][:most]


def lacking(program: str, *features: str) -> list[str]:
    """Those of the features (names of the protocol) that CRIU or this kernel lacks."""
    response = Criu.spawn(program).request(protocol.FEATURE_CHECK, {"features": dict.fromkeys(features, True)})
    return [name for name in features if not response.get("features", {}).get(name)]
