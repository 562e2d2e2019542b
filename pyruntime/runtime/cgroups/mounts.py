"""A mount of type ``cgroup``: the container's view of its own cgroup.

Spec:   config.md#mounts (type cgroup), config-linux.md#cgroup-ownership
Emits:  mount, bind, symlink, remount   (phase mounts)

The container sees its own cgroup, never the tree of the host. With a cgroup namespace, a new mount of the filesystem
starts at that cgroup; without it, the container's directory is bind-mounted. For v1 this is a tmpfs with a mount for
every hierarchy, named as on the host, and a link for every controller of a shared hierarchy (``cpu`` ->
``cpu,cpuacct``); a v2 hierarchy in addition to v1 is left out, because programs that find it assume a v2 host.
"""

from __future__ import annotations

from errno import ENOENT

from pyruntime.errors import HostError
from pyruntime.runtime.plan.steps import NO_SLOT, step
from pyruntime.system.uapi import MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyruntime.runtime.cgroups.host import CgroupHost, Hierarchy
    from pyruntime.runtime.config.node import Node
    from pyruntime.runtime.plan.steps import Step

HARMLESS = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC


def emit_mount(mount: Node, host: CgroupHost, cgroup_paths: dict[str, str], *, cgroup_namespace: bool,
               user_namespace: bool, attrs: dict[str, int], dest: str) -> Iterator[Step]:
    """The steps for one entry of ``mounts`` with type ``cgroup``.

    ``cgroup_paths`` are the container's directories by hierarchy key; ``attrs`` are the six attribute fields of the
    mount operations, from the entry's options; ``dest`` is the destination in the container. Raises HostError on a host
    without cgroups.
    """
    if host.layout == "none":
        raise HostError("no cgroup filesystem is mounted: mount one below /sys/fs/cgroup, or remove this mount",
                        mount.where)
    if host.unified and not host.hierarchies:
        yield _hierarchy(mount, host.unified, cgroup_paths, cgroup_namespace=cgroup_namespace,
                         user_namespace=user_namespace, attrs=attrs, dest=dest)
        return

    # The directories and links must be created first: the tmpfs becomes read-only last.
    read_only = (attrs["attr_set"] | attrs["rec_set"]) & MOUNT_ATTR_RDONLY
    top: dict[str, Any] = {**attrs, "attr_set": attrs["attr_set"] & ~MOUNT_ATTR_RDONLY | HARMLESS,
                           "rec_set": attrs["rec_set"] & ~MOUNT_ATTR_RDONLY}
    yield step("mounts", "mount", mount.where, label=f"tmpfs on {dest}", fstype="tmpfs", source="tmpfs",
               options=["mode=755"], dest=dest, how=0, hold=NO_SLOT, **top)
    for hierarchy in host.hierarchies:
        name = directory_name(hierarchy)
        yield _hierarchy(mount, hierarchy, cgroup_paths, cgroup_namespace=cgroup_namespace,
                         user_namespace=user_namespace, attrs=attrs, dest=f"{dest}/{name}")
        for controller in hierarchy.controllers:
            if controller != name:
                yield step("mounts", "symlink", mount.where, target=name, path=f"{dest}/{controller}")
    if read_only:
        only: dict[str, Any] = {**dict.fromkeys(attrs, 0), "attr_set": MOUNT_ATTR_RDONLY}
        yield step("mounts", "remount", mount.where, label=f"tmpfs on {dest}", dest=dest, options=[], **only)


def directory_name(hierarchy: Hierarchy) -> str:
    """The name of a v1 hierarchy below /sys/fs/cgroup: as on the host, or its controllers or its name."""
    parent, _, name = hierarchy.mountpoint.rpartition("/")
    if parent == "/sys/fs/cgroup":
        return name
    return hierarchy.key.removeprefix("name=")


def _hierarchy(mount: Node, hierarchy: Hierarchy, cgroup_paths: dict[str, str], *, cgroup_namespace: bool,
               user_namespace: bool, attrs: dict[str, int], dest: str) -> Step:
    fields: dict[str, Any] = {**attrs, "dest": dest, "label": f"cgroup on {dest}"}
    if cgroup_namespace:
        # A mount of cgroup2 in the host's cgroup namespace (which a container may join) sets the options of the only
        # superblock: without the current options it would remove nsdelegate from the host.
        modern = hierarchy.version == 2
        return step("mounts", "mount", mount.where, fstype="cgroup2" if modern else "cgroup", source="cgroup",
                    options=list(hierarchy.options) if modern else hierarchy.key.split(","), how=0, hold=NO_SLOT,
                    **fields)
    # A hierarchy without a cgroup for the container shows the runtime's cgroup. When rootless, that is not known until
    # the runtime has tried to create the cgroup.
    stands = hierarchy.mountpoint + hierarchy.own.rstrip("/")
    return step("mounts", "bind", mount.where, source=cgroup_paths.get(hierarchy.key) or stands,
                otherwise=stands if user_namespace else "", slot=NO_SLOT, recursive=0, unnamed=0, hold=NO_SLOT,
                tolerate=(ENOENT,) if user_namespace else (), **fields)
