"""``pyimage push``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.images.cli.main import Context
from pyruntime.images.cli.remote import REMOTE, image_store

COMMAND = Command(
    "push", "[options] IMAGE [REFERENCE]", "upload an image to a registry",
    Flag("platform", "str", "push only the image of an index for this platform, without the index",
         value="OS/ARCH[/VARIANT]"),
    Flag("threads", "int", "number of blobs to upload in parallel", default=3),
    Flag("quiet", "bool", "suppress progress; print only the digest", short="q"), *REMOTE, least=1, most=2, text="""
A layer is not uploaded if the local store knows another repository of the registry that has the layer: the
registry mounts the layer from there.""")


def run(context: Context, parsed: Parsed) -> int:
    """Push, and print the digest of the image in the registry."""
    from pyruntime.images.progress import progress  # lazy: only when the command runs

    with progress(quiet=parsed["quiet"]) as shown:
        digest = image_store(context, parsed).push(*parsed.arguments, platform=parsed["platform"],
                                                   threads=parsed["threads"], progress=shown)
    out(f"{digest}\n")
    return 0
