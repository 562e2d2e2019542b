"""Directories that another user could create first."""

from __future__ import annotations

import os
import stat

from pyruntime.errors import PyruntimeError


def private(path: str, remedy: str) -> str:
    """Create a directory that only this user may write, if it is missing, and return its path. Raises PyruntimeError
    with the remedy if another user may write to it: that user could make this process run hooks."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        os.mkdir(path, 0o700)
        status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PyruntimeError(f'"{path}" is not a directory that only you may write: {remedy}')
    return path
