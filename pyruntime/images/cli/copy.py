"""``pyimage copy``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.images.cli.main import Context
from pyruntime.images.cli.remote import REMOTE, image_store

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
    """Copy, and print the digest of the copy."""
    from pyruntime.images.progress import progress  # lazy: only when the command runs

    with progress(quiet=parsed["quiet"]) as shown:
        copied = image_store(context, parsed).copy(
            *parsed.arguments, platform=parsed["platform"], all_platforms=parsed["all-platforms"],
            threads=parsed["threads"], progress=shown)
    out(f"{copied.root.digest}\n")
    return 0
