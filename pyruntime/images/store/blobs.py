"""Blobs: content by digest. Content in STORE/blobs has been verified, and is never written again.

A download writes STORE/ingest/<digest> while it holds the file's lock; a second download of the same digest waits for
the lock, and then finds the blob. A killed download leaves its content, which the next one hashes and resumes
(images.md 4.6). Only a mismatch of the digest at the end proves the content wrong; then it is removed.
"""
# ruff: noqa: SIM105 -- contextlib would slow down the start of commands

from __future__ import annotations

import errno
import os

from pyruntime.errors import DigestError, ImageError
from pyruntime.images.digest import Verifier, check, of, verify
from pyruntime.images.store.layout import same, write_all
from pyruntime.system.locks import hold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.images.document import Descriptor
    from pyruntime.images.store.layout import Layout
    from pyruntime.images.store.leases import Lease

_CHUNK = 1 << 20


def size(layout: Layout, digest: str) -> int:
    """The blob's size in bytes; -1 if it is not in the store."""
    try:
        return os.stat(layout.blob(digest)).st_size
    except FileNotFoundError:
        return -1
    except OSError as error:
        raise layout.failure(error, f"looking for blob {digest}") from None


def open_blob(layout: Layout, digest: str) -> int:
    """A descriptor to read the blob from; raises ImageError if it is not in the store."""
    try:
        return os.open(layout.blob(digest), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ImageError(f'blob {digest} is not in store "{layout.root}": pull the image again', digest) from None
    except OSError as error:
        raise layout.failure(error, f"opening blob {digest}") from None


def read(layout: Layout, descriptor: Descriptor, limit: int) -> bytes:
    """The bytes of a document, verified against its descriptor (descriptor.md#verification).

    Raises ImageError if the document is not in the store or longer than ``limit`` bytes, DigestError if it is damaged.
    """
    fd = open_blob(layout, descriptor.digest)
    try:
        if os.fstat(fd).st_size > limit:
            raise ImageError(f"blob {descriptor.digest}: {os.fstat(fd).st_size} bytes; the limit is {limit}",
                             descriptor.digest)
        data = b"".join(iter(lambda: os.read(fd, _CHUNK), b""))
    finally:
        os.close(fd)
    verify(data, descriptor.digest, descriptor.size)
    return data


def hash_file(fd: int, verifier: Verifier) -> None:
    """Feed a file's content to a verifier, from the beginning."""
    os.lseek(fd, 0, os.SEEK_SET)
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    while count := os.readv(fd, [buffer]):
        verifier.update(view[:count])


class Ingest:
    """A blob that is written to the store: a context manager, for one thread.

    ``present``  the store has the blob: there is nothing to write
    ``offset``   bytes that are written and hashed: where to resume; the size, if only ``commit`` is missing
    ``resumed``  some bytes are from an earlier attempt: if ``commit`` raises DigestError, these may be wrong, and one
                 more attempt from the beginning is worthwhile
    """

    __slots__ = ("_fd", "_layout", "_lease", "_verifier", "_waiting", "digest", "present", "resumed", "size")

    def __init__(self, layout: Layout, lease: Lease, digest: str, size: int = -1,
                 waiting: Callable[[], None] | None = None) -> None:
        """``size`` in bytes, -1 if unknown; ``waiting`` is called before a wait for another process's download."""
        self._layout = layout
        self._lease = lease
        self._waiting = waiting
        self._fd = -1
        self._verifier = Verifier(digest, size)
        self.digest = digest
        self.size = size
        self.present = False
        self.resumed = False

    @property
    def offset(self) -> int:
        """The number of bytes written."""
        return self._verifier.seen

    def __enter__(self) -> Ingest:
        self._lease.__enter__()
        try:
            self._lease.add(self.digest)
            self._find()
            if not self.present:
                self._resume()
        except OSError as error:
            self._close()
            self._lease.__exit__()
            raise self._layout.failure(error, f"preparing blob {self.digest}") from None
        except BaseException:
            self._close()
            self._lease.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0 and not self.offset:
            self._discard()   # there is nothing to resume
        self._close()
        self._lease.__exit__()

    def _find(self) -> None:
        """Take the lock of the partial file, until this process has the file of that name, or the blob exists."""
        path = self._layout.partial(self.digest)
        while size(self._layout, self.digest) < 0:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                try:
                    hold(fd, wait=False)
                except BlockingIOError:
                    if self._waiting:
                        self._waiting()
                    hold(fd)
                if same(fd, path):   # else it has become the blob, or was removed
                    if size(self._layout, self.digest) < 0:
                        self._fd, fd = fd, -1
                        return
                    os.unlink(path)   # created by the open, after the blob appeared
            finally:
                if fd >= 0:
                    os.close(fd)
        self.present = True

    def _resume(self) -> None:
        there = os.fstat(self._fd).st_size
        if there and 0 <= self.size < there:   # of a descriptor of another size
            self.restart()
        elif there:
            hash_file(self._fd, self._verifier)
            self.resumed = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write the next bytes. Raises DigestError if the content is too long, HostError if the disk is full."""
        try:
            self._verifier.update(data)
            write_all(self._fd, memoryview(data))
        except DigestError:
            self._discard()
            raise
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                self._discard()   # a full disk harms the whole host; a download can be repeated
            raise self._layout.failure(error, f"writing blob {self.digest}") from None

    def restart(self) -> None:
        """Discard the content: the server cannot resume, or sends something else."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        os.ftruncate(self._fd, 0)
        self._verifier = Verifier(self.digest, self.size)
        self.resumed = False

    def commit(self) -> None:
        """Make the content a blob. Raises DigestError, and discards the content, if its size or digest is wrong."""
        try:
            self._verifier.done()
        except DigestError:
            self._discard()
            raise
        try:
            os.fchmod(self._fd, 0o400)
            os.fdatasync(self._fd)   # before the rename: after a power failure a blob without content would be trusted
            os.rename(self._layout.partial(self.digest), self._layout.blob(self.digest))
        except OSError as error:
            raise self._layout.failure(error, f"writing blob {self.digest}") from None
        self.present = True
        self._close()

    def _discard(self) -> None:
        try:
            os.unlink(self._layout.partial(self.digest))
        except FileNotFoundError:
            pass   # discarded before
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def put(layout: Layout, lease: Lease, data: bytes, algorithm: str = "sha256") -> str:
    """Store new content; its digest."""
    digest = check(of(data, algorithm))
    with Ingest(layout, lease, digest, len(data)) as ingest:
        if not ingest.present:
            ingest.restart()
            ingest.write(data)
            ingest.commit()
    return digest


def adopt(layout: Layout, lease: Lease, fd: int, path: str, digest: str) -> None:
    """Make a file in STORE/work a blob: new content, whose digest was computed while it was written."""
    lease.add(check(digest))
    try:
        os.fchmod(fd, 0o400)
        os.fdatasync(fd)
        os.rename(path, layout.blob(digest))
    except OSError as error:
        raise layout.failure(error, f"writing blob {digest}") from None


def all_digests(layout: Layout) -> list[str]:
    """The digest of every blob."""
    return [f"{algorithm}:{name}" for algorithm in ("sha256", "sha512")
            for name in sorted(os.listdir(layout.below("blobs", algorithm)))]
