"""Names of entries: paths in the root filesystem, and whiteouts (layer.md#whiteouts).

A name is relative to the root, whatever its first character. A component ".." is refused: no tool creates such layers,
and silently clamping them to the root, as others do, would hide the problem. The *target* of a symbolic link may have
one; pyruntime.images.layers.places follows it within the root.
"""

from __future__ import annotations

from pyruntime.errors import LayerError

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
_AUFS = b".wh..wh."   # metadata of AUFS, without meaning elsewhere


def clean(name: bytes) -> bytes:
    """The name without leading and doubled slashes and without "." components; b"" is the root itself."""
    if name[:2] == b"./":
        name = name[2:]
    name = name.rstrip(b"/")
    if name[:1] not in b"./" and b"//" not in name and b"/." not in name:   # b"" matches everything
        return name
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise LayerError('a component ".." is refused')
    return b"/".join(parts)


def whiteout(name: bytes) -> bytes | None:
    """The meaning of a clean name that contains ".wh.": the name that it hides, OPAQUE, b"" (to be skipped), None (a
    file).

    Raises LayerError for an invalid whiteout, and for a file below a whiteout's name.
    """
    *parents, last = name.split(b"/")
    if any(part.startswith(_AUFS) for part in parents):
        return b""
    if any(part.startswith(WHITEOUT) for part in parents):
        raise LayerError('an entry below a whiteout: names beginning with ".wh." are not files')
    if not last.startswith(WHITEOUT):
        return None
    if last == OPAQUE:
        return OPAQUE
    hidden = last[len(WHITEOUT):]
    if hidden in (b"", b".", b".."):
        raise LayerError("a whiteout without a valid name to remove")
    if last.startswith(_AUFS):
        return b""
    return hidden
