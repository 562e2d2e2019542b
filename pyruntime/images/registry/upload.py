"""Uploads blobs: in chunks that are resumed after interruptions, or in one piece.

Spec: distribution-spec, "Pushing blobs". A small blob is sent by one PUT; a large one by PATCH, chunk by chunk, and
after a failure the registry is asked for its offset. A registry that refuses chunks gets the blob by one PUT.
"""

from __future__ import annotations

from pyruntime.errors import RegistryError
from pyruntime.images.registry.http import ContentStream
from pyruntime.images.registry.retry import AttemptFailed, Attempts
from pyruntime.images.registry.url import Url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyruntime.images.document import Descriptor
    from pyruntime.images.registry.http import Readable, Response
    from pyruntime.images.registry.session import Session

CHUNK = 64 << 20   # bytes; below this a blob goes in one piece
_TYPE = {"Content-Type": "application/octet-stream"}
_NO_CHUNKS = (400, 404, 405, 411, 415, 501)   # responses of registries without PATCH


def ignore(_count: int) -> None:
    """Ignore the progress."""


def is_there(session: Session, digest: str) -> bool:
    """Whether a session's repository has a blob."""
    response = session.request("HEAD", session.url("blobs", digest), f"blob {digest}", good=(200, 404))
    response.close()
    return response.status == 200


class _Lost(AttemptFailed):
    """Sent data is lost, or may be: the upload must restart."""


class Upload:
    """The upload of one blob to one repository."""

    def __init__(self, session: Session, descriptor: Descriptor, open_at: Callable[[int], Readable], *,
                 chunk: int = CHUNK, progress: Callable[[int], None] = ignore) -> None:
        self.session = session
        self.descriptor = descriptor
        self.open_at = open_at
        self.chunk = chunk
        self.progress = progress
        self.what = f"push of blob {descriptor.digest}"
        self.location = session.url("blobs", "uploads/")   # until the registry returns one
        self.smallest = 0    # bytes of a chunk, by the registry
        self.told = 0        # bytes reported as progress
        self._is_begun = False
        self._has_chunks = False   # whether the registry has accepted a chunk

    def mount(self, from_: str) -> bool:
        """Mount the blob from another repository of the registry; False if that fails."""
        from urllib.parse import urlencode  # lazy: only for a push

        query = urlencode({"mount": self.descriptor.digest, "from": from_})
        try:
            response = self.session.request("POST", Url(f"{self.session.url('blobs', 'uploads/')}?{query}"), self.what,
                                            good=(201, 202), scopes=[f"repository:{from_}:pull"])
        except RegistryError as error:
            if error.status not in (400, 401, 403, 404, 405):
                raise
            self.session.transport.debug(f"{error}; pushing it instead")   # only the other repository is not accessible
            return False
        if response.status == 202:
            self._begun(response)
        response.close()
        return response.status == 201

    def push(self) -> None:
        """Push the content. Raises RegistryError."""
        attempts = Attempts(self.session.transport)
        chunks = self.descriptor.size > max(self.chunk, self.smallest)
        while True:
            try:
                if not self._is_begun:
                    self._begin()
                if chunks:
                    self._in_chunks()
                    self._finish()
                else:
                    self._in_one()
                return
            except _Lost as error:
                self._drop()
                attempts.wait(error)
                if is_there(self.session, self.descriptor.digest):   # only the response was lost
                    self._tell(self.descriptor.size)
                    return
            except RegistryError as error:
                self._drop()
                if not chunks or self._has_chunks or error.status not in _NO_CHUNKS:
                    raise
                self.session.transport.debug(f"{error}; pushing it in one piece")
                chunks = False

    def _begin(self) -> None:
        algorithm = self.descriptor.digest.partition(":")[0]
        query = f"?digest-algorithm={algorithm}" if algorithm != "sha256" else ""
        response = self.session.request("POST", Url(f"{self.session.url('blobs', 'uploads/')}{query}"), self.what,
                                        good=(202,))
        self._begun(response)
        response.close()

    def _begun(self, response: Response) -> None:
        smallest = response.header("OCI-Chunk-Min-Length")
        self.smallest = int(smallest) if smallest.isascii() and smallest.isdigit() else 0
        self._moved(response)
        self._is_begun = True

    def _moved(self, response: Response) -> None:
        location = response.header("Location")
        if location:
            self.location = Url(location, response.url)
        elif not self._is_begun:
            response.close()
            raise RegistryError(f'"{self.session.endpoint.name}": {self.what}: a response without a Location')

    def _closing(self) -> Url:
        from urllib.parse import quote  # lazy: only for a push

        mark = "&" if "?" in self.location.target else "?"
        return Url(f"{self.location}{mark}digest={quote(self.descriptor.digest, ':')}")

    def _in_one(self) -> None:
        body = ContentStream(lambda: self.open_at(0), self.descriptor.size, self._count)
        try:
            self._request("PUT", self._closing(), (201,), headers=_TYPE, body=body, again=False).close()
        except AttemptFailed as error:
            if error.transient:   # the registry's offset is unknown
                raise _Lost(error.args[0], error.status, transient=True, asked=error.asked) from None
            raise

    def _in_chunks(self) -> None:
        attempts = Attempts(self.session.transport)
        offset = 0
        while offset < self.descriptor.size:
            try:
                reached = self._patch(offset)
            except AttemptFailed as error:
                attempts.wait(error)
                reached = self._status()
            if reached > self.descriptor.size:
                raise self._lost(f"the registry reports {reached} bytes of {self.descriptor.size}")
            if reached > offset:
                attempts.progressed()
            offset = reached
            self._tell(offset)

    def _patch(self, offset: int) -> int:
        """Send the chunk at an offset; the registry's new offset."""
        length = min(max(self.chunk, self.smallest), self.descriptor.size - offset)
        headers = {**_TYPE, "Content-Range": f"{offset}-{offset + length - 1}"}
        body = ContentStream(lambda: self.open_at(offset), length, self._count)
        response = self._request("PATCH", self.location, (202, 201, 204, 416), headers=headers, body=body, again=False)
        response.close()
        if response.status == 416:
            raise AttemptFailed(f'"{self.session.endpoint.name}": {self.what}: unexpected offset', 416,
                                transient=True)
        self._has_chunks = True
        self._moved(response)
        return end(response.header("Range"), offset + length)

    def _status(self) -> int:
        """The registry's offset."""
        try:
            response = self._request("GET", self.location, (204, 200, 202))
        except RegistryError as error:
            if error.status in (400, 404, 405, 410):
                raise self._lost(str(error)) from None
            raise
        response.close()
        self._moved(response)
        reached = end(response.header("Range"), 0)
        return 0 if reached == 1 else reached   # registries say 0-0 for one byte, and for none

    def _finish(self) -> None:
        try:
            self._request("PUT", self._closing(), (201,)).close()
        except RegistryError as error:
            if error.status == 404:   # completed by an attempt whose response was lost, or expired
                raise self._lost(str(error)) from None
            raise

    def _lost(self, why: str) -> _Lost:
        return _Lost(f'"{self.session.endpoint.name}": {self.what}: {why}', transient=True)

    def _request(self, method: str, url: Url, good: tuple[int, ...], *, headers: Mapping[str, str] | None = None,
                 body: ContentStream | None = None, again: bool = True) -> Response:
        return self.session.request(method, url, self.what, good=good, headers=headers, body=body, again=again)

    def _drop(self) -> None:
        """Cancel an upload, so that the registry can remove it."""
        begun, self._is_begun = self._is_begun, False
        self._tell(0)
        if not begun:
            return
        try:
            self.session.request("DELETE", self.location, self.what, good=(202, 204), again=False).close()
        except RegistryError as error:   # distribution-spec: "Clients SHOULD ignore any failures"
            self.session.transport.debug(str(error))

    def _count(self, count: int) -> None:
        self.told += count
        self.progress(count)

    def _tell(self, offset: int) -> None:
        """Correct the progress to an offset."""
        if offset != self.told:
            self.progress(offset - self.told)
            self.told = offset


def end(text: str, otherwise: int) -> int:
    """The offset of a Range header of an upload (``0-1023``)."""
    last = text.removeprefix("bytes=").partition("-")[2].strip()
    return int(last) + 1 if last.isascii() and last.isdigit() else otherwise
