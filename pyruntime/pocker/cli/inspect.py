"""``pocker inspect NAME...``."""

from __future__ import annotations

from pyruntime.commandline.log import LOG
from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.errors import NoSuchContainer, NoSuchImage, NoSuchNetwork, NoSuchVolume, PyruntimeError, UsageError
from pyruntime.pocker.cli.documents import FORMAT, show
from pyruntime.pocker.cli.each import LATEST_FLAG
from pyruntime.pocker.cli.main import PockerContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SIZE = Flag("size", "bool", "add the sizes of containers: SizeRw and SizeRootFs", short="s")
COMMAND = Command("inspect", "[options] NAME...",
                  "show detailed information about containers, images, networks and volumes",
                  FORMAT, LATEST_FLAG, SIZE,
                  Flag("type", "str", "inspect only this kind: container, image, network or volume", value="KIND"),
                  least=1,
                  text="Example:\n  pocker inspect -f '{{.State.ExitCode}}' web")


def _container(context: PockerContext, name: str, *, sizes: bool) -> dict[str, Any]:
    return context.engine.inspect(context.find(name).id, sizes=sizes)


def _image(context: PockerContext, name: str, *, sizes: bool) -> dict[str, Any]:
    # lazy: only for images
    from pyruntime.images.lookup import find
    from pyruntime.pocker.image_inspect import describe

    return describe(find(context.places.store, name))


def _network(context: PockerContext, name: str, *, sizes: bool) -> dict[str, Any]:
    # lazy: only for networks
    from pyruntime.networks import definitions as networks
    from pyruntime.networks.inspect import picture

    with networks.lock(context.places.networks):
        network = networks.find(context.places.networks, name)
    return picture(context.places.networks, network)


def _volume(context: PockerContext, name: str, *, sizes: bool) -> dict[str, Any]:
    from pyruntime.pocker.volumes import describe, find, users  # lazy: only with volumes

    return {**describe(context.places, find(context.places, name)), "Containers": users(context.places).get(name, [])}


KINDS: dict[str, Callable[..., dict[str, Any]]] = {"container": _container, "image": _image, "network": _network,
                                                   "volume": _volume}   # in the order of the search


def run(context: PockerContext, parsed: Parsed) -> int:
    """Show the objects that are found, and log an error for each of the others."""
    if parsed["type"] and parsed["type"] not in KINDS:
        raise UsageError(f'--type "{parsed["type"]}": write {" or ".join(KINDS)}')
    return inspect(context, parsed, [parsed["type"]] if parsed["type"] else list(KINDS), sizes=parsed["size"])


def inspect(context: PockerContext, parsed: Parsed, kinds: list[str], *, sizes: bool = False) -> int:
    """Show the named objects of these kinds; 1 if one of them was not found."""
    found, status = [], 0
    for name in parsed.arguments:
        try:
            found.append(_find(context, name, kinds, sizes=sizes))
        except PyruntimeError as error:
            LOG.error(error)
            status = 1
    show(parsed["format"], found)
    return status


def _find(context: PockerContext, name: str, kinds: list[str], *, sizes: bool) -> dict[str, Any]:
    for kind in kinds:
        try:
            return KINDS[kind](context, name, sizes=sizes)
        except (NoSuchContainer, NoSuchImage, NoSuchNetwork, NoSuchVolume):
            if len(kinds) == 1:
                raise
        except UsageError:   # the name is not valid for this kind
            if len(kinds) == 1:
                raise
    raise NoSuchContainer(f'no such object: "{name}"')
