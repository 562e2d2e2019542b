"""``pyimage save``."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.errors import UsageError
from pyruntime.images.api import ARCHIVES
from pyruntime.images.cli.main import Context

COMMAND = Command("save", "[options] IMAGE...", "save images to an archive",
                  Flag("output", "str", "write to FILE instead of standard output", short="o", value="FILE"),
                  Flag("format", "str", "docker-archive (with Docker's manifest.json) or oci-archive",
                       default="docker-archive"),
                  Flag("platform", "str", "save only the image of an index for this platform, without the index",
                       value="OS/ARCH[/VARIANT]"),
                  Flag("quiet", "bool", "suppress progress", short="q"), least=1)


def run(context: Context, parsed: Parsed) -> int:
    """Write the images to one archive, with the names of the arguments."""
    from pyruntime.images.progress import progress  # lazy: only when the command runs

    if parsed["format"] not in ARCHIVES:
        raise UsageError(f'--format "{parsed["format"]}": write {" or ".join(ARCHIVES)}')
    path = parsed["output"] or "-"
    if path == "-" and os.isatty(1):
        raise UsageError("an archive is not written to a terminal: give --output FILE, or redirect standard output")
    with progress(quiet=parsed["quiet"]) as shown:
        context.images.save(parsed.arguments, path, format=parsed["format"], platform=parsed["platform"],
                            progress=shown)
    return 0
