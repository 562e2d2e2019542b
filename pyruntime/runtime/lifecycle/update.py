"""`update`: change the limits of a running container."""

from __future__ import annotations

from pyruntime.errors import ConfigError, StateError
from pyruntime.runtime.cgroups.host import discover
from pyruntime.runtime.cgroups.resources import update as steps
from pyruntime.runtime.cgroups.update import apply
from pyruntime.runtime.config import rules
from pyruntime.runtime.config.check import conforms_resources
from pyruntime.runtime.config.node import Node
from pyruntime.runtime.lifecycle.status import CREATED, PAUSED, RUNNING, status_of
from pyruntime.runtime.lifecycle.store import StateDirectory, StateRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.runtime.cgroups.host import CgroupHost


def update(root: str, container_id: str, resources: dict[str, Any], document: str = "resources") -> None:
    """Apply a ``linux.resources`` object to a container; device rules are not changed.

    All or nothing: if one limit cannot be set, the limits before it are restored. Raises ConfigError with every problem
    of the object, StateError, HostError for a controller that the host lacks, StepError.
    """
    container = StateDirectory(root, container_id)
    record = container.read()
    status = status_of(container, record)
    if status not in (CREATED, RUNNING, PAUSED):
        raise StateError(f'container not running: "{container_id}" is {status}')
    if not conforms_resources(resources):
        from pyruntime.runtime.config.validate import validate  # lazy: jsonschema (60 ms): only to word errors
        raise ConfigError(document, validate(resources, "resources"))
    if problems := rules.resources_problems(Node(resources)):
        raise ConfigError(document, problems)
    host = discover()
    changes = list(steps(Node(resources), host, record.cgroup))
    apply(changes, lambda: _tell_systemd(record, Node(resources), host) if record.unit else None)


def _tell_systemd(record: StateRecord, resources: Node, host: CgroupHost) -> None:
    """Set the properties of the container's unit, so that systemd does not revert the new limits."""
    from pyruntime.runtime.cgroups import systemd, systemd_bus  # lazy: jeepney (30 ms): only for the systemd driver
    from pyruntime.runtime.cgroups.update import cpu_max

    asked = systemd_bus.ask(user=record.user_unit)
    properties = systemd.resource_properties(resources, asked, modern=host.layout == "v2",
                                             cpu_max=cpu_max(record.cgroup))
    if properties:
        systemd_bus.set_properties(record.unit, properties, user=record.user_unit)
