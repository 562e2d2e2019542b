"""A container's beginning: an ID, a name, an image's layers, and its record."""

from __future__ import annotations

import os

from pyruntime.errors import UsageError
from pyruntime.images.snapshots.choose import choose
from pyruntime.images.store import trees
from pyruntime.pocker import events as history
from pyruntime.pocker.containers.container import Container, Record, claim, find, unclaimed
from pyruntime.system.files import write
from pyruntime.system.json import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.lookup import Image
    from pyruntime.images.store.extract import Talk
    from pyruntime.pocker.directories import Places
    from pyruntime.pocker.options.settings import Settings


def create(places: Places, image: Image, asked: str, settings: Settings, *, name: str = "", driver: str = "",
           talk: Talk | None = None) -> tuple[Container, Record]:
    """Make a container of an image that is here, to be started. ``asked`` is how the image was named.

    Raises ContainerExists for a name that is taken, and what goes wrong with layers and drivers; nothing is left then.
    """
    container_id = os.urandom(32).hex()
    record = Record(id=container_id, name=name or invented_name(), image=asked, image_id=image.id,
                    manifest=image.descriptor.digest, image_config=image.config.config, settings=settings)
    _complete(places, record)
    store = places.store
    places.below("containers")
    made = unclaimed(places, container_id)
    lasting = not settings.remove   # one that goes with its program need not survive a power failure
    with store.lease():
        there = store.extract_layers(image.layers(), talk=talk)
        record.driver = driver_of(places, driver)
        os.mkdir(made, 0o700)
        try:
            mark = store.add_bundle(Container(places, container_id).directory, at=made, driver=record.driver,
                                    manifest=image.descriptor.digest, layers=there, lasting=lasting)
            try:
                write(f"{made}/container.json", encode(record.document()).encode(), sync=lasting)
                container = claim(places, record, made)
            except BaseException:
                store.remove_bundle(mark)
                raise
        except BaseException:
            trees.remove(made)
            raise
    if settings.mounts:
        _make_volumes(container, record)
    history.of_container(places, record, "create")
    return container, record


def _complete(places: Places, record: Record) -> None:
    """What the image says of the settings that stand in the record. Raises UsageError for what cannot run."""
    settings, says = record.settings, record.image_config
    by_image = settings.entrypoint is None and (says.get("Entrypoint") or says.get("Cmd"))
    if not settings.args and not settings.entrypoint and not by_image:
        raise UsageError(f'the image "{record.image}" does not say what to run: give a command after it')
    if settings.health or says.get("Healthcheck"):
        from pyruntime.pocker.options.restart_log_health import whole_health

        settings.health = whole_health(settings.health, says.get("Healthcheck"))
    for alias, name in settings.links.items():
        settings.links[alias] = find(places, name).id   # whatever it is called later
    if settings.userns not in ("", "host"):
        from pyruntime.pocker.options.namespaces import take_ids

        take_ids(places, record)
    if settings.volumes_from or settings.mounts or says.get("Volumes"):
        from pyruntime.pocker.options.mounts import complete

        complete(places, record)


def _make_volumes(container: Container, record: Record) -> None:
    """Make the volumes that are not there. The record names them already: nobody removes them meanwhile."""
    from pyruntime.pocker import volumes

    try:
        volumes.make_all(container.places, record)
    except BaseException:
        from pyruntime.pocker.containers.stop import discard

        with container.lock():
            discard(container, record, volumes=True)
        raise


def driver_of(places: Places, name: str = "") -> str:
    """The snapshot driver for our containers: the one that is named, or the best one, which is found out once."""
    if name:
        return choose(name, places.store, places.root, lasting=False).name
    path = f"{places.root}/driver"
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        places.below()
        found = choose("", places.store, places.root, lasting=False).name
        write(path, f"{found}\n".encode())
        return found


_FIRST = """
    amber able brave brisk calm clear clever cosy daring deft eager early fair fleet fond gentle glad golden
    good happy hardy honest jolly keen kind lively lucky merry mild neat nimble noble patient plain proud
    quick quiet ready rosy sharp silver simple sleek smart snug solid spry steady sunny swift tidy tiny true
    vivid warm wise witty young zesty
    """.split()   # noqa: SIM905  the list would be a screen long
_SECOND = """
    acorn alder badger beacon birch bobcat brook canyon cedar cliff comet copper coral crane creek daisy delta
    ember falcon fern finch fjord glade harbor hazel heron island ivy jasper juniper kestrel lagoon lantern
    larch linnet lotus maple marten meadow mesa otter owl pebble pine plover prairie quartz raven reed ridge
    robin sparrow spruce summit thistle tide valley walnut willow wren
    """.split()   # noqa: SIM905  the list would be a screen long


def invented_name() -> str:
    """A name that can be said; there are some thousand of them, and a number of their own keeps them apart."""
    number = int.from_bytes(os.urandom(6), "little")
    first, rest = _FIRST[number % len(_FIRST)], number // len(_FIRST)
    second, rest = _SECOND[rest % len(_SECOND)], rest // len(_SECOND)
    return f"{first}_{second}_{rest % 10000}"
