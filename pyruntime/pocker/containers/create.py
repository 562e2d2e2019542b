"""Create a container: its ID, its name, the layers of its image, and its record."""

from __future__ import annotations

import os

from pyruntime.errors import UsageError
from pyruntime.images.snapshots.choose import choose
from pyruntime.images.store import trees
from pyruntime.pocker import events as history
from pyruntime.pocker.containers.container import Container, ContainerRecord, claim, find, unclaimed
from pyruntime.system.files import write
from pyruntime.system.names import new_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.lookup import Image
    from pyruntime.images.store.extract import Talk
    from pyruntime.pocker.directories import Directories
    from pyruntime.pocker.settings import ContainerSettings


def create(places: Directories, image: Image, asked: str, settings: ContainerSettings, *, name: str = "",
           driver: str = "",
           talk: Talk | None = None) -> tuple[Container, ContainerRecord]:
    """Create a container from an image of the local store. ``asked`` is the name of the image in the command.

    Raises ContainerExists for a name that is in use, ImageError, HostError, UsageError; nothing is left then.
    """
    container_id = new_id()
    record = ContainerRecord(id=container_id, name=name or invented_name(), image=asked, image_id=image.id,
                    manifest=image.descriptor.digest, image_config=image.config.config, settings=settings)
    _complete(places, record)
    store = places.store
    places.below("containers")
    made = unclaimed(places, container_id)
    lasting = not settings.remove   # a container that is removed at its exit need not survive a power failure
    with store.lease():
        there = store.extract_layers(image.layers(), talk=talk)
        record.driver = driver_of(places, driver)
        os.mkdir(made, 0o700)
        try:
            mark = store.add_bundle(Container(places, container_id).directory, at=made, driver=record.driver,
                                    manifest=image.descriptor.digest, layers=there, lasting=lasting)
            try:
                write(f"{made}/container.json", record.encoded(), sync=lasting)
                container = claim(places, record, made)
            except BaseException:
                store.remove_bundle(mark)
                raise
        except BaseException:
            trees.remove(made)
            raise
    if record.settings.mounts:
        _make_volumes(container, record)
    history.of_container(places, record, "create")
    return container, record


def _complete(places: Directories, record: ContainerRecord) -> None:
    """Add what the image declares to the settings of the record. Raises UsageError for a container without a program,
    NoSuchContainer for a link to a container that does not exist."""
    settings, declared = record.settings, record.image_config
    by_image = settings.entrypoint is None and (declared.get("Entrypoint") or declared.get("Cmd"))
    if not settings.args and not settings.entrypoint and not by_image:
        raise UsageError(f'the image "{record.image}" declares no command: give a command after the image')
    if settings.health.changed() or declared.get("Healthcheck"):
        from pyruntime.pocker.containers.health import completed  # lazy: only with a health check

        settings = settings.replace(health=completed(settings.health, declared.get("Healthcheck")))
    if settings.links:   # by their IDs: a container keeps its ID when it is renamed
        settings = settings.replace(links={alias: find(places, name).id for alias, name in settings.links.items()})
    record.settings = settings
    if settings.userns not in ("", "host"):
        from pyruntime.pocker.containers.user_namespaces import take_ids  # lazy: only with a user namespace

        take_ids(places, record)
    if settings.volumes_from or settings.mounts or declared.get("Volumes"):
        from pyruntime.pocker.containers.mounts import complete  # lazy: only with mounts

        complete(places, record)


def _make_volumes(container: Container, record: ContainerRecord) -> None:
    """Make the volumes that do not exist. The record names them already, so that none is removed in the meantime."""
    from pyruntime.pocker import volumes  # lazy: only with volumes

    try:
        volumes.make_all(container.places, record)
    except BaseException:
        from pyruntime.pocker.containers.stop import discard  # lazy: only after a failure

        with container.lock():
            discard(container, record, volumes=True)
        raise


def driver_of(places: Directories, name: str = "") -> str:
    """The storage driver of new containers: the named one, or the best one that works, which is determined once."""
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
    """A name of two words and a number."""
    number = int.from_bytes(os.urandom(6), "little")
    first, rest = _FIRST[number % len(_FIRST)], number // len(_FIRST)
    second, rest = _SECOND[rest % len(_SECOND)], rest // len(_SECOND)
    return f"{first}_{second}_{rest % 10000}"
