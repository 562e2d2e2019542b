"""Blobs to a registry: in chunks that are resumed where they were cut, or in one piece.

Spec: distribution-spec, "Pushing blobs". A small blob goes in one PUT; a large one by PATCH, chunk by chunk, and after
a failure the registry is asked how far it got. One that refuses chunks gets the blob in one PUT after all.
"""

from __future__ import annotations

from pyruntime.errors import RegistryError
from pyruntime.image.registry.http import Stream, Url
from pyruntime.image.registry.retry import Attempts, is_transient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.image.document import Descriptor
    from pyruntime.image.registry.http import Readable, Response
    from pyruntime.image.registry.session import Session

CHUNK = 64 << 20   # bytes; below this a blob goes in one piece
_TYPE = {"Content-Type": "application/octet-stream"}
_NO_CHUNKS = (400, 404, 405, 411, 415, 501)   # what registries answer to a PATCH that they do not know


class _Lost(Exception):
    """The registry no longer knows the upload: it has to begin again."""


class Upload:
    """One blob on its way to one repository."""

    def __init__(self, session: Session, descriptor: Descriptor, open_at: Callable[[int], Readable], *, chunk: int,
                 progress: Callable[[int], None]) -> None:
        self.session = session
        self.descriptor = descriptor
        self.open_at = open_at
        self.chunk = chunk
        self.progress = progress
        self.what = f"push of blob {descriptor.digest}"
        self.location = session.url("blobs", "uploads/")   # until a registry names one
        self.smallest = 0    # bytes of a chunk, by the registry
        self.told = 0        # bytes that progress has been told of

    def mount(self, from_: str) -> bool:
        """Take the blob over from another repository of the registry; False where that cannot be done."""
        from urllib.parse import urlencode

        query = urlencode({"mount": self.descriptor.digest, "from": from_})
        try:
            response = self.session.request("POST", Url(f"{self.session.url('blobs', 'uploads/')}?{query}"), self.what,
                                            good=(201, 202), scopes=[f"repository:{from_}:pull"])
        except RegistryError as error:
            if error.status not in (400, 401, 403, 404, 405):
                raise
            self.session.transport.debug(f"{error}; pushing it instead")   # only the other repository is closed to us
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
                url = self._in_chunks(attempts) if chunks else self._in_one()
                self._finish(url, chunks)
                self._tell(self.descriptor.size)
                return
            except _Lost as error:
                self._drop()
                attempts.wait(RegistryError(f'"{self.session.endpoint.name}": {self.what}: {error}'))
            except RegistryError as error:
                self._drop()
                if chunks and error.status in _NO_CHUNKS and not self._has_chunks:
                    self.session.transport.debug(f"{error}; pushing it in one piece")
                    chunks = False
                    continue
                if not (is_transient(error.status) or getattr(error, "transient", False)):
                    raise
                attempts.wait(error)

    _is_begun = False
    _has_chunks = False   # whether the registry took a chunk, and so knows them

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
            raise RegistryError(f'"{self.session.endpoint.name}": {self.what}: an answer without a Location')

    def _closing(self) -> Url:
        from urllib.parse import quote

        mark = "&" if "?" in self.location.target else "?"
        return Url(f"{self.location}{mark}digest={quote(self.descriptor.digest, ':')}")

    def _in_one(self) -> Url:
        url = self._closing()
        body = Stream(lambda: self.open_at(0), self.descriptor.size, self._count)
        self.session.request("PUT", url, self.what, good=(201,), headers=_TYPE, body=body, again=False).close()
        return url

    def _in_chunks(self, attempts: Attempts) -> Url:
        from pyruntime.image.registry.connection import ConnectionFailed

        offset = 0
        while offset < self.descriptor.size:
            length = min(max(self.chunk, self.smallest), self.descriptor.size - offset)
            headers = {**_TYPE, "Content-Range": f"{offset}-{offset + length - 1}"}
            body = Stream(lambda start=offset: self.open_at(start), length, self._count)  # type: ignore[misc]
            try:
                response = self.session.request("PATCH", self.location, self.what, good=(202, 201, 204, 416),
                                                headers=headers, body=body, again=False)
            except RegistryError as error:
                if not (is_transient(error.status) or (isinstance(error, ConnectionFailed) and error.transient)):
                    raise
                attempts.wait(error)
                reached = self._status()
            else:
                response.close()
                if response.status == 416:
                    attempts.wait(RegistryError(f'"{self.session.endpoint.name}": {self.what}: the registry expects'
                                                " another part", 416))
                    reached = self._status()
                else:
                    self._has_chunks = True
                    self._moved(response)
                    reached = end(response.header("Range"), offset + length)
            if reached > self.descriptor.size:
                raise _Lost(f"the registry says that it has {reached} bytes of {self.descriptor.size}")
            if reached > offset:
                attempts.progressed()
            offset = reached
            self._tell(offset)
        return self._closing()

    def _status(self) -> int:
        """How many bytes the registry has. Raises _Lost where it knows nothing of the upload."""
        try:
            response = self.session.request("GET", self.location, self.what, good=(204, 200, 202))
        except RegistryError as error:
            if error.status in (400, 404, 405, 410):
                raise _Lost(str(error)) from None
            raise
        response.close()
        self._moved(response)
        reached = end(response.header("Range"), 0)
        return 0 if reached == 1 else reached   # registries say 0-0 for one byte, and for none

    def _finish(self, url: Url, chunks: bool) -> None:
        if chunks:
            self.session.request("PUT", url, self.what, good=(201,), again=False).close()

    def _drop(self) -> None:
        """Give up an upload that goes no further, so that the registry need not keep it."""
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
        """Correct what progress knows to an offset."""
        if offset != self.told:
            self.progress(offset - self.told)
            self.told = offset


def end(text: str, otherwise: int) -> int:
    """The number of bytes that a Range header of an upload (``0-1023``) stands for."""
    last = text.removeprefix("bytes=").partition("-")[2].strip()
    return int(last) + 1 if last.isascii() and last.isdigit() else otherwise
