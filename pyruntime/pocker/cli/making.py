"""Shared by `create` and `run`: pull a missing image, and create a container from the image."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Parsed
from pyruntime.errors import ImageError, NoSuchImage, UsageError
from pyruntime.images.lookup import find
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.containers.create import create
from pyruntime.pocker.containers.stop import sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.lookup import Image
    from pyruntime.images.platform import Platform
    from pyruntime.pocker.containers.container import Container, ContainerRecord
    from pyruntime.pocker.settings import ContainerSettings

PULL = ("always", "missing", "never")


def check_making(parsed: Parsed) -> None:
    """Raise UsageError for wrong values of flags, before anything is done."""
    if parsed["pull"] not in PULL:
        raise UsageError(f'--pull "{parsed["pull"]}": write {", ".join(PULL)}')
    if parsed["cidfile"] and os.path.lexists(parsed["cidfile"]):
        raise UsageError(f'--cidfile "{parsed["cidfile"]}" exists: remove it, or name another one')


def make(context: PockerContext, parsed: Parsed, settings: ContainerSettings) -> tuple[Container, ContainerRecord]:
    """Create a container from the image that the command line names. Raises NoSuchImage and other PyruntimeErrors."""
    sweep(context.places, context.warn)
    image = image_for(context, parsed, parsed.arguments[0])
    container, record = create(context.places, image, parsed.arguments[0], settings, name=parsed["name"],
                               driver=context.driver)
    if parsed["cidfile"]:
        _write_id(parsed["cidfile"], container, record)
    return container, record


def image_for(context: PockerContext, parsed: Parsed, text: str) -> Image:
    """The image of this name and of the requested platform; pulled as --pull says."""
    platform = _platform(parsed["platform"]) if parsed["platform"] else None
    when = parsed["pull"]
    if when != "always":
        try:
            return _checked(find(context.places.store, text, platform), platform)
        except ImageError as error:
            # An index in the local store may lack the image of the requested platform: that is pulled, too.
            if platform is None and not isinstance(error, NoSuchImage):
                raise
            if when == "never" or _is_id(text):
                raise
            if not parsed["quiet"]:
                context.say(f'unable to find image "{text}" locally: pulling it')
    from pyruntime.pocker.cli.pull import pull  # lazy: only for a missing image

    name = pull(context, text, parsed["platform"], quiet=parsed["quiet"])
    return find(context.places.store, name, platform)


def _checked(image: Image, platform: Platform | None) -> Image:
    """The image itself, if it is for the platform; its name in a registry may have images for other platforms, too."""
    if platform is not None:
        from pyruntime.images.platform import Platform  # lazy: only with a platform

        there = Platform.of(image.config.document)
        if there and not platform.runs(there):
            raise NoSuchImage(f'the local image is for "{there}", not "{platform}"')
    return image


def _platform(text: str) -> Platform:
    from pyruntime.images.platform import Platform  # lazy: only with a platform

    return Platform.parse(text)


def _is_id(text: str) -> bool:
    return text.startswith("sha256:") or (len(text) == 64 and set(text) <= set("0123456789abcdef"))


def _write_id(path: str, container: Container, record: ContainerRecord) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, container.id.encode())
        finally:
            os.close(fd)
    except OSError as error:
        from pyruntime.pocker.containers.stop import discard  # lazy: only after a failure

        with container.lock():
            discard(container, record, volumes=True)
        raise UsageError(f'--cidfile "{path}": {error.strerror}') from None
