"""Other limits and another restart policy for a container that is there, running or not."""

from __future__ import annotations

from pyruntime.errors import StateError, UsageError
from pyruntime.pocker import events as history
from pyruntime.pocker.containers.status import status_of
from pyruntime.pocker.options import resources as limits
from pyruntime.pocker.options import restart_log_health as living
from pyruntime.runtime.api import Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.containers.container import Container

# What linux.resources.memory says without being asked for by a flag of `update`, and the flags that ask.
_MEMORY = {"limit": ("memory", "mem"), "swap": ("memory", "mem", "memory-swap"),
           "reservation": ("memory-reservation",)}


def update(container: Container, given: dict[str, Any]) -> None:
    """Change what the flags say; the rest stays. All or nothing.

    Raises UsageError, HostError for what this machine cannot limit, StateError.
    """
    with container.lock():
        record = container.read()
        settings = record.settings
        if "restart" in given:
            policy, limit = living.restart(given["restart"])
            if settings.remove and policy != "no":
                raise UsageError(f'--restart "{given["restart"]}": container "{record.name}" is removed when it has'
                                 " ended (--rm)")
            settings.restart, settings.restart_limit = policy, limit
        change = _resources(settings.limits, given)
        if change:
            for name, part in change.items():
                settings.limits[name] = {**settings.limits.get(name, {}), **part}
            if status_of(container).pid:
                _apply(container, change)
        container.write(record)
    history.of_container(container.places, record, "update")


def _resources(present: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What is to be changed of linux.resources."""
    known = dict(given)
    if not {"memory", "mem"} & known.keys() and (limit := present.get("memory", {}).get("limit")):
        known["memory"] = str(limit)   # the others are compared with it
    memory = {name: value for name, value in limits.memory(known).items() if given.keys() & set(_MEMORY.get(name, ()))}
    pids = limits.pids(given)
    if -1 in (given.get("pids-limit"), given.get("pids")):
        pids = {"limit": -1}
    parts = {"memory": memory, "cpu": limits.cpu(given), "pids": pids, "blockIO": limits.block_io(given)}
    return {name: part for name, part in parts.items() if part}


def _apply(container: Container, change: dict[str, Any]) -> None:
    try:
        Runtime(container.places.runtime).update(container.id, change)
    except StateError:
        if status_of(container).pid:   # else it has ended this very moment, and the next start knows
            raise
