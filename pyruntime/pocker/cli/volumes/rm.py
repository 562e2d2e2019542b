"""``pocker volume rm``."""

from __future__ import annotations

from pyruntime.commandline.log import LOG
from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import NoSuchVolume, PyruntimeError
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.containers import stop as ending
from pyruntime.pocker.volumes import remove, sweep

COMMAND = Command("rm", "[options] VOLUME...", "remove volumes",
                  Flag("force", "bool", "ignore volumes that do not exist", short="f"), least=1,
                  text="A volume that a container uses, running or not, cannot be removed.\n\n"
                       "Example:\n  pocker volume rm data")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Remove the volumes; a failure is logged, and the other volumes are still removed."""
    ending.sweep(context.places, context.warn)
    sweep(context.places)
    status = 0
    for name in parsed.arguments:
        try:
            remove(context.places, name)
            out(f"{name}\n")
        except NoSuchVolume as error:
            if not parsed["force"]:
                LOG.error(error)
                status = 1
        except PyruntimeError as error:
            LOG.error(error)
            status = 1
    return status
