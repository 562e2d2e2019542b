"""The uncompressed archive as a stream: buffered, hashed, and decompressed ahead of its reader.

The reader of archives needs three things: exactly n bytes (headers, small files), whatever is available (large files),
and skipping. All come from the decompressor's chunks; only what crosses two chunks is copied.
"""

from __future__ import annotations

from pyruntime.errors import LayerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_DEPTH = 6   # chunks that may wait between the inflater's thread and the applier: enough to ride out a slow fsync


class LayerStream:
    """Chunks as one stream. ``offset`` is the position of the chunk; ``data`` and ``pos`` are the chunk and the
    position in it."""

    __slots__ = ("_chunk", "_update", "data", "offset", "pos")

    def __init__(self, chunk: Callable[[], bytes], update: Callable[[bytes], object] | None = None) -> None:
        """``chunk`` returns the next bytes, b"" at the end; ``update`` is called with each chunk (a digest)."""
        self._chunk = chunk
        self._update = update
        self.data = b""
        self.pos = 0
        self.offset = 0

    def _next(self) -> bytes:
        chunk = self._chunk()
        if chunk and self._update is not None:
            self._update(chunk)
        return chunk

    def _have(self, size: int) -> bool:
        """Join chunks until ``size`` bytes are contiguous; whether they are."""
        pos = self.pos
        parts = [self.data[pos:]]
        have = len(parts[0])
        while have < size and (chunk := self._next()):
            parts.append(chunk)
            have += len(chunk)
        self.offset += pos
        self.data = b"".join(parts)
        self.pos = 0
        return have >= size

    def take(self, size: int) -> bytes:
        """Exactly ``size`` bytes; raises LayerError if the stream ends before."""
        pos = self.pos
        end = pos + size
        if end > len(self.data):
            if not self._have(size):
                raise self.truncated()
            pos, end = 0, size
        self.pos = end
        return self.data[pos:end]

    def block(self) -> bytes:
        """The next 512 bytes, or b"" at the end of the stream; raises LayerError if it ends within the block."""
        pos = self.pos
        end = pos + 512
        if end > len(self.data):
            if not self._have(512):
                if self.data:
                    raise self.truncated()
                return b""
            pos, end = 0, 512
        self.pos = end
        return self.data[pos:end]

    def some(self, limit: int) -> tuple[int, int]:
        """The position in ``data`` of the next bytes, 1 to ``limit`` of them; LayerError at the end of the stream."""
        if self.pos == len(self.data):
            self.offset += self.pos
            self.data = self._next()
            self.pos = 0
            if not self.data:
                raise self.truncated()
        pos = self.pos
        self.pos = min(pos + limit, len(self.data))
        return pos, self.pos

    def skip(self, size: int) -> None:
        """Skip ``size`` bytes; raises LayerError if there are fewer."""
        while size:
            start, stop = self.some(size)
            size -= stop - start

    def drain(self) -> int:
        """Read to the end, so that the digest covers data after the archive; the size of the whole stream."""
        end = self.offset + len(self.data)
        while chunk := self._next():
            end += len(chunk)
        self.data = b""
        self.pos = 0
        self.offset = end
        return end

    def truncated(self) -> LayerError:
        """The error for a stream that ends too early."""
        return LayerError(f"truncated archive: it ends at byte {self.offset + len(self.data)}, within an entry")


class Ahead:
    """Runs a source of chunks in a thread, a few chunks ahead: decompressing in C while files are created.

    A context manager: the thread always ends with it. ``chunk`` raises what the source raises.
    """

    __slots__ = ("_done", "_ready", "_room", "_source", "_stop", "_thread")

    def __init__(self, source: Callable[[], bytes]) -> None:
        import threading  # lazy: only for large layers
        from _queue import SimpleQueue

        self._source = source
        self._ready: SimpleQueue[Any] = SimpleQueue()
        self._room = threading.Semaphore(_DEPTH)
        self._stop = self._done = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            while not self._stop:
                chunk = self._source()
                self._room.acquire()
                self._ready.put(chunk)
                if not chunk:
                    return
        except BaseException as error:   # raised where the chunk is needed
            self._ready.put(error)

    def chunk(self) -> bytes:
        """The next chunk, and b"" from the end on."""
        if self._done:
            return b""
        item = self._ready.get()
        self._room.release()
        if isinstance(item, BaseException):
            self._done = True
            raise item
        chunk: bytes = item
        self._done = not chunk
        return chunk

    def __enter__(self) -> Ahead:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop = True
        self._room.release()   # the thread may wait for room
        self._thread.join()
