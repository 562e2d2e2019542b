"""Create an image from a container: its changes become a layer, its settings the configuration."""

from __future__ import annotations

import signal
import sys

from pyruntime.images.lookup import by_manifest
from pyruntime.images.make import changed, derive, timestamp
from pyruntime.images.repack import repack
from pyruntime.pocker import events as history
from pyruntime.pocker.containers import diff as changes
from pyruntime.pocker.containers.status import RUNNING, status_of
from pyruntime.runtime.api import Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.pocker.containers.container import Container, ContainerRecord
    from pyruntime.pocker.settings import HealthCheck


def commit(container: Container, record: ContainerRecord, *, name: str, author: str = "", message: str = "",
           lines: list[str],
           pause: bool = True, warn: Callable[[str], None]) -> str:
    """Create the image; its ID. ``lines`` are Dockerfile instructions; ``name`` may be "".

    ``pause``: pause a running container meanwhile. Raises UsageError, ImageError, HostError.
    """
    store = container.places.store
    config = configuration(record)
    if lines:
        from pyruntime.builder.change import changed as changed_by  # lazy: loads the builder

        config = changed_by(config, lines)
    arguments = record.settings.args or record.image_config.get("Cmd") or []
    with store.lease() as lease:
        lease.add(record.manifest)
        base = by_manifest(store, record.manifest)
        told: dict[str, Any] = {"created": timestamp(), "created_by": " ".join(arguments), "author": author,
                                "comment": message, "changes": config}
        if container.run().prepared:
            with _Pause(container, record, wanted=pause):
                bundle = changes.bundle_of(container, record)
                descriptor, _ = repack(bundle, base, options=changes.options(container, warn), **told)
        else:
            descriptor = derive(store, base, None, **told)
        if name:
            store.tag(name, descriptor)
        store.keep(descriptor)
        image = by_manifest(store, descriptor.digest)
    history.of_container(container.places, record, "commit", comment=message, imageID=image.id, imageRef=name)
    return image.id


def configuration(record: ContainerRecord) -> dict[str, Any]:
    """The image's ``config`` with the settings of the container."""
    settings = record.settings
    change: dict[str, Any] = {}
    if settings.entrypoint is not None:
        change["Entrypoint"] = list(settings.entrypoint)
    if settings.args:
        change["Cmd"] = list(settings.args)
    change |= {name: value for name, value in (
        ("Env", list(settings.env)), ("User", settings.user), ("WorkingDir", settings.workdir),
        ("Labels", dict(settings.labels)), ("StopSignal", settings.stop_signal),
        ("ExposedPorts", {port: {} for port in settings.expose}),
        ("Volumes", {mount.target: {} for mount in settings.mounts if mount.anonymous}),
        ("Healthcheck", _health(settings.health))) if value}
    return changed(record.image_config, change)


def _health(health: HealthCheck) -> dict[str, Any]:
    """The health check in an image's form: times are nanoseconds."""
    if not health.test:
        return {}
    times = {"Interval": "interval", "Timeout": "timeout", "StartPeriod": "start_period",
             "StartInterval": "start_interval"}
    found = {member: int(getattr(health, key) * 10**9) for member, key in times.items() if getattr(health, key)}
    return {"Test": list(health.test), **found, **({"Retries": health.retries} if health.retries else {})}


class _Pause:
    """A context in which a running container is paused. SIGTERM and SIGHUP do not leave it paused."""

    def __init__(self, container: Container, record: ContainerRecord, *, wanted: bool) -> None:
        self._container = container
        self._record = record
        self._wanted = wanted
        self._paused = False
        self._old: dict[int, Any] = {}

    def __enter__(self) -> None:
        if not self._wanted or status_of(self._container).word != RUNNING:
            return
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._old[number] = signal.signal(number, lambda number, frame: sys.exit(128 + number))
        self._paused = True
        Runtime(self._container.places.runtime).pause(self._container.id)
        history.of_container(self._container.places, self._record, "pause")

    def __exit__(self, *_: object) -> None:
        if self._paused:
            Runtime(self._container.places.runtime).resume(self._container.id)
            history.of_container(self._container.places, self._record, "unpause")
        for number, handler in self._old.items():
            signal.signal(number, handler)
