"""Where an argument of a command says that an image is, as a source or a target."""

from __future__ import annotations

from pyruntime.commandline.parse import Parsed
from pyruntime.images.cli.main import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.transports.base import Source, Target
    from pyruntime.images.transports.location import Location


def source_of(context: Context, parsed: Parsed, text: str) -> Source:
    """The image at ``text``."""
    from pyruntime.images.transports.location import Location, only

    location = Location.parse(text)
    if location.kind == "docker":
        from pyruntime.images.cli.remote import remote_source
        return remote_source(context, parsed, location.path)
    if location.kind == "store":
        from pyruntime.images.lookup import find_root
        from pyruntime.images.transports.local import StoreSource
        descriptor, names, _ = find_root(context.store, location.path)
        return StoreSource(context.store, descriptor, names)
    return only(location, context.scratch)


def target_of(context: Context, parsed: Parsed, location: Location) -> Target:
    """A target at a location that is not in the store."""
    if location.kind == "docker":
        from pyruntime.images.cli.remote import remote_target
        return remote_target(context, parsed, location.path)
    from pyruntime.images.transports.location import target
    return target(location)
