"""Linux system calls that the harness needs and Python 3.11 lacks, under their own names, by ctypes."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
MS_REC = 0x4000
MS_SLAVE = 1 << 19
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
# asm/unistd_64.h, asm-generic/unistd.h; 0 on other machines, which the cases that need it check
SYS_IOPRIO_GET = {"x86_64": 252, "aarch64": 31}.get(os.uname().machine, 0)

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, call: str) -> int:
    if result == -1:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{call}: {os.strerror(errno)}")
    return result


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    _check(_libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]), f"mount {target}")


def umount2(target: str, flags: int) -> None:
    _check(_libc.umount2(os.fsencode(target), flags), f"umount2 {target}")


def prctl(option: int, argument: int) -> int:
    return _check(_libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0), "prctl")


def ioprio_get(pid: int) -> tuple[int, int]:
    """The I/O priority of a process as (class, level)."""
    value = _check(_libc.syscall(SYS_IOPRIO_GET, 1, pid), "ioprio_get")
    return value >> 13, value & 0x1FFF
