"""Garbage collection: removes content that no name, no bundle and no running command uses.

Under the store's exclusive lock, everything in use is marked and the rest renamed to STORE/trash; that takes
milliseconds, and no lease can grow meanwhile. Trash is removed without the lock, file by file. A killed collection has
removed some garbage; the next one continues.
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

STALE = 7   # days after which a partial download is removed


class Collected:
    """The removed content, or with ``dry_run`` the content to remove: (name, bytes on disk) by kind."""

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
        """The bytes of all content, as far as known: content that shares blocks (subvolumes, abandoned work) counts as
        nothing."""
        return sum(size for kind in self.__slots__ for _, size in getattr(self, kind))


class _Sweep:
    """One collection: ``drop`` removes, or only counts."""

    def __init__(self, layout: Layout, *, dry_run: bool) -> None:
        self.layout = layout
        self.dry_run = dry_run
        self.trash: list[str] = []
        self.stamp = f"{os.getpid()}.{time.monotonic_ns():x}"

    def drop(self, kept: list[tuple[str, int]], name: str, path: str, size: int = 0) -> None:
        """Move content to the trash. A full disk must not prevent this: a file is then unlinked at once."""
        kept.append((name, size))
        if self.dry_run:
            return
        target = self.layout.below("trash", f"{self.stamp}.{len(self.trash)}")
        try:
            os.rename(path, target)
            self.trash.append(target)
        except FileNotFoundError:
            pass   # its owner has removed it: a lease that ended
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or os.path.isdir(path):
                raise
            os.unlink(path)

    def empty(self) -> None:
        """Remove the trash, also that of a killed collection."""
        if self.dry_run:
            return
        for name in os.listdir(self.layout.below("trash")):
            path = self.layout.below("trash", name)
            fd = abandoned(path)
            if fd >= 0:   # else another collection removes it
                try:
                    trees.remove(path)
                finally:
                    os.close(fd)


def collect(layout: Layout, *, dry_run: bool = False, everything: bool = False, days: float = STALE,
            without: frozenset[str] = frozenset()) -> Collected:
    """Remove content that is not in use. ``everything``: partial downloads of any age, unless a process is downloading;
    else those of at least ``days``. ``without``: names that do not count, for a dry run.

    Raises ImageError, and removes nothing, if a document in use is damaged: what it uses is then unknown. Raises
    HostError if the store cannot be written.
    """
    assert dry_run or not without, "names must be removed before the collection"
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
    for record in mountings.leftovers(layout):   # first, because these are bundles too
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
        raise ImageError("nothing was removed: damaged images, whose content cannot be determined; remove them or pull"
                         " them again:\n  " + "\n  ".join(marks.problems))
    for path in void:
        sweep.drop(found.leases, os.path.basename(path), path)
    for bundle in dead:
        sweep.drop(found.bundles, bundle.path, layout.below("bundles", bundle.id))
    for digest in blobs.all_digests(layout):
        if digest not in marks.digests:
            sweep.drop(found.blobs, digest, layout.blob(digest), _on_disk(layout.blob(digest)))
    mounted = files.read("/proc/self/mountinfo", 1 << 28)
    ends = _short_names(mounted)
    for key in layers.all_keys(layout):
        # A mounted one may be in use, for example by a bundle that was moved.
        if key not in marks.keys and f"/{key}/fs".encode() not in mounted and not layers.bare(key).endswith(ends):
            sweep.drop(found.layers, key, layout.layer(key), _usage(layout, key))
    for name in os.listdir(layout.below("subvolumes")):
        if name not in marks.chains | marks.keys:   # leases name subvolumes like layers
            sweep.drop(found.subvolumes, name, layout.below("subvolumes", name))
    _sweep_unlocked(sweep, found, oldest)


def _short_names(mounted: bytes) -> tuple[str, ...]:
    """The ends of the keys of mounted layers, where there are no paths: mount_by_names of snapshots/overlay.py."""
    options = [line.partition(b"lowerdir=")[2].partition(b",")[0] for line in mounted.splitlines()
               if b" - overlay " in line]
    names = {name.decode("ascii", "replace") for option in options for name in option.split(b":")}
    return tuple(name for name in names if len(name) >= layers.SHORT and name.isalnum())


def _sweep_unlocked(sweep: _Sweep, found: Collected, oldest: float) -> None:
    """Remove work of ended processes, which is not locked."""
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
        return 0   # a damaged one is removed too
