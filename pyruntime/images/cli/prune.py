"""``pyimage prune``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.images.cli.main import Context
from pyruntime.images.cli.show import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.document import Descriptor

COMMAND = Command("prune", "[options]", "remove data that no image and no bundle uses",
                  Flag("all", "bool", "remove all images that no bundle uses, with or without a name", short="a"),
                  Flag("partial", "bool", "remove unfinished downloads of any age"),
                  Flag("dry-run", "bool", "print what would be removed, and remove nothing", short="n"),
                  Flag("format", "str", "output format: table or json", short="f", default="table"), most=0, text="""
Removes images without a name, blobs and extracted layers that no image uses, unfinished downloads older than a week,
and temporary files of killed commands. Data that a running command is about to use is kept.""")


def run(context: Context, parsed: Parsed) -> int:
    """Remove, and print what."""
    from pyruntime.images.progress import size

    store = context.store
    dry_run: bool = parsed["dry-run"]
    names = unused(context, everything=parsed["all"])
    for name in names:
        if not dry_run:
            store.untag(name)
    collected = store.collect(dry_run=dry_run, everything=parsed["partial"],
                              without=frozenset(names if dry_run else ()))
    if parsed["format"] != "table":
        show(parsed["format"], {kind: [{"Name": name, "Size": count} for name, count in getattr(collected, kind)]
                                for kind in collected.__slots__} | {"Names": names, "Size": collected.size})
        return 0
    out("".join(f"{'would untag' if dry_run else 'untagged'}: {name}\n" for name in names))
    word = "would delete" if dry_run else "deleted"
    out("".join(f"{line}\n" for line in collected_lines(collected, word)))
    out(f"{'to be freed' if dry_run else 'freed'}: {size(collected.size)}\n")
    return 0


def unused(context: Context, *, everything: bool) -> list[str]:
    """The names of images of which no bundle uses a manifest: of all, or of those without a name of their own."""
    from pyruntime.images.lookup import roots
    from pyruntime.images.store.names import is_nameless

    used = {bundle.manifest for bundle in context.store.bundles()}
    return [name for root, names in roots(context.store).values() for name in names
            if (everything or is_nameless(name)) and used.isdisjoint(_manifests(context, root))]


def _manifests(context: Context, root: Descriptor) -> set[str]:
    """The digest of a root document, and of the manifests in it if it is an index that can be read."""
    from pyruntime.errors import PyruntimeError
    from pyruntime.images.document import parse_manifest

    try:
        manifest = parse_manifest(context.store.read(root), root.media_type, root.digest)
    except PyruntimeError:   # the damaged one is as good as unused; gc says what it does not know of it
        return {root.digest}
    return {root.digest, *(child.digest for child in manifest.manifests)}


def collected_lines(collected: object, done: str = "deleted") -> list[str]:
    """A line for each thing that was removed."""
    return [f"{done}: {word} {name}" for kind, word in (
        ("blobs", "blob"), ("layers", "layer"), ("subvolumes", "subvolume"), ("partials", "download"))
        for name, _ in getattr(collected, kind)]
