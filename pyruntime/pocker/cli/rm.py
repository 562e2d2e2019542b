"""``pocker rm CONTAINER...``."""

from __future__ import annotations

from pyruntime.commandline.log import LOG
from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import ConfigError, NoSuchContainer, PyruntimeError
from pyruntime.pocker.cli.each import LATEST_FLAG
from pyruntime.pocker.cli.main import LATEST, Context
from pyruntime.pocker.containers.container import Record, forget_names
from pyruntime.pocker.containers.stop import remove, sweep

COMMAND = Command("rm", "[options] CONTAINER...", "remove containers",
                  Flag("force", "bool", "kill running containers; ignore containers that do not exist", short="f"),
                  LATEST_FLAG,
                  Flag("volumes", "bool", "remove the containers' anonymous volumes too", short="v"),
                  least=1, text="Example:\n  pocker rm -f web")


def run(context: Context, parsed: Parsed) -> int:
    """Remove them."""
    sweep(context.places, context.warn)
    status = 0
    for name in parsed.arguments:
        try:
            removed = _remove(context, name, force=parsed["force"], volumes=parsed["volumes"])
            out(f"{removed if name == LATEST else name}\n")
        except PyruntimeError as error:
            LOG.error(error)
            status = 1
    return status


def _remove(context: Context, name: str, *, force: bool, volumes: bool) -> str:
    """Remove one container and return its name."""
    try:
        container = context.find(name)
        try:
            record = container.read()
        except ConfigError:   # its record is damaged: the directory and the name can still be removed
            if not force:
                raise
            record = Record(id=container.id, name=container.id)
        remove(container, record, force=force, volumes=volumes)
        if record.name == container.id:
            forget_names(context.places)
        return record.name
    except NoSuchContainer:
        if not force:
            raise
        return name
