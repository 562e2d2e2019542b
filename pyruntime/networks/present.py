"""Whether networks have anything to do with it: asked by commands for which the answer is often no.

The rest of this package takes 3 ms to import.
"""

from __future__ import annotations

import os

NONE, HOST, CONTAINER = "none", "host", "container:"   # what there is instead of networks of ours


def has_endpoint(run: str, container_id: str) -> bool:
    """Whether something of networks is written down for a container below the directory RUN."""
    return os.path.exists(f"{run}/networks/containers/{container_id}")


def in_use(run: str) -> bool:
    """Whether some container has something of networks, or a network is up."""
    return any(_names(f"{run}/networks/{name}") for name in ("containers", "up"))


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
