"""``pyimage umount``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.images.cli.main import Context

COMMAND = Command("umount", "[options] BUNDLE|DIR...", "unmount images and bundles",
                  Flag("remove", "bool", "remove the bundle and its changes, or the files that a killed unpack left",
                       short="r"), least=1)


def run(context: Context, parsed: Parsed) -> int:
    """Unmount each bundle or directory."""
    for path in parsed.arguments:
        context.images.unmount(path, remove=parsed["remove"])
    return 0
