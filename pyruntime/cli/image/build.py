"""``pyimage build CONTEXT``."""

from __future__ import annotations

from pyruntime.cli.building import FLAGS, TEXT, Surroundings
from pyruntime.cli.building import build as carry_out
from pyruntime.cli.image.main import Context
from pyruntime.cli.parse import Command, Parsed

COMMAND = Command("build", "[options] [CONTEXT]", "build an image from a Dockerfile", *FLAGS, most=1,
                  text=TEXT + "pyimage build -t app .")


def run(context: Context, parsed: Parsed) -> int:
    """Build the image."""
    from pyruntime.engine.places import Places

    places = Places()   # before a user namespace makes root of us
    return carry_out(Surroundings(context.store, places, context.warn, context.debug), parsed)
