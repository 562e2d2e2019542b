"""linux.cgroupsPath: where the container's cgroup is in each hierarchy.

Spec:   config-linux.md#cgroups-path
Rules:  absolute  relative to the hierarchy's mount point
        relative  v1: below the cgroup of the runtime; v2: a sibling of it, because a cgroup that contains processes
                  (the runtime) cannot delegate controllers to its children (cgroups(7), "no internal processes")
        absent    the container's ID as a relative path
"""

from __future__ import annotations

from pyruntime.errors import ConfigError, Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.runtime.cgroups.host import CgroupHost, Hierarchy

SPEC = "config-linux.md#cgroups-path"


def clean(path: str) -> str:
    """``path`` as an absolute path without ``.``, ``..`` and double slashes; ``..`` does not go above ``/``."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def place(hierarchy: Hierarchy, path: str, *, beside: bool) -> str:
    """The absolute directory of the cleaned or relative ``path`` in one hierarchy."""
    if path.startswith("/"):
        return hierarchy.mountpoint + clean(path)
    base = hierarchy.own.rpartition("/")[0] if beside else hierarchy.own
    return hierarchy.mountpoint + base.rstrip("/") + clean(path)


def container_paths(cgroups_path: str, container_id: str, host: CgroupHost) -> dict[str, str]:
    """The directory of the container's cgroup in every hierarchy, by the hierarchy's key (empty: v2, last).

    All hierarchies are used, even those without a limit: ``pause`` needs the freezer, ``ps`` and ``kill`` need any
    hierarchy, and a container that stayed in the runtime's own cgroup would be charged to it.

    Raises ConfigError for the root of a hierarchy: its limits would apply to the host.
    """
    if cgroups_path and clean(cgroups_path) == "/":
        raise ConfigError("config.json", [Problem(
            "linux.cgroupsPath", f'"{cgroups_path}" is the root of the cgroup hierarchies',
            f'write a path below it, for example "/{container_id}"', SPEC)])
    path = cgroups_path or container_id
    beside = host.layout == "v2"
    return {hierarchy.key: place(hierarchy, path, beside=beside) for hierarchy in host.all()}
