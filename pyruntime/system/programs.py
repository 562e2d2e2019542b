"""Other programs: find them, run them and wait. ``subprocess`` would cost 15 ms of import."""

from __future__ import annotations

import os

from pyruntime.errors import HostError
from pyruntime.system.processes import SIGPIPE, SIGXFSZ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

IGNORED = (SIGPIPE, SIGXFSZ)   # Python ignores them, and its children would; pasta then refuses to start
_MORE = ("/usr/local/sbin", "/usr/sbin", "/sbin")   # not in a plain user's PATH


def where_is(name: str) -> str:
    """The path of a program; "" if it is not installed."""
    for directory in (*os.environ.get("PATH", "/usr/bin:/bin").split(":"), *_MORE):
        path = f"{directory}/{name}"
        if directory.startswith("/") and os.access(path, os.X_OK):
            return path
    return ""


def needed(name: str, package: str, purpose: str) -> str:
    """The path of a program. Raises HostError with the program's purpose and its package."""
    path = where_is(name)
    if not path:
        raise HostError(f'the program "{name}", which {purpose}, is not installed: install the package {package}')
    return path


def run(path: str, words: Sequence[str], text: str = "") -> tuple[int, str, str]:
    """Run a program with ``text`` as its input: its exit status, output and messages."""
    files = [os.memfd_create(name, os.MFD_CLOEXEC) for name in ("in", "out", "err")]
    try:
        os.write(files[0], text.encode())
        os.lseek(files[0], 0, os.SEEK_SET)
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(files)]
        pid = os.posix_spawn(path, [path, *words], {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                             file_actions=actions, setsigdef=IGNORED)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return status, _content(files[1]), _content(files[2])
    finally:
        for fd in files:
            os.close(fd)


def _content(fd: int) -> str:
    return os.pread(fd, os.fstat(fd).st_size, 0).decode(errors="replace")
