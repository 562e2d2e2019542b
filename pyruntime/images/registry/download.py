"""Downloads blobs from endpoints to a sink: resumed after interruptions, from the next endpoint after a failure.

Spec: distribution-spec, "Pulling blobs"; RFC 9110, 13.1.5 (If-Range), 14 (Range). The attempts are counted from zero
after progress: a transfer that progresses is never given up. Content from other URLs (``urls`` of a descriptor) is
requested without credentials.
"""

from __future__ import annotations

from pyruntime.errors import DigestError, RegistryError
from pyruntime.images.registry.http import PIECE
from pyruntime.images.registry.retry import AttemptFailed, Attempts, asked_wait, is_transient
from pyruntime.images.registry.url import Url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from pyruntime.images.document import Descriptor
    from pyruntime.images.registry.http import Response, Transport
    from pyruntime.images.registry.session import Session

    class BlobSink(Protocol):
        """The destination of a blob. ``offset``: the number of bytes already written; ``restart`` discards them."""

        @property
        def offset(self) -> int: ...
        def write(self, view: memoryview, /) -> object: ...
        def restart(self) -> object: ...

_RANGES = (200, 206, 416)
_PROGRESS = 1024   # bytes; less per attempt is no progress, or the attempts would never end


class BlobBody:
    """The content of a blob. ``offset``: where it starts, 0 if the server does not support ranges.

    Not verified. Raises AttemptFailed (a RegistryError) if the connection is interrupted.
    """

    __slots__ = ("_response", "length", "offset")

    def __init__(self, response: Response, offset: int) -> None:
        self._response = response
        self.offset = offset
        self.length = response.length   # bytes from the offset to the end; -1 if unknown

    def readinto(self, view: memoryview) -> int:
        """Fill the view; fewer bytes only at the end, and then 0."""
        return self._response.readinto(view)

    def read(self, count: int = PIECE) -> bytes:
        """The next bytes; fewer only at the end."""
        data = bytearray(count)
        return bytes(data[:self._response.readinto(memoryview(data))])

    def close(self) -> None:
        """Close the response."""
        self._response.close()


def begins(response: Response) -> int:
    """The offset of a response's first byte: by Content-Range for 206, else 0. Raises RegistryError if it is invalid.
    """
    if response.status != 206:
        return 0
    unit, _, rest = response.header("Content-Range").partition(" ")
    first = rest.partition("-")[0].strip()
    if unit.lower() != "bytes" or not first.isascii() or not first.isdigit():
        response.close()
        raise RegistryError(f'"{response.url.netloc}": a partial response without its range')
    return int(first)


class BlobSource:
    """A source of a blob: a repository by its session, or a URL without credentials."""

    __slots__ = ("_digest", "_etag", "_session", "_url", "name")

    def __init__(self, session: Session, descriptor: Descriptor, url: str = "") -> None:
        """``url``: another place, instead of the session's repository."""
        self._session = session
        self._digest = descriptor.digest
        self._url = Url(url) if url else None
        self._etag = ""
        self.name = f"{self._url.scheme}://{self._url.netloc}" if self._url else session.endpoint.name

    def open(self, offset: int, attempts: Attempts | None = None) -> Response:
        """Request the content from an offset on: 200, 206 or 416. Raises RegistryError."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        if offset and self._etag:
            headers["If-Range"] = self._etag
        what = f"blob {self._digest}"
        if self._url is None:
            url = self._session.url("blobs", self._digest)
            response = self._session.request("GET", url, what, good=_RANGES, headers=headers, attempts=attempts)
        else:   # not by the session, which would answer the challenges of this URL (CVE-2020-15157)
            response = self._session.transport.request("GET", self._url, headers)
            if response.status not in _RANGES:
                response.close()
                raise AttemptFailed(f'"{self.name}": {what}: HTTP {response.status}', response.status,
                                    transient=is_transient(response.status), asked=asked_wait(response))
        etag = response.header("ETag")
        self._etag = etag if etag.startswith('"') else ""   # a weak ETag does not identify bytes
        return response

    def attempts(self) -> Attempts:
        """Counts the attempts at this source."""
        return Attempts(self._session.transport, mirror=self._session.endpoint.mirror)

    def forget(self) -> None:
        """Discard what is known of the content before the next request."""
        self._etag = ""


def fetch(sources: Sequence[BlobSource], descriptor: Descriptor, sink: BlobSink, transport: Transport, *,
          progress: Callable[[int], None], verify: Callable[[], None] | None) -> None:
    """Fill the sink from the first working source. Raises the last source's error, with those of the others."""
    failed: list[str] = []
    for number, source in enumerate(sources):
        try:
            _fetch(source, descriptor, sink, progress)
            if verify:
                verify()
            return
        except (RegistryError, DigestError) as error:
            if isinstance(error, DigestError) and sink.offset:
                progress(-sink.offset)
                sink.restart()   # the wrong part, and its source, are unknown
            if number + 1 == len(sources):
                if failed:
                    error.args = ("; ".join([str(error.args[0]), *failed]),)
                raise
            transport.warn(f"{error}; trying the next endpoint")
            failed.append(f"before that: {error.args[0]}")


def _fetch(source: BlobSource, descriptor: Descriptor, sink: BlobSink, progress: Callable[[int], None]) -> None:
    attempts = source.attempts()
    if sink.offset > descriptor.size:
        _restart(sink, progress)
    while sink.offset < descriptor.size:
        before = sink.offset
        try:
            _copy(source, descriptor, sink, progress, attempts)
            if sink.offset < descriptor.size:
                raise AttemptFailed(f'"{source.name}": blob {descriptor.digest} ended after {sink.offset} of'
                                       f" {descriptor.size} bytes", transient=True)
        except AttemptFailed as error:
            if sink.offset >= before + _PROGRESS:
                attempts.progressed()
            attempts.wait(error)


def _restart(sink: BlobSink, progress: Callable[[int], None]) -> None:
    progress(-sink.offset)
    sink.restart()


def _copy(source: BlobSource, descriptor: Descriptor, sink: BlobSink, progress: Callable[[int], None],
          attempts: Attempts) -> None:
    response = source.open(sink.offset, attempts)
    try:
        if response.status == 416:   # no such range: the partial content must be wrong
            source.forget()
            if not sink.offset:
                raise RegistryError(f'"{source.name}": blob {descriptor.digest}: HTTP 416 to a request for all of it',
                                    416)
            _restart(sink, progress)
            _copy(source, descriptor, sink, progress, attempts)
            return
        start = begins(response)
        if start != sink.offset:
            if start:
                raise RegistryError(f'"{source.name}": blob {descriptor.digest}: it starts at byte {start} instead of'
                                    f" {sink.offset}")
            _restart(sink, progress)
        if response.length >= 0 and start + response.length != descriptor.size:
            raise DigestError(f'"{source.name}": blob {descriptor.digest} has {start + response.length} bytes there,'
                              f" its descriptor has {descriptor.size}")
        _drain(response, descriptor, sink, progress)
    finally:
        response.close()


def _drain(response: Response, descriptor: Descriptor, sink: BlobSink, progress: Callable[[int], None]) -> None:
    left = descriptor.size - sink.offset
    view = memoryview(bytearray(min(PIECE, left + 1)))
    while True:
        count = response.readinto(view)
        if not count:
            return
        if count > left:
            raise DigestError(f"{descriptor.digest}: the content is longer than the {descriptor.size} bytes of its"
                              " descriptor")
        sink.write(view[:count])
        left -= count
        progress(count)
