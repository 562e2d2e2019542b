"""Where an argument of a command says that an image is, as a source or a target."""

from __future__ import annotations

from pyruntime.cli.image.main import Context
from pyruntime.cli.parse import Parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.image.transport.base import Source, Target
    from pyruntime.image.transport.location import Location


def source_of(context: Context, parsed: Parsed, text: str) -> Source:
    """The image at ``text``."""
    from pyruntime.image.transport.location import Location, only

    location = Location.parse(text)
    if location.kind == "docker":
        from pyruntime.cli.image.remote import remote_source
        return remote_source(context, parsed, location.path)
    if location.kind == "store":
        from pyruntime.image.images import find_root
        from pyruntime.image.transport.local import StoreSource
        descriptor, names, _ = find_root(context.store, location.path)
        return StoreSource(context.store, descriptor, names)
    return only(location, context.scratch)


def target_of(context: Context, parsed: Parsed, location: Location) -> Target:
    """A target at a location that is not in the store."""
    if location.kind == "docker":
        from pyruntime.cli.image.remote import remote_target
        return remote_target(context, parsed, location.path)
    from pyruntime.image.transport.location import target
    return target(location)
