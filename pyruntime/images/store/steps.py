"""The build cache: the layer of each build step, by the step's key.

STORE/cache/steps/<key>    a small file for each step; its mtime is that of its last use
STORE/cache/locks/<key>    locked by the process that executes the step, so that it is executed once
STORE/cache/mounts/<id>/   the directories of RUN --mount=type=cache
STORE/cache/files          digests of files in build contexts (pyruntime.builder.cache.digests)

A record appears by rename(2) when its layer is in the store, and protects the layer from the garbage collection. A
damaged record, or one without its layer, is ignored.
"""
# ruff: noqa: SIM105 -- contextlib would slow down the start of commands

from __future__ import annotations

import os

from pyruntime.errors import ConfigError
from pyruntime.images.digest import well_formed
from pyruntime.images.document import Descriptor
from pyruntime.images.store import blobs, trees
from pyruntime.images.store.layout import abandoned, same, write_file
from pyruntime.system import files
from pyruntime.system.json import decode, encode
from pyruntime.system.locks import hold
from pyruntime.system.times import timestamp_in_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyruntime.images.store.layout import Layout
    from pyruntime.images.store.leases import Lease

_HEX = frozenset("0123456789abcdef")


class Made:
    """The layer of a step: its blob, diffID and chainID, the step's title, and the creation time (RFC 3339). ``keys``:
    all keys of the step, if there are several."""

    __slots__ = ("chain_id", "created", "descriptor", "diff_id", "keys", "title")

    def __init__(self, descriptor: Descriptor, diff_id: str, chain_id: str, title: str = "", created: str = "",
                 keys: Sequence[str] = ()) -> None:
        self.keys = list(keys)
        self.created = created or timestamp_in_seconds()
        self.descriptor = descriptor
        self.diff_id = diff_id
        self.chain_id = chain_id
        self.title = title


def _below(layout: Layout, *names: str) -> str:
    path = "/".join((layout.root, "cache", *names))
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    return path


def read(layout: Layout, key: str) -> Made | None:
    """The layer of a step; None without a record, or without the blob. The caller holds a lease, to which the blob must
    be added *before* it is used: see ``find``."""
    try:
        value = decode(files.read(_below(layout, "steps", key)), key)
    except (FileNotFoundError, ConfigError):
        return None
    if not isinstance(value, dict) or not all(isinstance(value.get(name), str) and well_formed(value[name])
                                              for name in ("digest", "diff_id", "chain_id")):
        return None
    if not isinstance(value.get("size"), int) or not isinstance(value.get("type"), str):
        return None
    descriptor = Descriptor(value["type"], value["digest"], value["size"])
    also = value.get("keys")
    return Made(descriptor, value["diff_id"], value["chain_id"], str(value.get("title", "")),
                str(value.get("created", "")), list(map(str, also)) if isinstance(also, list) else ())


def find(layout: Layout, key: str, keep: Lease) -> Made | None:
    """Like ``read``, with the blob in the store and protected by the lease ``keep``."""
    made = read(layout, key)
    if made is None:
        return None
    keep.add(made.descriptor.digest)
    if blobs.size(layout, made.descriptor.digest) != made.descriptor.size:
        return None
    try:
        os.utime(_below(layout, "steps", key))
    except FileNotFoundError:
        pass   # pruned at this moment: the lease keeps the layer
    return made


def write(layout: Layout, key: str, made: Made) -> None:
    """Record a step's layer, which is in the store and under a lease. Raises HostError."""
    data = encode({"type": made.descriptor.media_type, "digest": made.descriptor.digest, "size": made.descriptor.size,
                   "diff_id": made.diff_id, "chain_id": made.chain_id, "title": made.title[:500],
                   "created": made.created, **({"keys": made.keys} if len(made.keys) > 1 else {})}).encode()
    try:
        path = _below(layout, "steps", key)
        with layout.shared():   # the gc must not see the file unlocked, or the blob without its record
            temporary = layout.work()
            fd = write_file(temporary, data, lock=True)
            try:
                os.rename(temporary, path)
            finally:
                os.close(fd)
    except OSError as error:
        raise layout.failure(error, "remembering a step") from None


def forget(layout: Layout, key: str) -> None:
    """Remove a record."""
    try:
        os.unlink(_below(layout, "steps", key))
    except FileNotFoundError:
        return


def keys(layout: Layout) -> list[str]:
    """The key of every record."""
    try:
        names = os.listdir(_below(layout, "steps"))
    except FileNotFoundError:
        return []
    return sorted(name for name in names if len(name) == 64 and _HEX.issuperset(name))


def in_use(layout: Layout) -> Iterator[tuple[str, str, str]]:
    """Digest, diffID and chainID of every recorded layer, which the garbage collection keeps."""
    for key in keys(layout):
        made = read(layout, key)
        if made is not None:
            yield made.descriptor.digest, made.diff_id, made.chain_id


class StepLock:
    """The lock of one step's key: a context manager. The file is removed unless another process waits for the lock."""

    __slots__ = ("_fd", "_path")

    def __init__(self, layout: Layout, key: str) -> None:
        self._path = _below(layout, "locks", key)
        self._fd = -1

    def __enter__(self) -> StepLock:
        while True:
            fd = os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                hold(fd)
                if same(fd, self._path):   # else the previous holder has removed the file
                    self._fd = fd
                    return self
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def __exit__(self, *_: object) -> None:
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass   # the cache has been removed: no process can wait for this lock
        os.close(self._fd)


class CacheEntry:
    """A record for users: its key, its layer, and the time of its last use (seconds since 1970)."""

    __slots__ = ("key", "made", "used")

    def __init__(self, key: str, made: Made, used: float) -> None:
        self.key = key
        self.made = made
        self.used = used


def entries(layout: Layout) -> list[CacheEntry]:
    """Every readable record."""
    found = []
    for key in keys(layout):
        made = read(layout, key)
        try:
            used = os.stat(_below(layout, "steps", key)).st_mtime
        except FileNotFoundError:
            continue   # another process prunes
        if made is not None:
            found.append(CacheEntry(key, made, used))
    return found


def mounts(layout: Layout) -> list[tuple[str, str, float]]:
    """The directories of cache mounts: name, path, and the time of the last use (seconds since 1970)."""
    directory = _below(layout, "mounts", "x")[:-2]
    found = []
    for name in sorted(os.listdir(directory)):
        try:
            found.append((name, f"{directory}/{name}", os.stat(f"{directory}/{name}").st_mtime))
        except FileNotFoundError:
            continue   # another process prunes
    return found


class Pruned:
    """The result of a prune: titles of steps, and names of cache mounts' directories."""

    __slots__ = ("mounts", "steps")

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.mounts: list[str] = []


def prune(layout: Layout, *, oldest: float | None = None, keep: frozenset[str] | set[str] = frozenset(),
          steps: bool = True, mounts: bool = True) -> Pruned:
    """Remove steps, and cache mounts that no build is using.

    ``oldest``: keep what was used later, in seconds since 1970; ``keep``: also keep steps whose layer has one of these
    digests. The next garbage collection frees the layers. Raises HostError.
    """
    found = Pruned()
    try:
        for key in keys(layout) if steps else ():
            try:
                if oldest is not None and os.stat(_below(layout, "steps", key)).st_mtime > oldest:
                    continue
            except FileNotFoundError:
                continue   # another process prunes
            made = read(layout, key)
            if made is None or made.descriptor.digest not in keep:
                forget(layout, key)
                found.steps.append(made.title if made else key)
        if mounts:
            _prune_mounts(layout, found, oldest)
        if steps and oldest is None:
            try:
                os.unlink(_below(layout, "files"))
            except FileNotFoundError:
                pass   # no build context was ever read
    except OSError as error:
        raise layout.failure(error, "pruning the build cache") from None
    return found


def _prune_mounts(layout: Layout, found: Pruned, oldest: float | None) -> None:
    for name, path, _ in mounts(layout):
        fd = abandoned(path)
        if fd < 0:
            continue
        try:
            if oldest is None or os.fstat(fd).st_mtime <= oldest:
                with layout.shared():   # from here on it is trash, which the gc removes if this process cannot
                    gone = layout.below("trash", os.path.basename(layout.work()))
                    os.rename(path, gone)
                trees.remove(gone)
                found.mounts.append(name)
        finally:
            os.close(fd)
