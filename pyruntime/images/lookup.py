"""Finds images in a store: by name, by digest, or by the first digits of an ID."""

from __future__ import annotations

from pyruntime.errors import ImageError, NoSuchImage, PyruntimeError
from pyruntime.images import media
from pyruntime.images.digest import chain_ids
from pyruntime.images.document import Descriptor, ImageConfig, Manifest, parse_config, parse_manifest
from pyruntime.images.platform import Platform, is_image, select
from pyruntime.images.reference import Reference
from pyruntime.images.transports.local import StoreSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyruntime.images.store.store import Store
    from pyruntime.images.transports.base import Source

_HEX = frozenset("0123456789abcdef")
_LEAST = 4   # digits of an abbreviated ID


class Image:
    """One image for one platform. ``root`` is the target of its names: an index, or the manifest itself.

    ``id`` is the digest of its configuration (config.md#imageid).
    """

    __slots__ = ("config", "descriptor", "manifest", "names", "root")

    def __init__(self, names: list[str], root: Descriptor, descriptor: Descriptor, manifest: Manifest,
                 config: ImageConfig) -> None:
        self.names = names
        self.root = root
        self.descriptor = descriptor
        self.manifest = manifest
        self.config = config

    def __repr__(self) -> str:
        return f"<Image {', '.join(self.names) or 'without a name'}: {self.id}>"

    @property
    def id(self) -> str:
        """The digest of the configuration."""
        assert self.manifest.config is not None
        return self.manifest.config.digest

    @property
    def size(self) -> int:
        """Bytes of its layers as transferred, and of its configuration."""
        return sum(blob.size for blob in self.manifest.references())

    def layers(self) -> list[tuple[str, str, Descriptor]]:
        """diffID, chainID and descriptor of each layer, the base first."""
        return list(zip(self.config.diff_ids, chain_ids(self.config.diff_ids), self.manifest.layers, strict=True))


def key(reference: Reference) -> str:
    """The name in the store: with the tag ``latest`` if the reference has none."""
    return str(reference if reference.digest or reference.tag else reference.with_tag(reference.tagged))


def load(source: Source, root: Descriptor, names: list[str], platform: Platform | None = None,
         manifest: Manifest | None = None) -> Image:
    """The image for ``platform`` (default: the host's) of a root document, from any source. ``manifest`` is the root
    document, if it has been read already.

    Raises ImageError if the source lacks that image (another platform was pulled), or if it is an artifact, not an
    image.
    """
    descriptor, label = root, names[0] if names else root.digest
    manifest = manifest or parse_manifest(source.document(root), root.media_type, label)
    while manifest.is_index:
        there = [child for child in manifest.manifests if source.holds(child)]
        if not there:
            raise ImageError(f"{label}: no manifest of its index is in the local store: pull the image")
        # Without a wanted platform: the only image in the store, or else the host's.
        alone = platform is None and len(there) == 1
        descriptor = there[0] if alone else select(there, platform or Platform.host())
        manifest = parse_manifest(source.document(descriptor), descriptor.media_type, descriptor.digest)
    if manifest.config is None or manifest.config.media_type not in media.CONFIGS:
        kind = manifest.document.get("artifactType") or (manifest.config.media_type if manifest.config else "unknown")
        raise ImageError(f'{label}: not a container image but an artifact of type "{kind}"')
    config = parse_config(source.document(manifest.config), manifest, f"{label}: configuration")
    return Image(names, root, descriptor, manifest, config)


def warn_of_platform(image: Image, warn: Callable[[str], None]) -> None:
    """Warn about an image that the host cannot run."""
    host, there = Platform.host(), Platform.of(image.config.document)
    if there and not host.runs(there):
        warn(f'{image.names[0] if image.names else image.root.digest}: the image is for "{there}", the host is'
             f' "{host}": it runs only with an emulator')


def roots(store: Store) -> dict[str, tuple[Descriptor, list[str]]]:
    """The targets of all names: root digest -> descriptor and names, in the names' order."""
    found: dict[str, tuple[Descriptor, list[str]]] = {}
    for name, descriptor in sorted(store.names().items()):
        found.setdefault(descriptor.digest, (descriptor, []))[1].append(name)
    return found


def every(store: Store) -> Iterator[tuple[list[str], Descriptor, Image | PyruntimeError]]:
    """All images with their names: of an index the image for the host, or the first one in the store; an error in place
    of an unreadable image."""
    for descriptor, names in roots(store).values():
        try:
            yield names, descriptor, _any(store, descriptor, names)
        except PyruntimeError as error:
            yield names, descriptor, error


def _any(store: Store, root: Descriptor, names: list[str]) -> Image:
    """The image for the host, or the first one in the store: an index for other platforms is an image too."""
    source = StoreSource(store, root, names)
    manifest = parse_manifest(source.document(root), root.media_type, names[0] if names else root.digest)
    there = [child for child in manifest.manifests if is_image(child) and source.holds(child)]
    platforms = [platform for child in there if (platform := Platform.of(child.platform))]
    host = Platform.host()
    wanted = platforms[0] if platforms and not any(host.runs(platform) for platform in platforms) else None
    return load(source, root, names, wanted, manifest)


def find(store: Store, text: str, platform: Platform | None = None) -> Image:
    """The image that a user names: by a reference, NAME@DIGEST, a digest, or the first digits of an ID.

    Raises NoSuchImage, and ImageError if the digits are ambiguous.
    """
    descriptor, names, _ = find_root(store, text)
    return load(StoreSource(store, descriptor, names), descriptor, names, platform)


def by_manifest(store: Store, digest: str) -> Image:
    """The image with this manifest, whatever its names; raises NoSuchImage if it has been removed."""
    size = store.size(digest)
    if size < 0:
        raise NoSuchImage(f"the manifest {digest} is no longer in the local store: pull its image again")
    return load(StoreSource(store, Descriptor("", digest, size), []), Descriptor("", digest, size), [])


def find_root(store: Store, text: str) -> tuple[Descriptor, list[str], str]:
    """The root document that the text names, without reading more than needed: its descriptor, all its names, and the
    name that the text is; "" for an ID or a digest."""
    there = roots(store)
    digits = text.removeprefix("sha256:")
    if not _HEX.issuperset(digits) or len(digits) < 64:   # 64 digits are an ID: no tool accepts such a name
        reference = Reference.parse(text)
        found = store.names().get(key(reference))
        if found is None and reference.digest:
            found = _by_digest(store, there, reference)
        if found is not None:
            name = key(reference)
            descriptor, names = there.get(found.digest, (found, []))
            return descriptor, names, name if name in names else ""
    matching = {digest: entry for digest, entry in there.items() if _has_id(store, entry[0], digits)}
    if len(matching) > 1:
        raise ImageError(f'"{text}" is ambiguous: write more digits of one of {", ".join(sorted(matching))}')
    for descriptor, names in matching.values():
        return descriptor, names, ""
    raise NoSuchImage(f'no such image: "{text}": pull it, or look at the list of images')


def _by_digest(store: Store, there: dict[str, tuple[Descriptor, list[str]]], reference: Reference) -> Descriptor | None:
    """NAME@DIGEST: the root, or a manifest of its index, of any tag of that repository."""
    for descriptor, names in there.values():
        if any(name.startswith((reference.name + ":", reference.name + "@")) for name in names):
            if descriptor.digest == reference.digest:
                return descriptor
            for child in parse_manifest(store.read(descriptor), descriptor.media_type).manifests:
                if child.digest == reference.digest and store.has(child.digest):
                    return child
    return None


def _has_id(store: Store, root: Descriptor, digits: str) -> bool:
    if len(digits) < _LEAST or not _HEX.issuperset(digits):
        return False
    if root.digest.startswith(f"sha256:{digits}"):
        return True
    try:
        image = _any(store, root, [])
    except PyruntimeError:
        return False   # an unreadable image has no ID
    return image.id.startswith(f"sha256:{digits}") or image.descriptor.digest.startswith(f"sha256:{digits}")
