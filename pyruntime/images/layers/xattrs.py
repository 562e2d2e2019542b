"""Extended attributes of layers: which are admitted, and how they are read and set.

Never admitted: |trusted.overlay.*, user.overlay.* overlayfs would interpret them: opaque, redirect, metacopy, whiteouts
|security.* but security.capability labels and signatures of the host that built the image |anything else but user.*,
trusted.* and POSIX ACLs: it may be an interface to other inodes
"""

from __future__ import annotations

import os
from errno import ENODATA, EOPNOTSUPP, EPERM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_EXACT = frozenset((b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default"))
_OVERLAY = (b"trusted.overlay.", b"user.overlay.")


def admitted(name: bytes) -> bool:
    """Whether this attribute is part of a layer."""
    return (name.startswith((b"user.", b"trusted.")) and not name.startswith(_OVERLAY)) or name in _EXACT


def own_path(directory: int, name: bytes) -> bytes:
    """A path of a name in an open directory, for calls without a descriptor; its end must not be followed."""
    return b"/proc/self/fd/%d/%s" % (directory, name)


def read(node: int | bytes) -> dict[bytes, bytes]:
    """The admitted attributes of an open file, or of a path's own inode; sorted by name."""
    found = {}
    follow = isinstance(node, int)
    try:
        names = os.listxattr(node, follow_symlinks=follow)
    except OSError as error:
        if error.errno == EOPNOTSUPP:   # a filesystem without attributes
            return {}
        raise
    for text in sorted(names):
        name = os.fsencode(text)
        if admitted(name):
            try:
                found[name] = os.getxattr(node, name, follow_symlinks=follow)
            except OSError as error:
                if error.errno != ENODATA:   # a listed attribute has a value, even EOPNOTSUPP is an error
                    raise
    return found


def write(node: int | bytes, attributes: dict[bytes, bytes], skipped: Callable[[bytes, str], None]) -> None:
    """Set attributes of an open file, or of a path's own inode.

    ``skipped`` is called for each attribute that this filesystem, kind of inode or user cannot have; other errors
    raise.
    """
    follow = isinstance(node, int)
    for name, value in attributes.items():
        try:
            os.setxattr(node, name, value, follow_symlinks=follow)
        except OSError as error:
            if error.errno not in (EOPNOTSUPP, EPERM):
                raise
            skipped(name, os.strerror(error.errno))


def replace(node: int | bytes, attributes: dict[bytes, bytes], skipped: Callable[[bytes, str], None]) -> None:
    """Give an inode exactly these admitted attributes."""
    for name in read(node).keys() - attributes.keys():
        os.removexattr(node, name, follow_symlinks=isinstance(node, int))
    write(node, attributes, skipped)


def is_opaque(directory: int) -> bool:
    """Whether an open directory in overlay form is opaque, for root's overlayfs or a user's."""
    for prefix in _OVERLAY:
        try:
            if os.getxattr(directory, prefix + b"opaque") == b"y":
                return True
        except OSError as error:
            if error.errno not in (ENODATA, EOPNOTSUPP, EPERM):   # EPERM: trusted.* without root
                raise
    return False
