"""A place that a build cache is imported from or exported to."""

from __future__ import annotations


class CachePlace:
    """A build cache.

    ``text``    the place as the user wrote it, for messages
    ``kind``    registry (an artifact), local (an image layout in a directory), or inline (in the image's configuration)
    ``where``   the reference or the directory    ``name``  of the cache in an image layout
    ``full``    export the layers of all steps, instead of those of the result: mode=max
    ``compression``  of exported layers           ``may_fail``  a failed export is a warning: ignore-error
    """

    __slots__ = ("compression", "full", "kind", "may_fail", "name", "text", "where")

    def __init__(self, text: str, kind: str, where: str, name: str = "") -> None:
        self.text = text
        self.kind = kind
        self.where = where
        self.name = name or "latest"
        self.full = False
        self.compression = "gzip"
        self.may_fail = False

    def __str__(self) -> str:
        return self.where or self.kind
