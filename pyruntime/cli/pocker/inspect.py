"""``pocker inspect NAME...``."""

from __future__ import annotations

from pyruntime.cli.image.show import describe as describe_image
from pyruntime.cli.image.show import show
from pyruntime.cli.log import LOG
from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.pocker.main import Context
from pyruntime.engine.container import find
from pyruntime.engine.describe import describe
from pyruntime.errors import NoSuchContainer, NoSuchImage, NoSuchVolume, PyruntimeError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

COMMAND = Command("inspect", "[options] NAME...", "show everything about containers, images and volumes",
                  Flag("format", "str", "json, or a template such as '{{.State.Status}}'", short="f", default="json"),
                  Flag("type", "str", "look for container, image or volume alone", value="KIND"), least=1,
                  text="Example:\n  pocker inspect -f '{{.State.ExitCode}}' web")


def _container(context: Context, name: str) -> dict[str, Any]:
    container = find(context.places, name)
    return describe(container, container.read())


def _image(context: Context, name: str) -> dict[str, Any]:
    from pyruntime.image.images import find as find_image

    return describe_image(find_image(context.places.store, name))


def _volume(context: Context, name: str) -> dict[str, Any]:
    from pyruntime.engine.volumes import describe as describe_volume
    from pyruntime.engine.volumes import find as find_volume

    return describe_volume(context.places, find_volume(context.places, name))


KINDS: dict[str, Callable[[Context, str], dict[str, Any]]] = {"container": _container, "image": _image,
                                                              "volume": _volume}


def run(context: Context, parsed: Parsed) -> int:
    """Show what is found; what is not found is told, and the rest is shown."""
    if parsed["type"] and parsed["type"] not in KINDS:
        raise UsageError(f'--type "{parsed["type"]}": write {" or ".join(KINDS)}')
    found, status = [], 0
    for name in parsed.arguments:
        try:
            found.append(_find(context, name, [parsed["type"]] if parsed["type"] else list(KINDS)))
        except PyruntimeError as error:
            LOG.error(error)
            status = 1
    show(parsed["format"], found)
    return status


def _find(context: Context, name: str, kinds: list[str]) -> dict[str, Any]:
    for kind in kinds:
        try:
            return KINDS[kind](context, name)
        except (NoSuchContainer, NoSuchImage, NoSuchVolume):
            if len(kinds) == 1:
                raise
        except UsageError:   # it cannot be the name of one
            if kind == kinds[-1]:
                raise
    raise NoSuchContainer(f'there is no container, image or volume "{name}"')
