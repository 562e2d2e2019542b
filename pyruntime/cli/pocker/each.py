"""Commands that do the same to several containers: what fails for one is told, and the others have their turn."""

from __future__ import annotations

from pyruntime.cli.log import LOG
from pyruntime.cli.parse import Flag
from pyruntime.cli.pocker.main import Context
from pyruntime.cli.program import out
from pyruntime.engine.container import LATEST, find
from pyruntime.engine.status import status_of
from pyruntime.errors import PyruntimeError, StateError

LATEST_FLAG = Flag("latest", "argument", "the container that was created last, instead of a name", short="l")
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyruntime.engine.container import Container, Record


def each(context: Context, names: Sequence[str], act: Callable[[Container, Record], str | None], *,
         only: str = "") -> int:
    """Call ``act`` with each container that is named and print its answer, or the name; 1 where one of them failed.

    ``only``: to those alone that have this status; it is an error for the others.
    """
    status = 0
    for name in names:
        try:
            container = find(context.places, name)
            record = container.read()
            if only and (word := status_of(container).word) != only:
                raise StateError(f'container "{record.name}" is not {only}: it is {word}')
            answer = act(container, record)
            out(f"{(record.name if name == LATEST else name) if answer is None else answer}\n")
        except PyruntimeError as error:
            LOG.error(error)
            status = 1
    return status
