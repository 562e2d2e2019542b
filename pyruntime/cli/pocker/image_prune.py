"""``pocker image prune``."""

from __future__ import annotations

from pyruntime.cli.image import prune as there
from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.pocker.borrowed import borrowed
from pyruntime.cli.pocker.main import Context
from pyruntime.engine.ending import sweep

_IT = borrowed(there, "prune", "image prune --all")
COMMAND = Command("prune", _IT.usage, "remove what no image and no container needs", *_IT.flags,
                  Flag("force", "bool", "Docker's word for not asking, as we never do"), most=0, text=_IT.text)


def run(context: Context, parsed: Parsed) -> int:
    """Remove it."""
    sweep(context.places, context.warn)
    return there.run(context.images, parsed)
