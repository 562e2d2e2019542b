"""``pyimage copy``."""

from __future__ import annotations

from pyruntime.cli.image.main import Context
from pyruntime.cli.image.places import source_of, target_of
from pyruntime.cli.image.remote import REMOTE
from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.program import out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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
    from pyruntime.image.copy import copy
    from pyruntime.image.images import key
    from pyruntime.image.platform import Platform
    from pyruntime.image.progress import progress
    from pyruntime.image.receive import receive
    from pyruntime.image.reference import Reference
    from pyruntime.image.transport.location import Location

    place = Location.parse(parsed.arguments[1])
    platform = Platform.parse(parsed["platform"]) if parsed["platform"] else None
    how: Any = {"platform": platform, "everything": parsed["all-platforms"], "threads": parsed["threads"],
                "progress": progress(quiet=parsed["quiet"]), "warn": context.warn}
    source = source_of(context, parsed, parsed.arguments[0])
    try:
        if place.kind == "store":
            copied = receive(context.store, source, [key(Reference.parse(place.path))], **how)
        else:
            target = target_of(context, parsed, place)
            try:
                copied = copy(source, target, **how)
                target.close()
            except BaseException:
                target.abandon()
                raise
    finally:
        how["progress"].close()
        source.close()
    out(f"{copied.root.digest}\n")
    return 0
