"""``pyimage save``."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.errors import UsageError
from pyruntime.images.cli.main import Context

COMMAND = Command("save", "[options] IMAGE...", "save images to an archive",
                  Flag("output", "str", "write to FILE instead of standard output", short="o", value="FILE"),
                  Flag("format", "str", "docker-archive (with Docker's manifest.json) or oci-archive",
                       default="docker-archive"),
                  Flag("platform", "str", "save only the image of an index for this platform, without the index",
                       value="OS/ARCH[/VARIANT]"),
                  Flag("quiet", "bool", "suppress progress", short="q"), least=1)


def run(context: Context, parsed: Parsed) -> int:
    """Write all images, with all of their names that were asked for, into one archive; what they share once."""
    from pyruntime.images.copy import copy
    from pyruntime.images.lookup import find_root
    from pyruntime.images.platform import Platform
    from pyruntime.images.progress import progress
    from pyruntime.images.transports.archive import ArchiveTarget
    from pyruntime.images.transports.local import StoreSource

    if parsed["format"] not in ("docker-archive", "oci-archive"):
        raise UsageError(f'--format "{parsed["format"]}": write docker-archive or oci-archive')
    path = parsed["output"] or "-"
    if path == "-" and os.isatty(1):
        raise UsageError("an archive is not written to a terminal: give --output FILE, or redirect standard output")
    store = context.store
    roots = [find_root(store, text) for text in parsed.arguments]
    platform = Platform.parse(parsed["platform"]) if parsed["platform"] else None
    target = ArchiveTarget(path, docker=parsed["format"] == "docker-archive")
    shown = progress(quiet=parsed["quiet"])
    try:
        for descriptor, names, name in roots:
            target.name = name.partition("@")[0]
            copy(StoreSource(store, descriptor, names), target, platform=platform, everything=platform is None,
                 progress=shown, warn=context.warn)
        target.close()
    except BaseException:
        target.abandon()
        raise
    finally:
        shown.close()
    return 0
