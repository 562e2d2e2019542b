"""``pyimage tag``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.images.cli.main import Context

COMMAND = Command("tag", "IMAGE NAME...", "add names to an image", least=2)


def run(context: Context, parsed: Parsed) -> int:
    """Add each name to IMAGE."""
    context.images.tag(*parsed.arguments)
    return 0
