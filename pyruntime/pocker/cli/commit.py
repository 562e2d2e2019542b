"""``pocker commit CONTAINER [NAME]``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.pocker.cli.import_ import CHANGE
from pyruntime.pocker.cli.main import PockerContext

COMMAND = Command(
    "commit", "[options] CONTAINER [NAME[:TAG]]", "create an image from a container's changes",
    Flag("author", "str", "author of the image", short="a", value="NAME"),
    CHANGE,
    Flag("message", "str", "commit message, for the history", short="m", value="TEXT"),
    Flag("pause", "bool", "pause the container during the commit", short="p", default=True), least=1, most=2,
    text="The container's changes to its files become a layer on top of its image. The content of volumes\n"
         "is not included. Prints the image's ID. Without NAME, the image is dangling.\n\n"
         "Example:\n  pocker commit -m 'with my settings' -c 'CMD [\"serve\"]' web web:2")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Create the image and tag it."""
    container, *name = parsed.arguments
    image_id = context.engine.commit(context.find(container).id, name="".join(name), author=parsed["author"],
                                     message=parsed["message"], changes=parsed["change"], pause=parsed["pause"])
    out(f"{image_id}\n")
    return 0
