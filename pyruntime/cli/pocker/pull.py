"""``pocker pull``."""

from __future__ import annotations

from pyruntime.cli.image import pull as there
from pyruntime.cli.parse import parse
from pyruntime.cli.pocker.borrowed import as_there, borrowed, note_image
from pyruntime.cli.pocker.main import Context

COMMAND = borrowed(there, "pull", "pull debian:bookworm")
run = as_there(there, "pull")


def pull(context: Context, text: str, platform: str = "", *, quiet: bool = False) -> str:
    """Pull one image, as the command without further flags does; its name."""
    from pyruntime.image.platform import Platform

    parsed = parse(there.COMMAND, [*(["--quiet"] if quiet else []), "--", text])
    images = context.images
    images.store   # noqa: B018  may enter a user namespace: before any thread or connection
    name: str = there.pull(images, parsed, text.removeprefix("docker://"),
                           Platform.parse(platform) if platform else None)[0]
    note_image(context, "pull", text)
    return name
