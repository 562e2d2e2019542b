"""``pyimage build CONTEXT``."""

from __future__ import annotations

from pyruntime.builder.cli.build import FLAGS, TEXT, build
from pyruntime.builder.steps.network import own_site
from pyruntime.commandline.parse import Command, Parsed
from pyruntime.images.cli.main import Context

COMMAND = Command("build", "[options] [CONTEXT]", "build an image from a Dockerfile", *FLAGS, most=1,
                  text=TEXT + "pyimage build -t app .")


def run(context: Context, parsed: Parsed) -> int:
    """Build the image."""
    # Before context.store enters a user namespace, where every user is root: root's directories are others.
    site = own_site()
    return build(context, parsed, site)
