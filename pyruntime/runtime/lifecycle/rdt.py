"""linux.intelRdt: put the container into a class of service of the resctrl filesystem.

Spec: config-linux.md#intelrdt. Kernel: Documentation/filesystems/resctrl.rst.
"""

from __future__ import annotations

import os

from pyruntime.errors import HostError, PyruntimeError
from pyruntime.runtime.lifecycle.store import StateDirectory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.runtime.lifecycle.create import Creation


def join(launch: Creation, *, root: str, closid: str, schemata: list[str], monitor: str,
         container: str) -> Callable[[], None] | None:
    """Put init into the group; return the undo function.

    Without ``closid`` the group belongs to the container and is removed with it. An existing group must have the
    schemata that the configuration names; without schemata the group must exist.
    """
    group = os.path.normpath(os.path.join(root, (closid or container).lstrip("/")))
    if group != root and os.path.dirname(group) != root:
        raise PyruntimeError(f'closID "{closid}" is not the name of a group')
    made: list[str] = []
    exists = os.path.isdir(group)
    if closid and not exists and not schemata:
        raise PyruntimeError(f'closID "{closid}": the group does not exist, and linux.intelRdt has no schemata for it')
    try:
        if not exists:
            os.mkdir(group, 0o755)
            made.append(group)
        if exists and closid and schemata:
            _compare(group, schemata)
        elif schemata:
            for line in schemata:
                _write(os.path.join(group, "schemata"), line + "\n")
        if monitor:
            own = os.path.join(group, "mon_groups", monitor)
            os.mkdir(own, 0o755)
            made.append(own)
        for directory in (group, *([own] if monitor else [])):
            _write(os.path.join(directory, "tasks"), str(launch.process))
    except BaseException:
        _remove(made)
        raise
    # `delete` always removes the monitoring group, and the class only if it was created for this container.
    launch.record.rdt += [path for path in reversed(made) if path != group or not closid]
    return lambda: _remove(made)


def follow(groups: list[str], pid: int) -> None:
    """Put a process that joins a container into the container's groups, the class first: a monitoring group accepts
    only members of its own class."""
    for group in groups:
        _write(os.path.join(group, "tasks"), str(pid))


def _compare(group: str, schemata: list[str]) -> None:
    with open(os.path.join(group, "schemata"), encoding="ascii") as file:
        present = {_normal(part) for part in _split(file.read())}
    for part in _split("\n".join(schemata)):
        if _normal(part) not in present:
            raise PyruntimeError(f'"{part}" is not in the schemata of the group "{group}", which already exists')


def _split(text: str) -> list[str]:
    parts = []
    for line in text.splitlines():
        resource, _, domains = line.strip().partition(":")
        parts += [f"{resource}:{domain}" for domain in domains.split(";") if domain]
    return parts


def _normal(part: str) -> str:
    resource, _, setting = part.replace(" ", "").partition(":")
    domain, _, value = setting.partition("=")
    return f"{resource}:{int(domain)}={value.lower().lstrip('0') or '0'}"


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        status = os.path.join(os.path.dirname(path), "..", "info", "last_cmd_status")
        raise OSError(error.errno or 0, f'write "{text.strip()}" to "{path}": {error.strerror} {_read(status)}'
                      .strip()) from None
    finally:
        os.close(fd)


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return f"({file.read().strip()})"
    except OSError:
        return ""


def _remove(made: list[str]) -> None:
    for path in reversed(made):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            continue


def rewrite(root: str, container_id: str, lines: list[str]) -> None:
    """Replace the schemata of a container's group. Raises HostError for a container that has none."""
    record = StateDirectory(root, container_id).read()
    if not record.rdt:
        raise HostError(f'"{container_id}" has no group in resctrl: its config.json has no linux.intelRdt with a group')
    for line in lines:
        _write(os.path.join(record.rdt[0], "schemata"), line + "\n")
