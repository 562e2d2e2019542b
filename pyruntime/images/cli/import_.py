"""``pyimage import``."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.images.cli.changes import CHANGES, changes
from pyruntime.images.cli.limits import LIMITS, limits_of
from pyruntime.images.cli.main import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.document import Descriptor

COMMAND = Command(
    "import", "[options] FILE|- NAME", "create an image from a tar archive of a root filesystem",
    *CHANGES, *LIMITS,
    Flag("platform", "str", "set the platform of the image (default: the host's platform)", value="OS/ARCH[/VARIANT]"),
    Flag("message", "str", "comment for the image history", short="m", value="TEXT"),
    Flag("created", "str", "creation time in RFC 3339 format (default: SOURCE_DATE_EPOCH, or the current time)",
         value="TIME"),
    Flag("compression", "str", "compression of the layer: gzip, zstd or none",
         default="gzip"), least=2, most=2, text="""
The archive may be compressed with gzip, bzip2, xz or zstd.""")


def run(context: Context, parsed: Parsed) -> int:
    """Create the image and print its name and digest."""
    from pyruntime.images.lookup import key  # lazy: only when the command runs
    from pyruntime.images.reference import Reference

    name = key(Reference.parse(parsed.arguments[1]))
    descriptor = make(context, parsed, changes(parsed), name)
    out(f"{name}@{descriptor.digest}\n")
    return 0


def make(context: Context, parsed: Parsed, changed: dict[str, object], name: str) -> Descriptor:
    """Create the image, with these members of its configuration, and with a name unless that is ""."""
    path = parsed.arguments[0]
    return context.images.import_archive(
        path, name, changes=changed, platform=parsed["platform"], created=parsed["created"],
        created_by=parsed["message"] or f"{context.program} import {os.path.basename(path)}",
        compression=parsed["compression"], limits=limits_of(parsed))
