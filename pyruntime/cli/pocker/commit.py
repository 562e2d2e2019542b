"""``pocker commit CONTAINER [NAME]``."""

from __future__ import annotations

from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.pocker.import_ import CHANGE
from pyruntime.cli.pocker.main import Context
from pyruntime.cli.program import out
from pyruntime.engine.commit import commit
from pyruntime.engine.container import find
from pyruntime.image.images import key
from pyruntime.image.reference import Reference

COMMAND = Command(
    "commit", "[options] CONTAINER [NAME[:TAG]]", "make an image of a container",
    Flag("author", "str", "author of the image", short="a", value="NAME"),
    CHANGE,
    Flag("message", "str", "comment in the history", short="m", value="TEXT"),
    Flag("pause", "bool", "pause the container meanwhile", short="p", default=True), least=1, most=2,
    text="What it has changed in its files becomes a layer on top of its image; what is in volumes is left out.\n"
         "Prints the image's ID. Without a name the image is dangling.\n\n"
         "Example:\n  pocker commit -m 'with my settings' -c 'CMD [\"serve\"]' web web:2")


def run(context: Context, parsed: Parsed) -> int:
    """Make the image and give it its name."""
    container = find(context.places, parsed.arguments[0])
    name = key(Reference.parse(parsed.arguments[1])) if len(parsed.arguments) > 1 else ""
    image_id = commit(container, container.read(), author=parsed["author"], message=parsed["message"], name=name,
                      lines=parsed["change"], pause=parsed["pause"], warn=context.warn)
    out(f"{image_id}\n")
    return 0
