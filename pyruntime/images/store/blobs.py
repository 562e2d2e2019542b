"""Blobs: content by digest. What stands in STORE/blobs was verified, and is never written again.

A download writes STORE/ingest/<digest> under its flock; a second one of the same digest waits there, and then finds
the blob. What a killed download has written stays: the next one hashes it and goes on from there (images.md 4.6).
Only a digest that does not match at the end proves it wrong; then it is removed.
"""
# ruff: noqa: SIM105 -- contextlib is too dear for commands that should start at once

from __future__ import annotations

import errno
import fcntl
import os

from pyruntime.errors import DigestError, ImageError
from pyruntime.images.digest import Verifier, check, of, verify
from pyruntime.images.store.layout import same, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.images.document import Descriptor
    from pyruntime.images.store.layout import Layout
    from pyruntime.images.store.leases import Lease

_CHUNK = 1 << 20


def size(layout: Layout, digest: str) -> int:
    """The blob's size in bytes; -1 where it is not there."""
    try:
        return os.stat(layout.blob(digest)).st_size
    except FileNotFoundError:
        return -1
    except OSError as error:
        raise layout.failure(error, f"looking for blob {digest}") from None


def open_blob(layout: Layout, digest: str) -> int:
    """A descriptor to read the blob from; raises ImageError where it is not there."""
    try:
        return os.open(layout.blob(digest), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ImageError(f'blob {digest} is not in store "{layout.root}": pull the image again', digest) from None
    except OSError as error:
        raise layout.failure(error, f"opening blob {digest}") from None


def read(layout: Layout, descriptor: Descriptor, limit: int) -> bytes:
    """A document's bytes, verified against its descriptor (descriptor.md#verification).

    Raises ImageError where it is not there or longer than ``limit`` bytes, DigestError for damaged content.
    """
    fd = open_blob(layout, descriptor.digest)
    try:
        if os.fstat(fd).st_size > limit:
            raise ImageError(f"blob {descriptor.digest}: {os.fstat(fd).st_size} bytes; no more than {limit} are read",
                             descriptor.digest)
        data = b"".join(iter(lambda: os.read(fd, _CHUNK), b""))
    finally:
        os.close(fd)
    verify(data, descriptor.digest, descriptor.size)
    return data


def hash_file(fd: int, verifier: Verifier) -> None:
    """Give a file's content to a verifier, from its beginning."""
    os.lseek(fd, 0, os.SEEK_SET)
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    while count := os.readv(fd, [buffer]):
        verifier.update(view[:count])


class Ingest:
    """A blob on its way into the store: a context manager, for one thread.

    ``present``  it is there, nothing is to be done
    ``offset``   bytes that are there already, and hashed: where to go on; all of ``size``, when only ``commit`` is due
    ``resumed``  some of them are of an earlier attempt: when ``commit`` raises DigestError these may be what was
                 wrong, and one more attempt, from nothing, is due
    """

    __slots__ = ("_fd", "_layout", "_lease", "_verifier", "_waiting", "digest", "present", "resumed", "size")

    def __init__(self, layout: Layout, lease: Lease, digest: str, size: int = -1,
                 waiting: Callable[[], None] | None = None) -> None:
        """``size`` in bytes, -1 if unknown; ``waiting`` is called when somebody else downloads it and we wait."""
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
        """How many bytes are there."""
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
            self._discard()   # nothing came that could be resumed
        self._close()
        self._lease.__exit__()

    def _find(self) -> None:
        """Take the partial file's lock, until we have the file that has this name, or the blob is there."""
        path = self._layout.partial(self.digest)
        while size(self._layout, self.digest) < 0:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if self._waiting:
                        self._waiting()
                    fcntl.flock(fd, fcntl.LOCK_EX)
                if same(fd, path):   # else it has become the blob, was wrong, or was collected, while we waited
                    if size(self._layout, self.digest) < 0:
                        self._fd, fd = fd, -1
                        return
                    os.unlink(path)   # the blob came between our look and our open, which made this file
            finally:
                if fd >= 0:
                    os.close(fd)
        self.present = True

    def _resume(self) -> None:
        there = os.fstat(self._fd).st_size
        if there and 0 <= self.size < there:   # nothing of ours writes more than was promised: it was another's size
            self.restart()
        elif there:
            hash_file(self._fd, self._verifier)
            self.resumed = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes. Raises DigestError when they are too many, HostError when the disk is full."""
        try:
            self._verifier.update(data)
            write_all(self._fd, memoryview(data))
        except DigestError:
            self._discard()
            raise
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                self._discard()   # a full disk harms everything else on the machine; a download can be repeated
            raise self._layout.failure(error, f"writing blob {self.digest}") from None

    def restart(self) -> None:
        """Forget what is there: the server does not resume, or sends something else."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        os.ftruncate(self._fd, 0)
        self._verifier = Verifier(self.digest, self.size)
        self.resumed = False

    def commit(self) -> None:
        """Make it a blob. Raises DigestError where size or digest are not what was promised, and forgets it then."""
        try:
            self._verifier.done()
        except DigestError:
            self._discard()
            raise
        try:
            os.fchmod(self._fd, 0o400)
            os.fdatasync(self._fd)   # before the name: after a power failure a name without content would be trusted
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
    """Store content that we have made; its digest."""
    digest = check(of(data, algorithm))
    with Ingest(layout, lease, digest, len(data)) as ingest:
        if not ingest.present:
            ingest.restart()
            ingest.write(data)
            ingest.commit()
    return digest


def adopt(layout: Layout, lease: Lease, fd: int, path: str, digest: str) -> None:
    """Make a file in STORE/work a blob: content that we have made, whose digest was computed as it was written."""
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
