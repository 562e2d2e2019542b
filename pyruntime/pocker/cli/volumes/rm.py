"""``pocker volume rm``."""

from __future__ import annotations

from pyruntime.commandline.log import LOG
from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import NoSuchVolume, PyruntimeError
from pyruntime.pocker.cli.main import Context
from pyruntime.pocker.containers import stop as ending
from pyruntime.pocker.volumes import remove, sweep

COMMAND = Command("rm", "[options] VOLUME...", "remove volumes",
                  Flag("force", "bool", "none is no error", short="f"), least=1,
                  text="One that a container uses, running or not, is not removed.\n\n"
                       "Example:\n  pocker volume rm data")


def run(context: Context, parsed: Parsed) -> int:
    """Remove them; what cannot be removed does not keep us from the rest."""
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
