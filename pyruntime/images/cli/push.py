"""``pyimage push``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.images.cli.main import Context
from pyruntime.images.cli.remote import REMOTE, remote_target

COMMAND = Command(
    "push", "[options] IMAGE [REFERENCE]", "upload an image to a registry",
    Flag("platform", "str", "push only the image of an index for this platform, without the index",
         value="OS/ARCH[/VARIANT]"),
    Flag("threads", "int", "number of blobs to upload in parallel", default=3),
    Flag("quiet", "bool", "suppress progress; print only the digest", short="q"), *REMOTE, least=1, most=2, text="""
A layer is not uploaded if the local store knows another repository of the registry that has the layer: the
registry mounts the layer from there.""")


def run(context: Context, parsed: Parsed) -> int:
    """Push, and print the digest that the registry knows the image by."""
    from pyruntime.images.copy import copy
    from pyruntime.images.lookup import find_root
    from pyruntime.images.platform import Platform
    from pyruntime.images.progress import progress
    from pyruntime.images.reference import Reference
    from pyruntime.images.transports.local import StoreSource

    descriptor, names, _ = find_root(context.store, parsed.arguments[0])
    destination = Reference.parse(parsed.arguments[-1].removeprefix("docker://"))
    platform = Platform.parse(parsed["platform"]) if parsed["platform"] else None
    siblings = (Reference.parse(name) for name in context.store.names())
    mount_from = next((other.path for other in siblings if other.domain == destination.domain
                       and other.path != destination.path), "")
    target = remote_target(context, parsed, str(destination), mount_from)
    shown = progress(quiet=parsed["quiet"])
    try:
        copied = copy(StoreSource(context.store, descriptor, names), target, platform=platform,
                      everything=platform is None, threads=parsed["threads"], progress=shown, warn=context.warn)
    finally:
        shown.close()
        target.close()
    out(f"{copied.root.digest}\n")
    return 0
