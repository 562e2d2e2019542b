"""``pyimage umount``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.images.cli.main import Context

COMMAND = Command("umount", "[options] BUNDLE|DIR...", "unmount images and bundles",
                  Flag("remove", "bool", "remove the bundle and its changes, or the files that a killed unpack left",
                       short="r"), least=1)


def run(context: Context, parsed: Parsed) -> int:
    """Unmount bundles, and directories that images are mounted at."""
    from pyruntime.images.bundle import Bundle, undo
    from pyruntime.images.mounts import unmount

    for path in parsed.arguments:
        if unmount(context.store, path) or (parsed["remove"] and undo(path)):
            continue
        bundle = Bundle(context.store, path)
        if parsed["remove"]:
            bundle.remove()
        else:
            bundle.unmount()
    return 0
