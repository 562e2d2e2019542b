"""Blobs from endpoints into a sink: resumed where they were cut, from the next endpoint where one fails.

Spec: distribution-spec, "Pulling blobs"; RFC 9110, 13.1.5 (If-Range), 14 (Range). Attempts count anew where
some content came: a transfer that progresses is never given up. What comes from another place than the registry
(``urls`` of a descriptor) is asked for without any credentials.
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
        """Where a blob goes. ``offset``: how many bytes are there already; ``restart`` drops them."""

        @property
        def offset(self) -> int: ...
        def write(self, view: memoryview, /) -> object: ...
        def restart(self) -> object: ...

_RANGES = (200, 206, 416)
_PROGRESS = 1024   # bytes; a server that sends fewer in each attempt would be asked without an end


class BlobBody:
    """A blob's content as it comes. ``offset``: where it begins, 0 where the server knows no ranges.

    Nothing is verified here. Raises AttemptFailed (a RegistryError) where the connection is cut.
    """

    __slots__ = ("_response", "length", "offset")

    def __init__(self, response: Response, offset: int) -> None:
        self._response = response
        self.offset = offset
        self.length = response.length   # bytes from the offset to the end; -1 where the server does not say

    def readinto(self, view: memoryview) -> int:
        """Fill the view; fewer bytes only at the end, where it is 0."""
        return self._response.readinto(view)

    def read(self, count: int = PIECE) -> bytes:
        """The next bytes; fewer only at the end."""
        data = bytearray(count)
        return bytes(data[:self._response.readinto(memoryview(data))])

    def close(self) -> None:
        """Give up, or be done."""
        self._response.close()


def begins(response: Response) -> int:
    """The offset of an answer's first byte: by Content-Range for 206, else 0. Raises RegistryError if it lies."""
    if response.status != 206:
        return 0
    unit, _, rest = response.header("Content-Range").partition(" ")
    first = rest.partition("-")[0].strip()
    if unit.lower() != "bytes" or not first.isascii() or not first.isdigit():
        response.close()
        raise RegistryError(f'"{response.url.netloc}": a part of a blob that does not say which')
    return int(first)


class BlobSource:
    """Where a blob can be had: from a repository by its session, or from a URL by nobody in particular."""

    __slots__ = ("_digest", "_etag", "_session", "_url", "name")

    def __init__(self, session: Session, descriptor: Descriptor, url: str = "") -> None:
        """``url``: a foreign place, instead of the session's repository."""
        self._session = session
        self._digest = descriptor.digest
        self._url = Url(url) if url else None
        self._etag = ""
        self.name = f"{self._url.scheme}://{self._url.netloc}" if self._url else session.endpoint.name

    def open(self, offset: int, attempts: Attempts | None = None) -> Response:
        """Ask for the content from an offset on: 200, 206 or 416. Raises RegistryError."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        if offset and self._etag:
            headers["If-Range"] = self._etag
        what = f"blob {self._digest}"
        if self._url is None:
            url = self._session.url("blobs", self._digest)
            response = self._session.request("GET", url, what, good=_RANGES, headers=headers, attempts=attempts)
        else:   # not by the session: it would answer this place's challenges (CVE-2020-15157)
            response = self._session.transport.request("GET", self._url, headers)
            if response.status not in _RANGES:
                response.close()
                raise AttemptFailed(f'"{self.name}": {what}: HTTP {response.status}', response.status,
                                    transient=is_transient(response.status), asked=asked_wait(response))
        etag = response.header("ETag")
        self._etag = etag if etag.startswith('"') else ""   # a weak one says nothing about bytes
        return response

    def attempts(self) -> Attempts:
        """Counts the attempts at this source."""
        return Attempts(self._session.transport, mirror=self._session.endpoint.mirror)

    def forget(self) -> None:
        """Take nothing that was said about the content into the next request."""
        self._etag = ""


def fetch(sources: Sequence[BlobSource], descriptor: Descriptor, sink: BlobSink, transport: Transport, *,
          progress: Callable[[int], None], verify: Callable[[], None] | None) -> None:
    """Fill the sink from the first source that can. Raises the last source's error, with those of the others."""
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
                sink.restart()   # nobody knows which part is wrong, or from where it came
            if number + 1 == len(sources):
                if failed:
                    error.args = ("; ".join([str(error.args[0]), *failed]),)
                raise
            transport.warn(f"{error}; trying the next place")
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
        if response.status == 416:   # there is no such part: then what is here cannot be a part of it
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
                raise RegistryError(f'"{source.name}": blob {descriptor.digest}: bytes from {start} on came instead of'
                                    f" {sink.offset}")
            _restart(sink, progress)
        if response.length >= 0 and start + response.length != descriptor.size:
            raise DigestError(f'"{source.name}": blob {descriptor.digest} has {start + response.length} bytes there,'
                              f" its descriptor says {descriptor.size}")
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
            raise DigestError(f"{descriptor.digest}: more content than the {descriptor.size} bytes that its descriptor"
                              " says")
        sink.write(view[:count])
        left -= count
        progress(count)
