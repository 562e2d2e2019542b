"""``pyimage rm``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.images.cli.main import Context
from pyruntime.images.cli.prune import collected_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

COMMAND = Command("rm", "[options] IMAGE...", "remove images",
                  Flag("force", "bool", "remove images in use, or with several names by ID; ignore missing images",
                       short="f"),
                  Flag("no-prune", "bool", "remove only the name"), least=1, text="""
Removes a name, and then the blobs and layers that no other name and no bundle uses. An ID stands for all
names of the image.""")


def run(context: Context, parsed: Parsed) -> int:
    """Remove the names, then the content that nothing uses. A name that cannot be removed does not keep the rest."""
    return remove(context, parsed, lambda path: f'the bundle "{path}"', lambda name: f"untagged: {name}\n", "deleted")


def remove(context: Context, parsed: Parsed, user: Callable[[str], str], untagged: Callable[[str], str],
           deleted: str) -> int:
    """The same; ``user`` names the owner of a bundle's path, ``untagged`` and ``deleted`` are words of the output."""
    from pyruntime.errors import ImageError, NoSuchImage  # lazy: only when the command runs

    failed = 0
    for text in parsed.arguments:
        try:
            out("".join(map(untagged, context.images.remove(text, force=parsed["force"], user=user))))
        except ImageError as error:
            if not (parsed["force"] and isinstance(error, NoSuchImage)):
                context.error(error)
                failed = 1
    if not parsed["no-prune"]:
        out("".join(f"{line}\n" for line in collected_lines(context.store.collect(), deleted)))
    return failed
