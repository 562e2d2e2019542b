"""``pyimage copy``."""

from __future__ import annotations

from pyruntime.cli.image.main import Context
from pyruntime.cli.image.places import source_of, target_of
from pyruntime.cli.image.remote import REMOTE
from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.program import out

COMMAND = Command(
    "copy", "[options] SOURCE TARGET", "copy an image from any place to any other",
    Flag("platform", "str", "which image of an index; default: this machine's", value="OS/ARCH[/VARIANT]"),
    Flag("all-platforms", "bool", "the whole index, byte for byte", short="a"),
    Flag("threads", "int", "blobs that are transferred at once", default=3),
    Flag("quiet", "bool", "no progress; the digest alone", short="q"), *REMOTE, least=2, most=2, text="""
SOURCE and TARGET are docker://REFERENCE, oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:REFERENCE],
dir:DIR, or a name in the store. Documents are copied byte for byte: digests never change.""")


def run(context: Context, parsed: Parsed) -> int:
    """Copy, and print the digest of what TARGET names now."""
    from contextlib import nullcontext

    from pyruntime.image.copy import copy
    from pyruntime.image.platform import Platform
    from pyruntime.image.progress import progress
    from pyruntime.image.transport.location import Location

    place = Location.parse(parsed.arguments[1])
    platform = Platform.parse(parsed["platform"]) if parsed["platform"] else None
    with context.store.lease() if place.kind == "store" else nullcontext() as lease:
        source = source_of(context, parsed, parsed.arguments[0])
        target = target_of(context, parsed, place, lease)
        shown = progress(quiet=parsed["quiet"])
        try:
            copied = copy(source, target, platform=platform, everything=parsed["all-platforms"],
                          threads=parsed["threads"], progress=shown, warn=context.warn)
            target.close()
        except BaseException:
            target.abandon()
            raise
        finally:
            shown.close()
            source.close()
    out(f"{copied.root.digest}\n")
    return 0
