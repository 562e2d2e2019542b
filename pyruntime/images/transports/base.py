"""The interfaces of image locations: a source to read from, and a target to write to.

``pyruntime.images.copy`` copies an image from any source to any target. Blobs are not verified by the source; the
target verifies them by the descriptor's digest and size before it keeps them.
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
        """Content to read."""

        def read(self, count: int, /) -> bytes:
            """At most ``count`` bytes; none at the end."""

        def readinto(self, buffer: memoryview, /) -> int:
            """Read into a buffer; the number of bytes read."""

        def close(self) -> None:
            """Release its resources."""

    class Sink(Protocol):
        """A destination for a blob."""

        @property
        def offset(self) -> int:
            """The number of bytes already written."""

        def write(self, data: bytes | memoryview, /) -> object:
            """Write the next bytes."""

        def restart(self) -> None:
            """Discard the content, and start again at offset 0."""

PIECE = 1 << 20   # bytes that are read at once


class Source:
    """A location of one image to read. ``label`` names it in messages; ``parallel``: whether several blobs can be read
    at once; ``names``: the image's names at this location."""

    label = ""
    parallel = True

    def __init__(self) -> None:
        self.names: list[str] = []
        self.found: Descriptor | None = None   # of the root document, if known before the document is read

    def root(self) -> tuple[bytes, str]:
        """The root document of the image, a manifest or an index, with its media type."""
        raise NotImplementedError

    def holds(self, descriptor: Descriptor) -> bool:
        """Whether a manifest of an index is present."""
        return True

    def open(self, descriptor: Descriptor, offset: int = 0) -> Body:
        """The content of a blob, starting at ``offset``."""
        raise NotImplementedError

    def document(self, descriptor: Descriptor) -> bytes:
        """A complete manifest, index or configuration, verified."""
        if descriptor.size > MAX_DOCUMENT:
            raise ImageError(f"{self.label}: {descriptor.digest} is a document of {descriptor.size} bytes; the limit is"
                             f" {MAX_DOCUMENT}", descriptor.digest)
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
        """Write a blob to the sink, starting at the sink's offset; ``advance`` is called with the size of each piece.
        """
        body = self.open(descriptor, sink.offset)
        try:
            while data := body.read(PIECE):
                sink.write(data)
                advance(len(data))
        finally:
            body.close()

    def stop(self) -> None:
        """End the waits of other threads; the source is not used afterwards."""

    def close(self) -> None:
        """Close files and connections."""


class Target:
    """A location to which images are written, children before parents.

    ``parallel``       whether several blobs can be written at once
    ``sparse``         whether the target can hold an index without all its manifests
    ``takes_foreign``  whether non-distributable layers may be written (layer.md#non-distributable-layers)
    """

    label = ""
    parallel = True
    sparse = False
    takes_foreign = True

    def begin(self) -> None:
        """The source's documents are valid and content follows: create what the target needs."""

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the target has the content."""
        raise NotImplementedError

    def known(self, descriptor: Descriptor) -> bytes | None:
        """A document that the target has, which need not be read from the source; else None."""
        return None

    def blob(self, descriptor: Descriptor, source: Source, advance: Callable[[int], None]) -> str:
        """Write a blob; the outcome for messages, usually "copied"."""
        raise NotImplementedError

    def document(self, raw: bytes, descriptor: Descriptor) -> None:
        """Write a manifest or an index that is not the root."""
        raise NotImplementedError

    def finish(self, raw: bytes, descriptor: Descriptor) -> None:
        """Write the root document, and give it its names."""
        raise NotImplementedError

    def stop(self) -> None:
        """End the waits of other threads; the target is not used afterwards."""

    def close(self) -> None:
        """The copy is complete."""

    def abandon(self) -> None:
        """The copy failed: remove what is useless when incomplete."""
