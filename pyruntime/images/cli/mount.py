"""``pyimage mount``."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.images.cli.main import Context

COMMAND = Command("mount", "[options] IMAGE DIR | BUNDLE", "mount the root filesystem of an image or of a bundle",
                  Flag("platform", "str", "platform to select from an index (default: the host's)",
                       value="OS/ARCH[/VARIANT]"), least=1, most=2,
                  text="""
IMAGE is mounted read-only at DIR, an empty directory that is created if it does not exist. With one argument,
the root filesystem of BUNDLE is mounted again, for example after a reboot or after `pyimage umount`.""")


def run(context: Context, parsed: Parsed) -> int:
    """Mount, and print the mount point."""
    if len(parsed.arguments) == 1:
        out(f"{context.images.mount_bundle(parsed.arguments[0])}\n")
        return 0
    name, directory = parsed.arguments
    context.images.mount(name, directory, platform=parsed["platform"])
    out(f"{os.path.abspath(directory)}\n")
    return 0
