"""Whether networks have anything to do with it: asked by commands for which the answer is often no.

The rest of this package takes 3 ms to import.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.pocker.containers.container import Record
    from pyruntime.pocker.directories import Places


NONE, HOST, CONTAINER = "none", "host", "container:"   # what there is instead of networks of ours


def wanted(record: Record) -> bool:
    """Whether the container asks for more than ``--network none``."""
    return [entry["name"] for entry in record.settings.networks] != [NONE]


def has_endpoint(places: Places, container_id: str) -> bool:
    """Whether something of networks is written down for a container."""
    return os.path.exists(f"{places.run}/networks/containers/{container_id}")


def in_use(places: Places) -> bool:
    """Whether some container has something of networks, or a network is up."""
    return any(_names(f"{places.run}/networks/{name}") for name in ("containers", "up"))


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
