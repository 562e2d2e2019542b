"""Garbage collection: what no name, no bundle and no command at work leads to, is removed.

Under the store's exclusive lock everything in use is marked, and the rest is renamed to STORE/trash; that takes
milliseconds, and nobody can take a lease meanwhile. What is in trash is removed outside the lock, file by file. A gc
that is killed at any moment has removed some garbage; the next one goes on.
"""

from __future__ import annotations

import errno
import os
import time

from pyruntime.errors import ImageError
from pyruntime.images.store import blobs, bundles, layers, leases, mountings, names, steps, trees
from pyruntime.images.store.layout import abandoned
from pyruntime.images.store.marks import Marks
from pyruntime.system import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.store.layout import Layout

STALE = 7   # days after which a partial download is not waited for any more


class Collected:
    """What a gc has removed, or with ``dry_run`` would remove: (name, bytes on disk) by kind."""

    __slots__ = ("blobs", "bundles", "layers", "leases", "partials", "subvolumes", "work")

    def __init__(self) -> None:
        self.blobs: list[tuple[str, int]] = []
        self.layers: list[tuple[str, int]] = []
        self.subvolumes: list[tuple[str, int]] = []
        self.partials: list[tuple[str, int]] = []
        self.bundles: list[tuple[str, int]] = []
        self.leases: list[tuple[str, int]] = []
        self.work: list[tuple[str, int]] = []

    @property
    def size(self) -> int:
        """Bytes in all, as far as known: what shares its blocks (subvolumes, abandoned work) counts as nothing."""
        return sum(size for kind in self.__slots__ for _, size in getattr(self, kind))


class _Sweep:
    """One gc: ``drop`` removes, or only counts."""

    def __init__(self, layout: Layout, *, dry_run: bool) -> None:
        self.layout = layout
        self.dry_run = dry_run
        self.trash: list[str] = []
        self.stamp = f"{os.getpid()}.{time.monotonic_ns():x}"

    def drop(self, kept: list[tuple[str, int]], name: str, path: str, size: int = 0) -> None:
        """Put it into trash. A full disk must not keep us from it: a file can be unlinked at once."""
        kept.append((name, size))
        if self.dry_run:
            return
        target = self.layout.below("trash", f"{self.stamp}.{len(self.trash)}")
        try:
            os.rename(path, target)
            self.trash.append(target)
        except FileNotFoundError:
            pass   # its owner removed it: a lease that ended
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or os.path.isdir(path):
                raise
            os.unlink(path)

    def empty(self) -> None:
        """Remove what is in trash, and what a killed gc has left there."""
        if self.dry_run:
            return
        for name in os.listdir(self.layout.below("trash")):
            path = self.layout.below("trash", name)
            fd = abandoned(path)
            if fd >= 0:   # else another gc is at it
                try:
                    trees.remove(path)
                finally:
                    os.close(fd)


def collect(layout: Layout, *, dry_run: bool = False, everything: bool = False, days: float = STALE,
            without: frozenset[str] = frozenset()) -> Collected:
    """Remove what is not in use. ``everything``: partial downloads of any age too, unless somebody is at them;
    ``days``: from which age on otherwise; ``without``: names that do not count, for a dry run.

    Raises ImageError, and removes nothing, when a document in use is damaged: what it points to cannot be known.
    HostError when the store cannot be written.
    """
    assert dry_run or not without, "whoever takes names away does so before"
    sweep = _Sweep(layout, dry_run=dry_run)
    found = Collected()
    try:
        with layout.exclusive():
            _sweep(sweep, found, time.time() if everything else time.time() - days * 86400, without)
        sweep.empty()
    except OSError as error:
        raise layout.failure(error, "collecting garbage") from None
    return found


def _sweep(sweep: _Sweep, found: Collected, oldest: float, without: frozenset[str]) -> None:
    layout = sweep.layout
    for record in mountings.leftovers(layout):   # before the bundles are looked at: they are some
        sweep.drop(found.work, os.path.basename(record), record)
    words, void = leases.live(layout)
    marks = Marks(layout)
    for name, descriptor in names.names(layout).items():
        if name not in without:
            marks.descriptor(descriptor, f'image "{name}"')
    for word in sorted(words):
        marks.word(word)
    dead = []
    for bundle in bundles.records(layout):
        if not bundle.alive():
            dead.append(bundle)
            continue
        marks.keys.update(bundle.keys)
        marks.chains.update(chain.partition(":")[2] for chain in bundle.chain_ids)
    for digest, diff_id, chain_id in steps.in_use(layout):
        marks.digests.add(digest)
        marks.keys.update(layers.candidates(diff_id, chain_id))
    if marks.problems:
        raise ImageError("nothing was removed, since it cannot be known what these images use: remove them or pull"
                         " them again:\n  " + "\n  ".join(marks.problems))
    for path in void:
        sweep.drop(found.leases, os.path.basename(path), path)
    for bundle in dead:
        sweep.drop(found.bundles, bundle.path, layout.below("bundles", bundle.id))
    for digest in blobs.all_digests(layout):
        if digest not in marks.digests:
            sweep.drop(found.blobs, digest, layout.blob(digest), _on_disk(layout.blob(digest)))
    mounted = files.read("/proc/self/mountinfo", 1 << 28)
    for key in layers.all_keys(layout):
        # A mounted one is in use by somebody who has moved the bundle, say.
        if key not in marks.keys and f"/{key}/fs".encode() not in mounted:
            sweep.drop(found.layers, key, layout.layer(key), _usage(layout, key))
    for name in os.listdir(layout.below("subvolumes")):
        if name not in marks.chains | marks.keys:   # a lease names it as it names layers
            sweep.drop(found.subvolumes, name, layout.below("subvolumes", name))
    _sweep_unlocked(sweep, found, oldest)


def _sweep_unlocked(sweep: _Sweep, found: Collected, oldest: float) -> None:
    """Remove the work of the dead; the flock that it has lost tells."""
    layout = sweep.layout
    for directory, kept in (("ingest", found.partials), ("work", found.work)):
        for name in os.listdir(layout.below(directory)):
            path = layout.below(directory, name)
            fd = abandoned(path)
            if fd < 0:
                continue
            try:
                if directory == "work" or os.fstat(fd).st_mtime <= oldest:
                    sweep.drop(kept, name, path, os.fstat(fd).st_blocks * 512)
            finally:
                os.close(fd)


def _on_disk(path: str) -> int:
    return os.stat(path).st_blocks * 512


def _usage(layout: Layout, key: str) -> int:
    try:
        return layers.read_info(layout, key).usage
    except (ImageError, FileNotFoundError):
        return 0   # damaged: it goes all the same
