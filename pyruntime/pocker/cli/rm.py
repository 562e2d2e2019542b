"""``pocker rm CONTAINER...``."""

from __future__ import annotations

from pyruntime.commandline.log import LOG
from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import NoSuchContainer, PyruntimeError
from pyruntime.pocker.cli.each import LATEST_FLAG
from pyruntime.pocker.cli.main import LATEST, PockerContext
from pyruntime.pocker.containers.stop import sweep

COMMAND = Command("rm", "[options] CONTAINER...", "remove containers",
                  Flag("force", "bool", "kill running containers; ignore containers that do not exist", short="f"),
                  LATEST_FLAG,
                  Flag("volumes", "bool", "remove the containers' anonymous volumes too", short="v"),
                  least=1, text="Example:\n  pocker rm -f web")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Remove the containers; a failure is logged, and the others are still removed."""
    sweep(context.places, context.warn)
    status = 0
    for name in parsed.arguments:
        try:
            removed = context.engine.remove(context.find(name).id, force=parsed["force"], volumes=parsed["volumes"])
            out(f"{removed if name == LATEST else name}\n")
        except NoSuchContainer as error:
            if not parsed["force"]:
                LOG.error(error)
                status = 1
            else:
                out(f"{name}\n")
        except PyruntimeError as error:
            LOG.error(error)
            status = 1
    return status
