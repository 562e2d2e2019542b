"""Commands that act on several containers: a failure is logged, and the other containers are still processed."""

from __future__ import annotations

from pyruntime.commandline.log import LOG
from pyruntime.commandline.parse import Flag
from pyruntime.commandline.program import out
from pyruntime.errors import PyruntimeError
from pyruntime.pocker.cli.main import LATEST, PockerContext

LATEST_FLAG = Flag("latest", "argument", "use the last created container instead of a name", short="l")
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def each(context: PockerContext, names: Sequence[str], act: Callable[[str], object]) -> int:
    """Call ``act`` with the ID of each named container and print the name; 1 if one of them failed."""
    status = 0
    for name in names:
        try:
            container = context.find(name)
            shown = container.read().name if name == LATEST else name
            act(container.id)
            out(f"{shown}\n")
        except PyruntimeError as error:
            LOG.error(error)
            status = 1
    return status
