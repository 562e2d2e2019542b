"""Processes by their names for ever: a pid and when it was started."""

from __future__ import annotations

import os
import sys

from pyruntime.system.installed import PACKAGE


def interpreter() -> str:
    """The program that runs us, to run more of our own: the environment's PYTHONEXECUTABLE sets sys.executable, even
    with -I, and would choose the program of a container's monitor."""
    return os.readlink("/proc/self/exe").removesuffix(" (deleted)")


def own_program(script: str) -> list[str]:
    """The command line, to which arguments are added, of a script of this package in an interpreter of its own.

    -IS: without the environment and without site, which a container's monitor must not trust or wait for. The script
    gets the directories of packages that this process has as its first argument, with colons between them; only
    absolute ones, because the other process may work elsewhere.
    """
    packages = ":".join(path for path in sys.path if path.startswith("/"))
    return [interpreter(), "-IS", f"{PACKAGE}/{script}", packages]


def start_time(pid: int) -> int:
    """When the process was started, in clock ticks after boot: together with the pid it names a process for ever.
    0 when it does not exist or is a zombie. proc_pid_stat(5)."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return 0
    try:
        fields = os.read(fd, 4096).rpartition(b")")[2].split()
    except ProcessLookupError:
        return 0
    finally:
        os.close(fd)
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])
