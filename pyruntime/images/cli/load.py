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
    """Load all images; print each name, or the digest of an image without a name."""
    return load(context, parsed, lambda names, copied: "".join(f"{name}\n" for name in names or [copied.root.digest]))


def load(context: Context, parsed: Parsed, lines: Callable[[list[str], Copied], str]) -> int:
    """Load all images; ``lines`` is the output for an image that was loaded with these names."""
    from pyruntime.images.progress import progress  # lazy: only when the command runs

    path = parsed["input"] or "-"
    if path == "-" and os.isatty(0):
        raise UsageError("an archive is not read from a terminal: give --input FILE, or redirect standard input")
    with progress(quiet=parsed["quiet"]) as shown:
        context.images.load(path, platform=parsed["platform"], extract=not parsed["no-extract"],
                            limits=limits_of(parsed), progress=shown,
                            loaded=lambda names, copied: out(lines(names, copied)))
    return 0
