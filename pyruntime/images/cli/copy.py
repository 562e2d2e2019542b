"""``pyimage copy``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.images.cli.main import Context
from pyruntime.images.cli.places import source_of, target_of
from pyruntime.images.cli.remote import REMOTE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    "copy", "[options] SOURCE TARGET",
    "copy an image between registries, layouts, archives, directories and the local store",
    Flag("platform", "str", "platform to select from an index (default: the host's)", value="OS/ARCH[/VARIANT]"),
    Flag("all-platforms", "bool", "copy all images of an index", short="a"),
    Flag("threads", "int", "number of blobs to transfer in parallel", default=3),
    Flag("quiet", "bool", "suppress progress; print only the digest", short="q"), *REMOTE, least=2, most=2, text="""
SOURCE and TARGET are docker://REFERENCE, oci:DIR[:NAME], oci-archive:FILE[:NAME],
docker-archive:FILE[:REFERENCE], dir:DIR, or a name in the local store. Manifests and configurations are
copied byte for byte: digests do not change.""")


def run(context: Context, parsed: Parsed) -> int:
    """Copy, and print the digest of what TARGET names now."""
    from pyruntime.images.copy import copy
    from pyruntime.images.lookup import key
    from pyruntime.images.platform import Platform
    from pyruntime.images.progress import progress
    from pyruntime.images.receive import receive
    from pyruntime.images.reference import Reference
    from pyruntime.images.transports.location import Location

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
