"""``pyimage export``."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.errors import UsageError
from pyruntime.images.cli.main import Context

COMMAND = Command("export", "[options] IMAGE", "export the root filesystem of an image as a tar archive",
                  Flag("output", "str", "write to FILE instead of standard output", short="o", value="FILE"),
                  Flag("platform", "str", "platform to select from an index (default: the host's)",
                       value="OS/ARCH[/VARIANT]"), least=1, most=1)


def run(context: Context, parsed: Parsed) -> int:
    """Write the archive; a file is renamed to its name when it is complete."""
    from pyruntime.images.lookup import find  # lazy: only when the command runs
    from pyruntime.images.platform import Platform
    from pyruntime.images.repack import export

    path = parsed["output"]
    if not path and os.isatty(1):
        raise UsageError("an archive is not written to a terminal: give --output FILE, or redirect standard output")
    image = find(context.store, parsed.arguments[0], Platform.parse(parsed["platform"]) if parsed["platform"] else None)
    temporary = f"{path}.{os.getpid()}.partial"
    file = open(temporary, "wb") if path else os.fdopen(os.dup(1), "wb")   # noqa: SIM115  closed below
    try:
        with file:
            export(context.store, image, file.write, warn=context.warn)
        if path:
            os.rename(temporary, path)
    except BaseException:
        if path:
            os.unlink(temporary)
        raise
    return 0
