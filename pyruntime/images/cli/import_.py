"""``pyimage import``."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import UsageError
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
    """Make the image and print its digest."""
    from pyruntime.images.lookup import key
    from pyruntime.images.reference import Reference

    name = key(Reference.parse(parsed.arguments[1]))
    descriptor = make(context, parsed, changes(parsed), name)
    out(f"{name}@{descriptor.digest}\n")
    return 0


def make(context: Context, parsed: Parsed, changed: dict[str, object], name: str) -> Descriptor:
    """Make an image of the archive that the first argument names; ``changed`` are members of its configuration, and
    ``name`` may be "". Its descriptor."""
    from pyruntime.errors import ConfigError, ImageError
    from pyruntime.images.lookup import by_manifest
    from pyruntime.images.make import checked_time, timestamp
    from pyruntime.images.platform import Platform
    from pyruntime.images.repack import import_tree
    from pyruntime.images.store.extract import Talk

    path = parsed.arguments[0]
    platform = Platform.parse(parsed["platform"]) if parsed["platform"] else Platform.host()
    limits = limits_of(parsed)
    created = checked_time(parsed["created"]) if parsed["created"] else timestamp()
    try:
        fd = os.dup(0) if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f'"{path}": {error.strerror}') from None
    try:
        with context.store.lease():
            descriptor = import_tree(
                context.store, lambda count: os.read(fd, count), created=created,
                created_by=parsed["message"] or f"{context.program} import {os.path.basename(path)}",
                platform=platform.document(), changes=changed, compression=parsed["compression"])
            # Only what can be extracted is an image.
            context.store.extract_layers(by_manifest(context.store, descriptor.digest).layers(),
                                         talk=Talk(warn=context.warn), limits=limits)
            if name:
                context.store.tag(name, descriptor)
            context.store.keep(descriptor)
    except (ImageError, ConfigError):
        context.store.collect()
        raise
    finally:
        os.close(fd)
    return descriptor
