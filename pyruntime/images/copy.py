"""Copy an image between two locations: first blobs, several in parallel, then manifests, then the root document.

The target verifies everything, by the descriptor that led to it: a completed target holds exactly what the source's
root document names. Documents are copied byte for byte: digests never change.
"""

from __future__ import annotations

from pyruntime.errors import DigestError, ImageError
from pyruntime.images import media
from pyruntime.images.digest import of
from pyruntime.images.document import Descriptor, Manifest, parse_config, parse_manifest
from pyruntime.images.lookup import load
from pyruntime.images.platform import Platform, select
from pyruntime.images.progress import Progress
from pyruntime.images.transports.base import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.images.lookup import Image
    from pyruntime.images.platform import Platform
    from pyruntime.images.transports.base import Body, Target

_DEPTH = 4   # of nested indexes


class Copied:
    """The result of a copy: ``root`` describes the root document in the target, ``images`` the manifests of its images.
    """

    def __init__(self, root: Descriptor) -> None:
        self.root = root
        self.images: list[Descriptor] = []


class _Work:
    """The state of one copy."""

    def __init__(self, source: Source, target: Target, progress: Progress) -> None:
        self.source = source
        self.target = target
        self.progress = progress
        self.blobs: dict[str, Descriptor] = {}
        self.documents: dict[str, tuple[bytes, Descriptor]] = {}
        self.read: dict[str, bytes] = {}   # configurations: documents for the check, blobs for the target

    def root(self) -> tuple[bytes, str]:
        """The root document and its media type. Registries count reads of manifests, so a known document is not read
        again."""
        found = self.source.found
        raw = self.target.known(found) if found else None
        return (raw, found.media_type) if found and raw is not None else self.source.root()

    def document(self, descriptor: Descriptor) -> bytes:
        """A document, from the target if it has it, else from the source."""
        raw = self.target.known(descriptor)
        return self.source.document(descriptor) if raw is None else raw


class Kept(Source):
    """A source of one blob whose content is in memory."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._content = content

    def open(self, descriptor: Descriptor, offset: int = 0) -> Body:
        """Its content, starting at ``offset``."""
        from io import BytesIO  # lazy: only when content is copied

        return BytesIO(self._content[offset:])


def copy(source: Source, target: Target, *, platform: Platform | None, everything: bool = False, threads: int = 3,
         progress: Progress | None = None, warn: Callable[[str], None]) -> Copied:
    """Copy the image of ``source`` to ``target``.

    Of an index, only the image for ``platform`` (default: the host's) is copied, or with ``everything`` all images, if
    the source has them all. A target that can hold an incomplete index gets the index too, so that its digest stays the
    image's; any other target gets the one manifest as its root. Raises the errors of both sides, DigestError, and
    ConfigError for an invalid document.
    """
    work = _Work(source, target, progress or Progress())
    raw, media_type = work.root()
    manifest = parse_manifest(raw, media_type, f"{source.label}: manifest")
    everything = everything and all(source.holds(child) for child in manifest.manifests)
    root = Descriptor(manifest.media_type, of(raw), len(raw))
    images = _walk(work, manifest, root, platform, everything, 0)
    if manifest.is_index and not everything and not target.sparse:
        raw, chosen = work.documents[images[0].digest]
        work.documents = {}
        root = Descriptor(chosen.media_type, chosen.digest, chosen.size)
    copied = Copied(root)
    copied.images = images
    for image in images:
        _check_image(work, image, root, raw, warn)
    target.begin()
    _move(work, threads)
    for digest, (document, descriptor) in work.documents.items():
        if digest != root.digest:
            target.document(document, descriptor)
    target.finish(raw, root)
    return copied


def _walk(work: _Work, manifest: Manifest, descriptor: Descriptor, platform: Platform | None, everything: bool,
          depth: int) -> list[Descriptor]:
    """Collect the documents and blobs to copy; the descriptors of the image manifests."""
    work.documents[descriptor.digest] = (manifest.raw, descriptor)
    if not manifest.is_index:
        for blob in manifest.references():
            if work.blobs.setdefault(blob.digest, blob).size != blob.size:
                raise DigestError(f"{blob.digest}: its descriptors say {work.blobs[blob.digest].size} and {blob.size}"
                                  " bytes")
        return [descriptor]
    if depth == _DEPTH:
        raise ImageError(f"{work.source.label}: indexes nest deeper than {_DEPTH}", descriptor.digest)
    children = manifest.manifests
    if not everything:
        there = [child for child in children if work.source.holds(child)]
        children = [there[0] if platform is None and len(there) == 1 else select(there, platform or Platform.host())]
    images = []
    for child in children:
        if child.media_type not in media.INDEXES + media.MANIFESTS:   # an artifact in an index is copied as a blob
            work.blobs.setdefault(child.digest, child)
            continue
        document = parse_manifest(work.document(child), child.media_type, f"{work.source.label}: {child.digest}")
        images += _walk(work, document, child, platform, everything, depth + 1)
    return images


def image_of(source: Source, platform: Platform | None) -> Image:
    """The image of a source for ``platform`` (default: the host's), read without its layers. Raises ImageError for an
    artifact that is not an image."""
    raw, media_type = source.root()
    manifest = parse_manifest(raw, media_type, f"{source.label}: manifest")
    return load(source, Descriptor(manifest.media_type, of(raw), len(raw)), source.names or [source.label], platform,
                manifest)


def _check_image(work: _Work, image: Descriptor, root: Descriptor, raw: bytes, warn: Callable[[str], None]) -> None:
    """Read an image's configuration before any layer is copied, so that an invalid image fails at once."""
    document = raw if image.digest == root.digest else work.documents[image.digest][0]
    manifest = parse_manifest(document, image.media_type)
    if manifest.config is None or manifest.config.media_type not in media.CONFIGS:
        return   # an artifact: its blobs have no known meaning
    work.read[manifest.config.digest] = work.document(manifest.config)
    config = parse_config(work.read[manifest.config.digest], manifest,
                          f"{work.source.label}: configuration {manifest.config.digest}")
    filled = sum(1 for entry in config.history if not entry.get("empty_layer"))
    if config.history and filled != len(manifest.layers):
        warn(f"{work.source.label}: its history has {filled} layers, its manifest {len(manifest.layers)}")


def _move(work: _Work, threads: int) -> None:
    """Copy the blobs, ``threads`` in parallel; the first error or an interrupt stops all threads. Partial blobs stay
    where the target can resume them."""
    waiting = [blob for blob in work.blobs.values() if not _foreign(work, blob)]
    for blob in waiting:
        work.progress.announce(blob)
    if threads <= 1 or not (work.source.parallel and work.target.parallel) or len(waiting) < 2:
        for blob in waiting:
            _one(work, blob)
        return
    from pyruntime.images.parallel import Crew  # lazy: only when content is copied

    crew = Crew()

    def stop() -> None:
        work.source.stop()
        work.target.stop()
    crew.run(waiting, lambda blob: _one(work, blob, crew.check), min(threads, len(waiting)), stop)


def _foreign(work: _Work, blob: Descriptor) -> bool:
    """Whether the blob is a non-distributable layer, which is not pushed: its descriptor has a URL."""
    return media.is_foreign(blob.media_type) and not work.target.takes_foreign


def _one(work: _Work, blob: Descriptor, check: Callable[[], None] = lambda: None) -> None:
    """Copy one blob; ``check`` is called repeatedly, and may raise to stop the copy."""
    if work.target.has(blob):
        work.progress.end(blob, "exists")
        return
    work.progress.begin(blob)
    source = Kept(work.read[blob.digest]) if blob.digest in work.read else work.source

    def advance(count: int) -> None:
        check()
        work.progress.advance(blob, count)
    outcome = work.target.blob(blob, source, advance)
    work.progress.end(blob, outcome)
