"""``pocker rmi``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.errors import NoSuchContainer
from pyruntime.images.cli import rm as there
from pyruntime.pocker.cli.borrowed import note_image
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.containers.container import Container
from pyruntime.pocker.containers.stop import sweep

COMMAND = Command("rmi", "[options] IMAGE...", "remove images",
                  Flag("force", "bool", "also remove images with several tags, and images that containers use",
                       short="f"),
                  Flag("no-prune", "bool", "remove only the tag"), least=1,
                  text="Removes the tag, then the image if no other tag and no container needs it. The layers that a\n"
                       "container needs stay until the container is removed.\n\nExample:\n  pocker rmi debian:bookworm")


def _untagged(name: str) -> str:
    """The line for a removed tag; empty for an image without a tag."""
    # lazy: only for images
    from pyruntime.images.reference import familiar
    from pyruntime.images.store.names import is_nameless

    return "" if is_nameless(name) else f"Untagged: {familiar(name)}\n"


def run(context: PockerContext, parsed: Parsed) -> int:
    """Remove them."""
    sweep(context.places, context.warn)
    containers = f"{context.places.root}/containers/"

    def user(path: str) -> str:
        if not path.startswith(containers):
            return f'the bundle "{path}"'
        try:
            record = Container(context.places, path.removeprefix(containers)).read()
        except NoSuchContainer:
            return f"container {path.removeprefix(containers)[:12]}"
        return f'container "{record.name}"'

    status = there.remove(context.images, parsed, user, _untagged, "Deleted")
    if status == 0:
        for name in parsed.arguments:
            note_image(context, "untag", name)
    return status
