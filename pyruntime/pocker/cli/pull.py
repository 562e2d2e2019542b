"""``pocker pull REFERENCE...``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed, parse
from pyruntime.commandline.trust import check_trust
from pyruntime.errors import UsageError
from pyruntime.images.cli import pull as there
from pyruntime.images.cli.remote import image_store, registries_of
from pyruntime.pocker.cli.borrowed import as_there, borrowed, note_image
from pyruntime.pocker.cli.main import PockerContext

TRUST = Flag("disable-content-trust", "bool", "accepted for compatibility; image signatures are never verified",
             default=True, hidden=True)
_IT = borrowed(there, "pull", "pull debian:bookworm", without=("all-platforms",))
COMMAND = Command("pull", _IT.usage, _IT.about, *_IT.flags, TRUST,
                  Flag("all-platforms", "bool", "pull the images of all platforms of an index"),
                  Flag("all-tags", "bool", "pull all tags of the repositories", short="a"), least=1, text=_IT.text)
_pull = as_there(there, "pull")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Pull each image and print its name and digest."""
    check_trust(disabled=parsed["disable-content-trust"])
    if parsed["all-tags"]:
        parsed.arguments = [name for text in parsed.arguments for name in _tagged(context, parsed, text)]
    return _pull(context, parsed)


def _tagged(context: PockerContext, parsed: Parsed, text: str) -> list[str]:
    """The repository with each of its tags."""
    reference = registries_of(context.images, parsed).named(text)
    if reference.tag or reference.digest:
        raise UsageError(f'--all-tags "{text}": write the repository without a tag')
    _, tags = image_store(context.images, parsed).repository_tags(text)
    return [str(reference.with_tag(tag)) for tag in tags]


def pull(context: PockerContext, text: str, platform: str = "", *, quiet: bool = False) -> str:
    """Pull one image, as the command without further flags does; its name."""
    parsed = parse(there.COMMAND, [*(["--quiet"] if quiet else []), "--", text])
    images = context.images
    images.store   # noqa: B018  may enter a user namespace: before any thread or connection
    parsed.values["platform"] = platform
    name = there.pull(images, parsed, text)[0]
    note_image(context, "pull", text)
    return name
