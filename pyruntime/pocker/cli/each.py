"""Commands that act on several containers: a failure is logged, and the other containers are still processed."""

from __future__ import annotations

from pyruntime.commandline.log import LOG
from pyruntime.commandline.parse import Flag
from pyruntime.commandline.program import out
from pyruntime.errors import PyruntimeError, StateError
from pyruntime.pocker.cli.main import LATEST, Context
from pyruntime.pocker.containers.status import status_of

LATEST_FLAG = Flag("latest", "argument", "use the last created container instead of a name", short="l")
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyruntime.pocker.containers.container import Container, Record


def each(context: Context, names: Sequence[str], act: Callable[[Container, Record], str | None], *,
         only: str = "") -> int:
    """Call ``act`` for each named container and print its answer, or the name; 1 if one of them failed.

    ``only``: the status that a container must have; any other status is an error.
    """
    status = 0
    for name in names:
        try:
            container = context.find(name)
            record = container.read()
            if only and (word := status_of(container).word) != only:
                raise StateError(f'container "{record.name}" is not {only}: it is {word}')
            answer = act(container, record)
            out(f"{(record.name if name == LATEST else name) if answer is None else answer}\n")
        except PyruntimeError as error:
            LOG.error(error)
            status = 1
    return status
