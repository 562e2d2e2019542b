"""``pyimage rm``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.images.cli.main import Context
from pyruntime.images.cli.prune import collected_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.images.document import Descriptor
    from pyruntime.images.store.store import Store

COMMAND = Command("rm", "[options] IMAGE...", "remove images",
                  Flag("force", "bool", "remove images in use, and by ID images of several names; ignore missing ones",
                       short="f"),
                  Flag("no-prune", "bool", "remove only the name"), least=1, text="""
Removes a name, and then the blobs and layers that no other name and no bundle uses. An ID stands for all
names of the image.""")


def run(context: Context, parsed: Parsed) -> int:
    """Take the names away, then what nobody needs. What cannot be removed does not keep us from the rest."""
    return remove(context, parsed, lambda path: f'the bundle "{path}"', lambda name: f"untagged: {name}\n", "deleted")


def remove(context: Context, parsed: Parsed, user: Callable[[str], str], untagged: Callable[[str], str],
           deleted: str) -> int:
    """The same; ``user`` says in words who uses the bundle of this path, ``untagged`` and ``deleted`` what was done."""
    from pyruntime.errors import ImageError, NoSuchImage

    failed = 0
    for text in parsed.arguments:
        try:
            for name in _names(context.store, text, user, force=parsed["force"]):
                context.store.untag(name)
                out(untagged(name))
        except ImageError as error:
            if not (parsed["force"] and isinstance(error, NoSuchImage)):
                context.error(error)
                failed = 1
    if not parsed["no-prune"]:
        out("".join(f"{line}\n" for line in collected_lines(context.store.collect(), deleted)))
    return failed


def _names(store: Store, text: str, user: Callable[[str], str], *, force: bool) -> list[str]:
    """The names to take away; raises ImageError for what is to be removed with --force alone."""
    from pyruntime.errors import ImageError
    from pyruntime.images.lookup import find_root

    descriptor, names, name = find_root(store, text)
    chosen = [name] if name else names
    if not chosen:
        raise ImageError(f'"{text}" is one image of an index, and goes with that one\'s name')
    if not force:
        if len(chosen) > 1:
            raise ImageError(f'"{text}" has {len(names)} names: {", ".join(names)}; remove them, or use --force')
        users = _users(store, descriptor) if len(chosen) == len(names) else []
        if users:
            raise ImageError(f'"{text}" is used by {user(users[0])}; remove that, or use --force')
    return chosen


def _users(store: Store, root: Descriptor) -> list[str]:
    """The bundles that were made of the image: of the manifest itself, or of one of its index."""
    from pyruntime.images.document import parse_manifest

    manifest = parse_manifest(store.read(root), root.media_type, root.digest)
    digests = {root.digest, *(child.digest for child in manifest.manifests)}
    return [bundle.path for bundle in store.bundles() if bundle.manifest in digests]
