"""A container as a document, with Docker's names: `inspect`, and the templates of `ps`."""

from __future__ import annotations

import os

from pyruntime.networks import endpoints
from pyruntime.networks.inspect import settings_of
from pyruntime.pocker.containers.host_config import host_config
from pyruntime.pocker.containers.status import PAUSED, RESTARTING, RUNNING, status_of
from pyruntime.pocker.image_inspect import config_of
from pyruntime.system.environment import last_of_each
from pyruntime.system.json import NullList, decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.containers.container import Container, ContainerRecord
    from pyruntime.pocker.containers.status import Status
    from pyruntime.pocker.settings import MountPoint

NEVER = "0001-01-01T00:00:00Z"   # Docker's value for a time that is not set


def describe(container: Container, record: ContainerRecord, status: Status | None = None) -> dict[str, Any]:
    """The document of `pocker inspect`."""
    status = status or status_of(container)
    args = program(record)
    settings, config = record.settings, record.image_config
    return {
        "Id": record.id, "Name": f"/{record.name}", "Created": record.created, "Path": args[0] if args else "",
        "Args": args[1:], "Image": record.image_id, "ImageName": record.image, "ImageManifest": record.manifest,
        "Driver": record.driver, "Platform": "linux", "MountLabel": "", "ProcessLabel": "", "ExecIDs": NullList(),
        "ResolvConfPath": f"{container.directory}/resolv.conf", "HostsPath": f"{container.directory}/hosts",
        "HostnamePath": f"{container.directory}/hostname",
        "State": {**state(status), **_health(container, record, status)}, "RestartCount": status.run.restarts,
        "LogPath": f"{container.directory}/log" if settings.logging.driver != "none" else "",
        "ConfigPath": f"{container.directory}/config.json", "Rootfs": container.rootfs,
        "AppArmorProfile": _apparmor(container),
        "Config": config_of(config, {
            "Image": record.image, "Hostname": settings.hostname or record.id[:12], "Domainname": settings.domainname,
            "User": settings.user or config.get("User") or "", "Tty": settings.terminal, "OpenStdin": settings.stdin,
            "Env": last_of_each([*(config.get("Env") or []), *settings.env]),
            "Cmd": list(settings.args) or (None if settings.entrypoint is None else NullList()),
            "Entrypoint": None if settings.entrypoint is None else list(settings.entrypoint),
            "WorkingDir": settings.workdir or config.get("WorkingDir") or "/",
            "Labels": labels(record), "StopSignal": settings.stop_signal or config.get("StopSignal") or "SIGTERM",
            "StopTimeout": settings.stop_timeout, "Healthcheck": settings.health.document() or None}),
        "HostConfig": host_config(settings), "Mounts": [_mount(container, mount) for mount in settings.mounts],
        "NetworkSettings": settings_of(endpoints.read(container.places.networks, record.id)),
        "Settings": settings.document()}


def sizes_of(container: Container, record: ContainerRecord) -> dict[str, int]:
    """SizeRw, the bytes that the container has written, and SizeRootFs, with its image."""
    # lazy: only for images
    from pyruntime.images.lookup import by_manifest
    from pyruntime.pocker.containers.diff import written

    own = written(container)
    return {"SizeRw": own, "SizeRootFs": own + by_manifest(container.places.store, record.manifest).size}


def _apparmor(container: Container) -> str:
    """The AppArmor profile of the last start; "" before the first start."""
    if not os.path.exists("/sys/module/apparmor"):
        return ""
    try:
        with open(f"{container.directory}/config.json", "rb") as file:
            document = decode(file.read(), "config.json")
    except FileNotFoundError:
        return ""
    assert isinstance(document, dict)
    return str(document["process"].get("apparmorProfile", "unconfined"))


def _mount(container: Container, mount: MountPoint) -> dict[str, Any]:
    result = {"Type": mount.kind, "Source": mount.source, "Destination": mount.target, "RW": not mount.read_only,
              "Mode": ",".join(mount.options)}
    if mount.kind == "volume":
        from pyruntime.pocker.volumes import data  # lazy: only with volumes

        result |= {"Name": mount.source, "Source": data(container.places, mount.source), "Driver": "local"}
    return result


def program(record: ContainerRecord) -> list[str]:
    """The command of the container: entrypoint and arguments."""
    settings, config = record.settings, record.image_config
    if settings.entrypoint is not None:
        return [*settings.entrypoint, *settings.args]
    return [*(config.get("Entrypoint") or []), *(settings.args or config.get("Cmd") or [])]


def labels(record: ContainerRecord) -> dict[str, str]:
    """The labels of the image, overridden by those of the container."""
    return {**(record.image_config.get("Labels") or {}), **record.settings.labels}


def _health(container: Container, record: ContainerRecord, status: Status) -> dict[str, Any]:
    from pyruntime.pocker.containers.health import health_of  # lazy: only with a health check

    found = health_of(container, record, status.run)
    return {"Health": found.shown()} if found else {}


def state(status: Status) -> dict[str, Any]:
    """``State`` of `inspect`."""
    end = status.exit
    return {
        "Status": status.word, "Running": status.word in (RUNNING, PAUSED), "Paused": status.word == PAUSED,
        "Dead": False, "Restarting": status.word == RESTARTING, "OOMKilled": bool(end and end.oom), "Pid": status.pid,
        "ExitCode": end.status if end else 0, "Error": end.error if end else "",
        "StartedAt": status.run.started or NEVER, "FinishedAt": (end and end.finished) or NEVER,
        "MonitorPid": status.run.monitor[0] if status.run.watched() else 0}
