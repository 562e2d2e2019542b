"""``pocker build CONTEXT``."""

from __future__ import annotations

from pyruntime.builder.cli.build import FLAGS, TEXT, build
from pyruntime.commandline.parse import Command, Parsed
from pyruntime.pocker.cli.main import PockerContext

COMMAND = Command("build", "[options] [CONTEXT]", "build an image from a Dockerfile", *FLAGS, most=1,
                  text=TEXT + "pocker build -t app .")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Build the image."""
    return build(context.images, parsed, context.places.networks, driver=context.driver)
