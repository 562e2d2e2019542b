"""``pyimage load``."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import UsageError
from pyruntime.images.cli.limits import LIMITS, limits_of
from pyruntime.images.cli.main import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.images.copy import Copied

COMMAND = Command("load", "[options]", "load images from an archive into the local store",
                  Flag("input", "str", "read from FILE instead of standard input", short="i", value="FILE"),
                  Flag("platform", "str", "load only the image of an index for this platform",
                       value="OS/ARCH[/VARIANT]"),
                  *LIMITS, Flag("no-extract", "bool", "do not extract layers until an unpack needs them"),
                  Flag("quiet", "bool", "suppress progress", short="q"), most=0, text="""
The archive is the output of `docker save` (of any version), a tar archive of an image layout, or the
directory of an image layout. Archives may be compressed. All images are loaded with all of their names; an
index stays one index.""")


def run(context: Context, parsed: Parsed) -> int:
    """Read all images; print each name, or the digest of an image that has none."""
    return load(context, parsed, lambda names, copied: "".join(f"{name}\n" for name in names or [copied.root.digest]))


def load(context: Context, parsed: Parsed, told: Callable[[list[str], Copied], str]) -> int:
    """Read all images; ``told`` is what is printed of each, which has these names."""
    from pyruntime.images.platform import Platform
    from pyruntime.images.progress import progress
    from pyruntime.images.receive import receive
    from pyruntime.images.transports.location import Location, sources

    path = parsed["input"] or "-"
    if path == "-" and os.isatty(0):
        raise UsageError("an archive is not read from a terminal: give --input FILE, or redirect standard input")
    platform = Platform.parse(parsed["platform"]) if parsed["platform"] else None
    location = Location("oci" if os.path.isdir(path) else "docker-archive", path)
    shown = progress(quiet=parsed["quiet"])
    found = sources(location, context.scratch)
    try:
        for source in found:
            names = _names(source.names)
            copied = receive(context.store, source, names, platform=platform, everything=platform is None,
                             extract=not parsed["no-extract"], limits=limits_of(parsed), progress=shown,
                             warn=context.warn)
            out(told(names, copied))
    finally:
        shown.close()
        for source in found:
            source.close()
    return 0


def _names(found: list[str]) -> list[str]:
    """The names that can be names here: the fullest one of a layout, all of Docker's."""
    from pyruntime.images.lookup import key
    from pyruntime.images.reference import Reference

    full = [name for name in found if "/" in name or ":" in name] or [f"localhost/{name}" for name in found[:1]]
    return list(dict.fromkeys(key(Reference.parse(name)) for name in full))
