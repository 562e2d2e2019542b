"""Names of entries: what they say about the place in the root filesystem, and whiteouts (layer.md#whiteouts).

A name is relative to the root, whatever it begins with. A component ".." is refused: no tool that makes layers writes
one, and clamping it to the root, as others do, only means that we would not say so. What a *symbolic link* points to
may have one; pyruntime.images.layers.places follows it within the root.
"""

from __future__ import annotations

from pyruntime.errors import LayerError

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
_AUFS = b".wh..wh."   # what AUFS kept beside the files: of no meaning elsewhere


def clean(name: bytes) -> bytes:
    """The name without leading and doubled slashes and without "." components; b"" is the root itself."""
    if name[:2] == b"./":
        name = name[2:]
    name = name.rstrip(b"/")
    if name[:1] not in b"./" and b"//" not in name and b"/." not in name:   # b"" is in everything
        return name
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise LayerError('a component "..", which leads out of its directory, is refused')
    return b"/".join(parts)


def whiteout(name: bytes) -> bytes | None:
    """What a clean name that contains ".wh." is: the name that it hides, OPAQUE, b"" (to be skipped), None (a file).

    Raises LayerError where it hides nothing that can be hidden, and for a file below such a name.
    """
    *parents, last = name.split(b"/")
    if any(part.startswith(_AUFS) for part in parents):
        return b""
    if any(part.startswith(WHITEOUT) for part in parents):
        raise LayerError('an entry below a whiteout: names that begin with ".wh." are no files')
    if not last.startswith(WHITEOUT):
        return None
    if last == OPAQUE:
        return OPAQUE
    hidden = last[len(WHITEOUT):]
    if hidden in (b"", b".", b".."):
        raise LayerError("a whiteout that names nothing which could be removed")
    if last.startswith(_AUFS):
        return b""
    return hidden
