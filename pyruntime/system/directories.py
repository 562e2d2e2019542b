"""Directories that other users could make before us."""

from __future__ import annotations

import os
import stat

from pyruntime.errors import PyruntimeError


def private(path: str, remedy: str) -> str:
    """The path of a directory that this user alone may write, which is made. Raises PyruntimeError with the remedy
    where it is somebody else's, who could have us run hooks of his."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        os.mkdir(path, 0o700)
        status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PyruntimeError(f'"{path}" is not a directory that you alone may write: {remedy}')
    return path
