"""Whether a container has networks, for commands whose answer is often no.

The rest of this package takes 3 ms to import.
"""

from __future__ import annotations

import os

NONE, HOST, CONTAINER = "none", "host", "container:"   # the modes without our networks


def has_endpoint(run: str, container_id: str) -> bool:
    """Whether a container has an endpoint below the directory RUN."""
    return os.path.exists(f"{run}/networks/containers/{container_id}")


def in_use(run: str) -> bool:
    """Whether any container has an endpoint, or a network is up."""
    return any(_names(f"{run}/networks/{name}") for name in ("containers", "up"))


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
