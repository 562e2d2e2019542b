"""``pocker load``."""

from __future__ import annotations

from pyruntime.commandline.parse import Parsed
from pyruntime.images.cli import load as there
from pyruntime.pocker.cli.borrowed import borrowed
from pyruntime.pocker.cli.main import PockerContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.copy import Copied

COMMAND = borrowed(there, "load", "load -i web.tar")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Load all images and print their names, in Docker's words."""
    # lazy: only for images
    from pyruntime.images.lookup import find
    from pyruntime.images.reference import familiar

    store = context.places.store

    def told(names: list[str], copied: Copied) -> str:
        if not names:
            return f"Loaded image ID: {find(store, copied.root.digest).id}\n"
        return "".join(f"Loaded image: {familiar(name)}\n" for name in names)
    return there.load(context.images, parsed, told)
