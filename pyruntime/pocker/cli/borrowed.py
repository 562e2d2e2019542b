"""Commands that pocker shares with pyimage: the same flags and the same function, under Docker's names."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.pocker.cli.main import PockerContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


def borrowed(module: ModuleType, name: str, example: str, *, without: tuple[str, ...] = ()) -> Command:
    """The command of a module of pyimage, with an example; ``without`` some of its flags."""
    it: Command = module.COMMAND
    return Command(name, it.usage, it.about, *(flag for flag in it.flags if flag.name not in without), least=it.least,
                   most=it.most, stop_at_argument=it.stop_at_argument,
                   text=f"{it.text.strip()}\n\nExample:\n  pocker {example}".lstrip())


def as_there(module: ModuleType, event: str = "") -> Callable[[PockerContext, Parsed], int]:
    """The function that runs the command. ``event``: the event of the image that the last argument names."""
    def run(context: PockerContext, parsed: Parsed) -> int:
        status: int = module.run(context.images, parsed)
        if event and status == 0 and parsed.arguments:
            note_image(context, event, parsed.arguments[-1])
        return status
    return run


def note_image(context: PockerContext, event: str, name: str) -> None:
    """Record an event of an image, under the name on the command line."""
    from pyruntime.pocker.events import note  # lazy: only for an event

    note(context.places, "image", event, name, {"name": name})
