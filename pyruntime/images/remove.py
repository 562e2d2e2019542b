"""The names that `rm` and `prune` remove: of one image, or of all images that no bundle uses."""

from __future__ import annotations

from pyruntime.errors import ImageError, PyruntimeError
from pyruntime.images.document import parse_manifest
from pyruntime.images.lookup import find_root, roots
from pyruntime.images.store.names import is_nameless

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.images.document import Descriptor
    from pyruntime.images.store.store import Store


def names_of(store: Store, text: str, user: Callable[[str], str], *, force: bool) -> list[str]:
    """The names to remove for ``text``, a name or an ID. ``user`` names the owner of a bundle's path in messages.

    Raises ImageError for an image of several names or in use, unless ``force``; NoSuchImage.
    """
    descriptor, names, name = find_root(store, text)
    chosen = [name] if name else names
    if not chosen:
        raise ImageError(f'"{text}" is one image of an index: remove the index by its name')
    if not force:
        if len(chosen) > 1:
            raise ImageError(f'"{text}" has {len(names)} names: {", ".join(names)}; remove them, or use --force')
        users = _users(store, descriptor) if len(chosen) == len(names) else []
        if users:
            raise ImageError(f'"{text}" is used by {user(users[0])}; remove that, or use --force')
    return chosen


def unused(store: Store, *, everything: bool) -> list[str]:
    """The names of images that no bundle uses: of all such images, or of those without a tag."""
    used = {bundle.manifest for bundle in store.bundles()}
    return [name for root, names in roots(store).values() for name in names
            if (everything or is_nameless(name)) and used.isdisjoint(_manifests(store, root))]


def _users(store: Store, root: Descriptor) -> list[str]:
    """The bundles of an image: of the manifest itself, or of a manifest of its index."""
    manifest = parse_manifest(store.read(root), root.media_type, root.digest)
    digests = {root.digest, *(child.digest for child in manifest.manifests)}
    return [bundle.path for bundle in store.bundles() if bundle.manifest in digests]


def _manifests(store: Store, root: Descriptor) -> set[str]:
    """The digests of a root document and, if it is a readable index, of its manifests."""
    try:
        manifest = parse_manifest(store.read(root), root.media_type, root.digest)
    except PyruntimeError:   # a damaged index counts as unused; the garbage collection reports the damage
        return {root.digest}
    return {root.digest, *(child.digest for child in manifest.manifests)}
