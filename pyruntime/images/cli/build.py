"""``pyimage build CONTEXT``."""

from __future__ import annotations

from pyruntime.builder.cli.build import FLAGS, TEXT, Surroundings
from pyruntime.builder.cli.build import build as carry_out
from pyruntime.commandline.parse import Command, Parsed
from pyruntime.images.cli.main import Context
from pyruntime.pocker.directories import Directories

COMMAND = Command("build", "[options] [CONTEXT]", "build an image from a Dockerfile", *FLAGS, most=1,
                  text=TEXT + "pyimage build -t app .")


def run(context: Context, parsed: Parsed) -> int:
    """Build the image."""

    places = Directories()   # before a user namespace makes root of us
    return carry_out(Surroundings(context.store, places.networks, context.warn, context.debug), parsed)
