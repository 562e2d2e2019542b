"""Extended attributes of layers: which may come in, which may go out, and the kernel's ways to set them.

Not admitted, whatever the layer says:
    trusted.overlay.*, user.overlay.*   overlayfs would obey them: opaque, redirect, metacopy, whiteouts
    security.* but security.capability  labels and signatures of the machine that the image was made on
    anything else but user.*, trusted.* and POSIX ACLs: no kernel interface to other inodes is known to be harmless
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
    """A path of a name in an open directory, for the calls that take no descriptor; not to be followed at its end."""
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
                if error.errno != ENODATA:   # EOPNOTSUPP and the like: an attribute that is listed has a value
                    raise
    return found


def write(node: int | bytes, attributes: dict[bytes, bytes], skipped: Callable[[bytes, str], None]) -> None:
    """Set attributes of an open file, or of a path's own inode.

    ``skipped`` is told of each that this filesystem, this kind of inode or this user cannot have; other errors raise.
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
    """Give an inode these admitted attributes and no others."""
    for name in read(node).keys() - attributes.keys():
        os.removexattr(node, name, follow_symlinks=isinstance(node, int))
    write(node, attributes, skipped)


def is_opaque(directory: int) -> bool:
    """Whether an open directory in overlay form hides what lies below it, for root's overlayfs or for a user's."""
    for prefix in _OVERLAY:
        try:
            if os.getxattr(directory, prefix + b"opaque") == b"y":
                return True
        except OSError as error:
            if error.errno not in (ENODATA, EOPNOTSUPP, EPERM):   # EPERM: trusted.* for whoever is not root
                raise
    return False
