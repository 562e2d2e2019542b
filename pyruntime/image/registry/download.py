"""Blobs from endpoints into a sink: resumed where they were cut, from the next endpoint where one fails.

Spec: distribution-spec, "Pulling blobs"; RFC 9110, 13.1.5 (If-Range), 14 (Range). Attempts count from the last byte
that came: a transfer that progresses is never given up. What comes from another place than the registry (``urls`` of
a descriptor) is asked for without any credentials.
"""

from __future__ import annotations

from pyruntime.errors import DigestError, RegistryError
from pyruntime.image.registry.http import PIECE, Url
from pyruntime.image.registry.retry import Attempts, asked_wait, is_transient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from pyruntime.image.document import Descriptor
    from pyruntime.image.registry.http import Response, Transport
    from pyruntime.image.registry.session import Session

    class Sink(Protocol):
        """Where a blob goes. ``offset``: how many bytes are there already; ``restart`` drops them."""

        @property
        def offset(self) -> int: ...
        def write(self, view: memoryview, /) -> object: ...
        def restart(self) -> object: ...

_RANGES = (200, 206, 416)


class Body:
    """A blob's content as it comes. ``offset``: where it begins, 0 where the server knows no ranges; -1 length: unknown.

    Nothing is verified here. Raises ConnectionFailed (a RegistryError) where the connection is cut.
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


class Source:
    """Where a blob can be had: from a repository by its session, or from a URL by nobody in particular."""

    __slots__ = ("_session", "_transport", "_url", "_what", "etag", "name")

    def __init__(self, session: Session, descriptor: Descriptor, url: str = "") -> None:
        """``url``: a foreign place, instead of the session's repository."""
        self._session = session
        self._transport = session.transport
        self._what = f"blob {descriptor.digest}"
        self._url = Url(url) if url else session.url("blobs", descriptor.digest)
        self.name = f"{self._url.scheme}://{self._url.netloc}" if url else session.endpoint.name
        self.etag = ""

    def open(self, offset: int) -> Response:
        """Ask once for the content from an offset on: 200, 206 or 416. Raises RegistryError."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        if offset and self.etag:
            headers["If-Range"] = self.etag
        if self.foreign:
            response = self._transport.request("GET", self._url, headers)
            if response.status not in _RANGES:
                response.close()
                error = RegistryError(f'"{self.name}": {self._what}: HTTP {response.status}', response.status)
                raise error
        else:
            response = self._session.request("GET", self._url, self._what, good=_RANGES, headers=headers)
        etag = response.header("ETag")
        self.etag = etag if etag.startswith('"') else ""   # a weak one says nothing about bytes
        return response

    @property
    def foreign(self) -> bool:
        """Whether it is a place outside of the registry."""
        return self._url.origin != self._session.base.origin or "/v2/" not in self._url.target


def fetch(sources: Sequence[Source], descriptor: Descriptor, sink: Sink, transport: Transport, *,
          progress: Callable[[int], None], verify: Callable[[], None] | None) -> None:
    """Fill the sink from the first source that can. Raises the last source's error, with those of the others."""
    failed: list[str] = []
    for number, source in enumerate(sources):
        try:
            _fetch(source, descriptor, sink, transport, progress)
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


def _fetch(source: Source, descriptor: Descriptor, sink: Sink, transport: Transport,
           progress: Callable[[int], None]) -> None:
    from pyruntime.image.registry.connection import ConnectionFailed

    attempts = Attempts(transport)
    if sink.offset > descriptor.size:
        _restart(sink, progress)
    while sink.offset < descriptor.size:
        before = sink.offset
        try:
            _copy(source, descriptor, sink, progress)
            if sink.offset < descriptor.size:
                raise ConnectionFailed(f'"{source.name}": blob {descriptor.digest} ended after {sink.offset} of'
                                       f" {descriptor.size} bytes", transient=True)
        except ConnectionFailed as error:
            if not error.transient:
                raise
            if sink.offset > before:
                attempts.progressed()
            attempts.wait(error)


def _restart(sink: Sink, progress: Callable[[int], None]) -> None:
    progress(-sink.offset)
    sink.restart()


def _copy(source: Source, descriptor: Descriptor, sink: Sink, progress: Callable[[int], None]) -> None:
    response = source.open(sink.offset)
    try:
        if response.status == 416:   # there is no such part: then what is here cannot be a part of it
            source.etag = ""
            if not sink.offset:
                raise RegistryError(f'"{source.name}": blob {descriptor.digest}: HTTP 416 to a request for all of it', 416)
            _restart(sink, progress)
            return
        start = begins(response)
        if start != sink.offset:
            if start:
                raise RegistryError(f'"{source.name}": blob {descriptor.digest}: bytes from {start} on came instead of'
                                    f" {sink.offset}")
            _restart(sink, progress)
        if response.length >= 0 and start + response.length != descriptor.size:
            raise DigestError(f'"{source.name}": blob {descriptor.digest} has {start + response.length} bytes there, its'
                              f" descriptor says {descriptor.size}")
        _drain(response, descriptor, sink, progress)
    finally:
        response.close()


def _drain(response: Response, descriptor: Descriptor, sink: Sink, progress: Callable[[int], None]) -> None:
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
