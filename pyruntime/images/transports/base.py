"""What the places of images have in common: a source is read from, a target is written to.

``pyruntime.images.copy`` moves an image from any source to any target. A blob travels as bytes that are not verified
yet; the target verifies them with the descriptor's digest and size before they get their name.
"""

from __future__ import annotations

from pyruntime.errors import ImageError
from pyruntime.images.digest import verify
from pyruntime.images.document import MAX_DOCUMENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from pyruntime.images.document import Descriptor

    class Body(Protocol):
        """Content that is being read."""

        def read(self, count: int, /) -> bytes:
            """At most ``count`` bytes; none at the end."""

        def readinto(self, buffer: memoryview, /) -> int:
            """The same into a buffer; how many bytes came."""

        def close(self) -> None:
            """Let go of what is behind it."""

    class Sink(Protocol):
        """Where a blob is written to."""

        @property
        def offset(self) -> int:
            """How many bytes are there already."""

        def write(self, data: bytes | memoryview, /) -> object:
            """Take the next bytes."""

        def restart(self) -> None:
            """Forget what came; it begins anew at offset 0."""

PIECE = 1 << 20   # bytes that are read at once


class Source:
    """A place that one image is read from. ``label`` names it in messages; ``parallel``: whether several blobs can be
    read at once; ``names`` are the names that the image has there."""

    label = ""
    parallel = True

    def __init__(self) -> None:
        self.names: list[str] = []
        self.found: Descriptor | None = None   # the root document's, where it is known before that is read

    def root(self) -> tuple[bytes, str]:
        """The document that the reference names, a manifest or an index, with its media type."""
        raise NotImplementedError

    def holds(self, descriptor: Descriptor) -> bool:
        """Whether a manifest that an index names is there."""
        return True

    def open(self, descriptor: Descriptor, offset: int = 0) -> Body:
        """A blob's bytes from ``offset`` on."""
        raise NotImplementedError

    def document(self, descriptor: Descriptor) -> bytes:
        """A whole manifest, index or configuration, verified."""
        if descriptor.size > MAX_DOCUMENT:
            raise ImageError(f"{self.label}: {descriptor.digest} is a document of {descriptor.size} bytes; no more than"
                             f" {MAX_DOCUMENT} are read", descriptor.digest)
        body = self.open(descriptor)
        try:
            data = b""
            while len(data) <= descriptor.size and (piece := body.read(descriptor.size + 1 - len(data))):
                data += piece
        finally:
            body.close()
        verify(data, descriptor.digest, descriptor.size)
        return data

    def fetch(self, descriptor: Descriptor, sink: Sink, advance: Callable[[int], None]) -> None:
        """Write a blob into the sink, from the sink's offset on; ``advance`` is told of every piece."""
        body = self.open(descriptor, sink.offset)
        try:
            while data := body.read(PIECE):
                sink.write(data)
                advance(len(data))
        finally:
            body.close()

    def stop(self) -> None:
        """End what other threads wait for here; nobody will use it any more."""

    def close(self) -> None:
        """Let go of files and connections."""


class Target:
    """A place that images are written to, children before parents.

    ``parallel``       whether it takes several blobs at once
    ``sparse``         whether it holds an index without all of the manifests that it names
    ``takes_foreign``  whether layers that are not to be distributed may go there (layer.md#non-distributable-layers)
    """

    label = ""
    parallel = True
    sparse = False
    takes_foreign = True

    def begin(self) -> None:
        """The source's documents are in order, content follows: what has to be made can be made."""

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the content is there already."""
        raise NotImplementedError

    def known(self, descriptor: Descriptor) -> bytes | None:
        """A document that is there already and need not be read from the source; None where it has to be."""
        return None

    def blob(self, descriptor: Descriptor, source: Source, advance: Callable[[int], None]) -> str:
        """Take a blob; "copied", or what was done instead, for messages."""
        raise NotImplementedError

    def document(self, raw: bytes, descriptor: Descriptor) -> None:
        """Take a manifest or an index that is no root."""
        raise NotImplementedError

    def finish(self, raw: bytes, descriptor: Descriptor) -> None:
        """Take the root document, and give it the names that were asked for."""
        raise NotImplementedError

    def stop(self) -> None:
        """End what other threads wait for here; nobody will use it any more."""

    def close(self) -> None:
        """Nothing more comes: everything is in its place."""

    def abandon(self) -> None:
        """It failed: remove what only makes sense whole."""
