"""``pyimage repack``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.images.cli.changes import CHANGES, changes
from pyruntime.images.cli.main import Context

COMMAND = Command(
    "repack", "[options] BUNDLE NAME", "create an image from the changes in a bundle",
    Flag("message", "str", "comment for the image history", short="m", value="TEXT"),
    Flag("author", "str", "author for the image history", value="NAME"),
    Flag("created-by", "str", "command for the image history", default="pyimage repack", value="COMMAND"),
    Flag("created", "str", "creation time in RFC 3339 format (default: the time of the newest change)", value="TIME"),
    Flag("compression", "str", "compression of the layer: gzip, zstd or none", default="gzip"),
    Flag("level", "int", "compression level; -1 for the default level of the compression", default=-1),
    *CHANGES, Flag("quiet", "bool", "print only the digest", short="q"), least=2, most=2, text="""
Files that were changed, added or removed in the root filesystem of the bundle become a layer on top of the
image that the bundle was unpacked from. The same changes give the same bytes. Contents of volumes are left
out.""")


def run(context: Context, parsed: Parsed) -> int:
    """Create the image and its name."""
    from pyruntime.images.bundle import Bundle  # lazy: only when the command runs
    from pyruntime.images.layers.diff import DiffOptions
    from pyruntime.images.lookup import by_manifest, key
    from pyruntime.images.make import checked_time
    from pyruntime.images.reference import Reference
    from pyruntime.images.repack import repack

    name = key(Reference.parse(parsed.arguments[1]))
    created = checked_time(parsed["created"]) if parsed["created"] else ""
    store = context.store
    bundle = Bundle(store, parsed.arguments[0])
    with store.lease() as lease:
        lease.add(bundle.record.manifest)
        base = by_manifest(store, bundle.record.manifest)
        descriptor, entries = repack(
            bundle, base, created=created, created_by=parsed["created-by"], author=parsed["author"],
            comment=parsed["message"], compression=parsed["compression"], level=parsed["level"],
            changes=changes(parsed), options=DiffOptions(warn=context.warn))
        store.tag(name, descriptor)
    out(f"{descriptor.digest}\n" if parsed["quiet"] else f"{name}@{descriptor.digest} ({entries} entries)\n")
    return 0
