"""linux.cgroupsPath and linux.resources: create the container's cgroup, set its limits, and move init into it.

Spec:   config-linux.md#control-groups
Emits:  cgroup_create or cgroup_scope, cgroup_write, cgroup_devices   (phase cgroup: limits exist before anything is
        charged to them)
        cgroup_attach, open_file, open_cgroup, join_cgroup_self, cgroup_join, cgroup_follow, cgroup_release
        (phases enter, join)
Absent: every hierarchy gets a cgroup anyway, and the device list has its defaults (config-linux.md#default-devices).
Errors: HostError with the place in config.json for a controller that the host lacks or a setting that v2 lacks.
"""

from __future__ import annotations

from errno import EACCES, EBADF, EBUSY, ENOENT, ENOTSUP, EPERM, EROFS

from pyruntime.errors import HostError
from pyruntime.runtime.cgroups import devices
from pyruntime.runtime.cgroups.paths import container_paths
from pyruntime.runtime.plan.steps import NO_SLOT, step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from pyruntime.runtime.cgroups.host import CgroupHost, Hierarchy
    from pyruntime.runtime.cgroups.systemd import Systemd, SystemdScope
    from pyruntime.runtime.config.node import Node
    from pyruntime.runtime.plan.steps import Step

UNPERMITTED = (EACCES, EPERM, EROFS, ENOENT)   # rootless: not writable, or not created for that reason
UNAVAILABLE = (ENOENT, EBUSY, ENOTSUP, EACCES)  # reasons for which a controller that is not required may stay off

# The sections in the order in which they are written: member of linux.resources (empty: see the function), the name of
# the controller in v1 and in v2, and the function that produces the writes.
SECTIONS = (
    ("cpu", "cpuset", "cpuset", "cpuset"),
    ("memory", "memory", "memory", "memory"),
    ("cpu", "cpu", "cpu", "cpu"),
    ("pids", "pids", "pids", "pids"),
    ("blockIO", "blkio", "io", "block_io"),
    ("hugepageLimits", "hugetlb", "hugetlb", "hugetlb"),
    ("network", "net_cls", "net_cls", "net_cls"),
    ("network", "net_prio", "net_prio", "net_prio"),
    ("rdma", "rdma", "rdma", "rdma"),
)


class CgroupLimits:
    """The writes: ``writes`` are (hierarchy key, file, data, where), in order; ``needed`` are the v2 controllers that
    must be enabled for them, with the first place that requires each."""

    __slots__ = ("needed", "writes")

    def __init__(self) -> None:
        self.writes: list[tuple[str, str, str, str]] = []
        self.needed: dict[str, str] = {}

    def asked(self, key: str) -> str:
        """The first place that sets a limit in a hierarchy; empty if there is none."""
        return next((where for name, _file, _data, where in self.writes if name == key), "")


def read_limits(resources: Node, host: CgroupHost) -> CgroupLimits:
    """Collect the writes for ``linux.resources`` (without devices). Also for ``update``."""
    limits = CgroupLimits()
    for section, v1_name, v2_name, function in SECTIONS:
        node = resources[section]
        if not node:
            continue
        hierarchy = host.find(v1_name, v2_name)
        modern = hierarchy.version == 2 if hierarchy else host.layout == "v2"
        for file, data, where in getattr(_dialect(modern), function)(node):
            if hierarchy is None:
                name = v2_name if modern else v1_name
                raise HostError(f'no cgroup hierarchy of the host has the "{name}" controller', where)
            limits.writes.append((hierarchy.key, file, data, where))
            if modern:
                limits.needed.setdefault(v2_name, where)
    _read_unified(resources["unified"], host, limits)
    return limits


def _dialect(modern: bool) -> ModuleType:
    # A host needs one of the two.
    if modern:
        from pyruntime.runtime.cgroups import v2  # lazy: only the dialect of this host

        return v2
    from pyruntime.runtime.cgroups import v1  # lazy: only the dialect of this host

    return v1


def _read_unified(unified: Node, host: CgroupHost, limits: CgroupLimits) -> None:
    for name, node in unified.items():
        if host.unified is None:
            raise HostError("invalid configuration: cannot use unified on cgroup v1", node.where)
        if "/" in name or name in ("", ".", "..") or any(mark in name for mark in "+|>?"):
            raise HostError(f'unified resource "{name}" must be a file name', node.where)
        controller = name.partition(".")[0]
        if controller not in ("cgroup", *host.unified.controllers):
            invalid = "" if host.layout == "v2" else "invalid configuration: "
            raise HostError(f'{invalid}unified resource "{name}" can\'t be set: controller "{controller}" not'
                            " available", node.where)
        if controller != "cgroup":
            limits.needed.setdefault(controller, node.where)
        limits.writes.append(("", name, str(node.value), node.where))


class Placement:
    """The location of the container's cgroup: ``paths`` by hierarchy key; ``scope`` and ``systemd`` if systemd creates
    it."""

    __slots__ = ("paths", "scope", "systemd")

    def __init__(self, paths: dict[str, str], scope: SystemdScope | None = None,
                 systemd: Systemd | None = None) -> None:
        self.paths = paths
        self.scope = scope
        self.systemd = systemd


def placement(config: Node, host: CgroupHost, container_id: str, systemd: Systemd | None = None) -> Placement:
    """The location for linux.cgroupsPath, in the filesystem or with ``systemd``. Raises ConfigError."""
    location = config.get("linux.cgroupsPath", "")
    if systemd is None:
        return Placement(container_paths(location, container_id, host))
    from pyruntime.runtime.cgroups import systemd as units  # lazy: only for the systemd driver

    scope = units.locate(location, container_id, systemd)
    return Placement(units.container_paths(scope, host), scope, systemd)


def refuse_limits(config: Node, host: CgroupHost) -> None:
    """For a container without a cgroup: raise HostError with the place of a limit, which cannot be set."""
    for _key, _file, _data, where in read_limits(config["linux.resources"], host).writes:
        raise HostError("a limit needs a cgroup, but --cgroup-manager=disabled creates none", where)


def born_inside(host: CgroupHost, place: Placement, *, rootless: bool) -> bool:
    """Whether to clone init into its v2 cgroup (CLONE_INTO_CGROUP), which saves the 10 ms and more of a move: if
    nothing that init needs before its program is charged there."""
    return (host.layout == "hybrid" and host.unified is not None and "memory" not in host.unified.controllers
            and place.scope is None and not rootless and bool(place.paths.get("")))


def emit(config: Node, host: CgroupHost, place: Placement, container_id: str, *, rootless: bool,
         slot: Callable[[], int], birthplace: int = NO_SLOT) -> Iterator[Step]:
    """The steps for a new container.

    ``slot`` numbers the descriptors that the plan opens; ``birthplace`` is the number of the one for ``born_inside``.
    ``rootless``: if no cgroupsPath is given, a hierarchy that is not writable is left out, unless the configuration
    sets a limit in it.
    """
    location, resources = config["linux.cgroupsPath"], config["linux.resources"]
    limits = read_limits(resources, host)
    rules = devices.read_rules(resources["devices"])
    paths = place.paths
    if not paths and not rootless:
        raise HostError("no cgroup filesystem is mounted: mount one below /sys/fs/cgroup, or do without limits"
                        " (--cgroup-manager=disabled)", location.where)
    if place.scope and place.systemd:
        yield from _emit_scope(config, host, place.scope, place.systemd, paths, container_id, limits, rules, slot,
                               rootless=rootless)
        return

    lenient = {key for key in paths if rootless and not location.value and not limits.asked(key)}
    for key, path in paths.items():
        # If a rootless container cannot create a cgroup, the error names the limit that requires it.
        where = limits.asked(key) if rootless and not location.value else ""
        yield step("cgroup", "cgroup_create", where or location.where, path=path,
                   tolerate=UNPERMITTED if key in lenient else ())
    if host.unified:
        yield from _enable(host.unified, paths[""], limits, everything=host.layout == "v2", where=location.where)
    for key, file, data, where in limits.writes:
        yield step("cgroup", "cgroup_write", where, path=paths[key], file=file, data=data)
    yield from _devices(rules, host, paths, rootless=rootless)

    if birthplace != NO_SLOT:
        yield step("enter", "open_cgroup", location.where, label="cgroup v2", path=paths[""], slot=birthplace)
    yield from _join(paths, lenient, slot, location.where, born=birthplace != NO_SLOT)


def _emit_scope(config: Node, host: CgroupHost, scope: SystemdScope, systemd: Systemd, paths: dict[str, str],
                container_id: str, limits: CgroupLimits, rules: list[devices.DeviceRule], slot: Callable[[], int], *,
                rootless: bool) -> Iterator[Step]:
    # The steps if systemd creates the cgroup, delegates controllers and moves processes of other users.
    from pyruntime.runtime.cgroups import systemd as units  # lazy: as in placement

    where, user = config["linux.cgroupsPath"].where, int(systemd.user)
    # A user's systemd does not manage v1 hierarchies.
    theirs = {key for key in paths if systemd.user and key}
    for key in theirs:
        if limits.asked(key):
            raise HostError("a user's systemd cannot delegate a controller of cgroup v1", limits.asked(key))
    ours = [path for key, path in paths.items() if key not in theirs]
    properties = units.scope_properties(config, host, systemd, scope, container_id, rules)
    yield step("cgroup", "cgroup_scope", where, label=scope.unit, unit=scope.unit, user=user, properties=properties,
               paths=ours)
    if host.unified:
        unmanaged = CgroupLimits()
        unmanaged.needed = {name: place for name, place in limits.needed.items() if name not in units.MANAGED}
        yield from _enable(host.unified, paths[""], unmanaged, everything=False, where=where)
    for key, file, data, place in limits.writes:
        yield step("cgroup", "cgroup_write", place, path=paths[key], file=file, data=data)
    own = {key: path for key, path in paths.items() if key not in theirs}
    yield from _devices(rules, host, own, rootless=rootless)
    if systemd.user:
        # The cgroup of a login session does not belong to the user, who therefore cannot move a process out of it.
        yield step("enter", "cgroup_attach", where, label=scope.unit, unit=scope.unit, user=user)
    else:
        yield from _join(own, set(), slot, where)
    yield step("join", "cgroup_release", where, label=scope.unit)


def _join(paths: dict[str, str], lenient: set[str], slot: Callable[[], int], where: str, *, born: bool = False
          ) -> Iterator[Step]:
    # Moving a process by its pid takes a lock that every fork on the host waits for (10 ms for ten hierarchies); a
    # single thread that writes "0" for itself does not (cgroup_procs_write_start). v2 has no such file.
    own: list[int] = []
    for key, path in paths.items():
        tolerate = UNPERMITTED if key in lenient else ()
        if not key and born:   # init was created in it, unless the kernel refused
            yield step("join", "cgroup_follow", where, path=path, init=0, unit="", user=0)
            continue
        if not key:
            yield step("join", "cgroup_join", where, paths=[path], tolerate=tolerate)
            continue
        number = slot()
        yield step("enter", "open_file", where, label=f"cgroup {key}", path=f"{path}/tasks", slot=number,
                   tolerate=tolerate)
        if key in lenient:
            yield step("join", "join_cgroup_self", where, label=key, slots=bytes([number]),
                       tolerate=(EACCES, EPERM, EBADF))
        else:
            own.append(number)
    if own:
        label = ", ".join(key for key in paths if key and key not in lenient)
        yield step("join", "join_cgroup_self", where, label=label, slots=bytes(own))


def update(resources: Node, host: CgroupHost, paths: dict[str, str]) -> Iterator[Step]:
    """The steps that change the limits of a container with the cgroup ``paths`` (key -> directory), except devices."""
    limits = read_limits(resources, host)
    for key, file, data, where in limits.writes:
        if key not in paths:
            raise HostError("the container has no cgroup in the hierarchy of this controller", where)
        yield step("cgroup", "cgroup_write", where, path=paths[key], file=file, data=data)


def _enable(hierarchy: Hierarchy, path: str, limits: CgroupLimits, *, everything: bool, where: str) -> Iterator[Step]:
    # A controller is available in the container's cgroup only if every cgroup above delegates it. Required controllers
    # must be; the others are optional (statistics for `events`, later `update`s). In the hybrid layout, v2 is used for
    # its processes, and only required controllers are enabled.
    needed = [name for name in limits.needed if name in hierarchy.controllers]
    wished = [name for name in hierarchy.controllers if name not in limits.needed] if everything else []
    place = next(iter(limits.needed.values())) if len(limits.needed) == 1 else "linux.resources"
    directory = hierarchy.mountpoint
    for name in path[len(hierarchy.mountpoint) + 1:].split("/"):
        if needed:
            yield step("cgroup", "cgroup_write", place, path=directory, file="cgroup.subtree_control",
                       data=" ".join("+" + controller for controller in needed))
        if wished:
            yield step("cgroup", "cgroup_write", where, path=directory, file="cgroup.subtree_control",
                       data=" ".join("+" + controller for controller in wished), tolerate=UNAVAILABLE)
        directory += "/" + name


def _devices(rules: list[devices.DeviceRule], host: CgroupHost, paths: dict[str, str], *,
             rootless: bool) -> Iterator[Step]:
    # Rootless: neither the v1 list nor bpf(2) is permitted, and device nodes cannot be created without privileges.
    tolerate = UNPERMITTED if rootless else ()
    where = rules[0].where
    hierarchy = host.find("devices")
    if hierarchy:
        if hierarchy.key not in paths:
            return   # a user's systemd does not manage this hierarchy
        for file, data, place in devices.v1_writes(rules):
            yield step("cgroup", "cgroup_write", place, path=paths[hierarchy.key], file=file, data=data,
                       tolerate=tolerate)
    elif host.unified:
        if not devices.allows_everything(rules):
            yield step("cgroup", "cgroup_devices", where, path=paths[""], rules=[str(rule) for rule in rules],
                       tolerate=tolerate)
    elif not rootless:
        raise HostError('no cgroup hierarchy of the host has the "devices" controller', where)
