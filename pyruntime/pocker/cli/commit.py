"""``pocker commit CONTAINER [NAME]``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.images.lookup import key
from pyruntime.images.reference import Reference
from pyruntime.pocker.cli.import_ import CHANGE
from pyruntime.pocker.cli.main import Context
from pyruntime.pocker.containers.commit import commit

COMMAND = Command(
    "commit", "[options] CONTAINER [NAME[:TAG]]", "create an image from a container's changes",
    Flag("author", "str", "author of the image", short="a", value="NAME"),
    CHANGE,
    Flag("message", "str", "commit message, for the history", short="m", value="TEXT"),
    Flag("pause", "bool", "pause the container during the commit", short="p", default=True), least=1, most=2,
    text="The container's changes to its files become a layer on top of its image. The content of volumes\n"
         "is not included. Prints the image's ID. Without NAME, the image is dangling.\n\n"
         "Example:\n  pocker commit -m 'with my settings' -c 'CMD [\"serve\"]' web web:2")


def run(context: Context, parsed: Parsed) -> int:
    """Create the image and tag it."""
    container = context.find(parsed.arguments[0])
    name = key(Reference.parse(parsed.arguments[1])) if len(parsed.arguments) > 1 else ""
    image_id = commit(container, container.read(), author=parsed["author"], message=parsed["message"], name=name,
                      lines=parsed["change"], pause=parsed["pause"], warn=context.warn)
    out(f"{image_id}\n")
    return 0
