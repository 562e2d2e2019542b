"""Calls of the C library that Python lacks. Not by pyruntime.system: the bench must not keep its bindings in memory."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000     # linux/sched.h
CLONE_NEWNET = 0x40000000
_PR_SET_CHILD_SUBREAPER = 36   # linux/prctl.h


def become_subreaper() -> None:
    """Become the parent of orphaned descendants. prctl(2), PR_SET_CHILD_SUBREAPER."""
    _call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def unshare(flags: int) -> None:
    """Enter new namespaces. unshare(2)."""
    _call("unshare", flags)


def _call(name: str, *numbers: int) -> None:
    if ctypes.CDLL(None, use_errno=True)[name](*map(ctypes.c_ulong, numbers)) != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
