"""The cgroups of the host: the hierarchies, their mount points, and the cgroup of this process in each.

Reads ``/proc/self/mountinfo`` and ``/proc/self/cgroup`` (cgroups(7)), and below the mount points only the v2 root's
``cgroup.controllers``. `parse` is pure; `discover` reads the files.
"""

from __future__ import annotations

import os

from pyruntime.system.mountinfo import unescape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Hierarchy:
    """One mounted cgroup hierarchy.

    ``key``          as in /proc/self/cgroup: ``memory``, ``cpu,cpuacct``, ``name=systemd``; empty for v2
    ``version``      1 or 2
    ``controllers``  for v1 those attached to it (none for a named hierarchy); for v2 those of its root
    ``mountpoint``   the mount point
    ``root``         the cgroup at the mount point: ``/``, or ``/docker/x`` in a nested container
    ``own``          the cgroup of this process, relative to ``root``
    ``options``      of the v2 superblock: ``nsdelegate``, ``memory_recursiveprot``, ...
    """

    __slots__ = ("controllers", "key", "mountpoint", "options", "own", "root", "version")

    def __init__(self, key: str, version: int, controllers: Sequence[str], mountpoint: str, *,
                 root: str = "/", own: str = "/", options: Sequence[str] = ()) -> None:
        self.key = key
        self.version = version
        self.controllers = tuple(controllers)
        self.mountpoint = mountpoint
        self.root = root
        self.own = own
        self.options = tuple(options)

    def __repr__(self) -> str:
        return (f"Hierarchy({self.key!r}, {self.version}, {self.controllers!r}, {self.mountpoint!r}, "
                f"root={self.root!r}, own={self.own!r})")


class CgroupHost:
    """The hierarchies of a host.

    ``layout``       ``v1``, ``hybrid`` (v1 controllers and a v2 hierarchy) or ``v2``; ``none`` if no
                     cgroup filesystem is mounted at all
    ``hierarchies``  those of v1, in the order of /proc/self/cgroup
    ``unified``      the v2 hierarchy, or None
    """

    __slots__ = ("hierarchies", "layout", "unified")

    def __init__(self, hierarchies: Sequence[Hierarchy], unified: Hierarchy | None) -> None:
        self.hierarchies = tuple(hierarchies)
        self.unified = unified
        if hierarchies:
            self.layout = "hybrid" if unified else "v1"
        else:
            self.layout = "v2" if unified else "none"

    def all(self) -> tuple[Hierarchy, ...]:
        """Every hierarchy, v2 last."""
        return (*self.hierarchies, self.unified) if self.unified else self.hierarchies

    def only(self, controllers: Sequence[str]) -> CgroupHost:
        """The same host, as if it had only the hierarchies with one of these controllers; that of v2, if it is the only
        one, has all."""
        kept = [hierarchy for hierarchy in self.hierarchies if set(hierarchy.controllers) & set(controllers)]
        beside = self.unified is not None and not set(self.unified.controllers) & set(controllers)
        return CgroupHost(kept, None if beside else self.unified) if kept else self

    def find(self, v1_name: str, v2_name: str = "") -> Hierarchy | None:
        """The hierarchy of a controller: v1 first, since a controller is in only one hierarchy at a time.

        ``v2_name`` if v2 has another name (``blkio`` became ``io``).
        """
        for hierarchy in self.hierarchies:
            if v1_name in hierarchy.controllers:
                return hierarchy
        if self.unified and (v2_name or v1_name) in self.unified.controllers:
            return self.unified
        return None


def below(path: str, root: str) -> str:
    """``path`` relative to ``root``: the path of a cgroup in a mount of a part of the tree.

    A root outside the reader's cgroup namespace starts with ``/../..``: then the position of ``path`` in that mount is
    unknown, and the result is the mount point.
    """
    if root == "/":
        return path
    if path == root:
        return "/"
    return path[len(root):] if path.startswith(root + "/") else "/"


def parse(mountinfo: str, cgroup: str, visible: Callable[[str, str], bool]) -> CgroupHost:
    """Parse the two files of /proc. ``visible(mountpoint, "major:minor")`` returns whether a mount can be reached by
    its path: mounts that are covered by others are still listed in mountinfo."""
    mounts: list[tuple[str, str, str, list[str]]] = []   # type, root, mountpoint, super options
    for line in mountinfo.splitlines():
        if " - cgroup" not in line:
            continue
        front, _, back = line.partition(" - ")
        fields = front.split(" ")
        kind, _source, superblock = back.split(" ")[:3]
        if kind in ("cgroup", "cgroup2"):
            mountpoint = unescape(fields[4])
            if visible(mountpoint, fields[2]):
                mounts.append((kind, unescape(fields[3]), mountpoint, unescape(superblock).split(",")))
    # Kubernetes and others mount hierarchies a second time elsewhere: prefer /sys/fs/cgroup, and of two mounts there,
    # the mount of the whole tree.
    mounts.sort(key=lambda mount: (not mount[2].startswith("/sys/fs/cgroup"), mount[1] != "/"))

    hierarchies: list[Hierarchy] = []
    unified = None
    for line in cgroup.splitlines():
        _number, key, path = line.split(":", 2)
        names = key.split(",") if key else []
        for kind, root, mountpoint, options in mounts:
            if kind == ("cgroup" if key else "cgroup2") and all(name in options for name in names):
                controllers = [name for name in names if not name.startswith("name=")]
                own = below(path, root)
                if key:
                    hierarchies.append(Hierarchy(key, 1, controllers, mountpoint, root=root, own=own))
                else:
                    flags = [option for option in options if option not in ("ro", "rw", "")]
                    unified = Hierarchy(key, 2, controllers, mountpoint, root=root, own=own, options=flags)
                break
    hierarchies.sort(key=lambda hierarchy: hierarchy.key)
    return CgroupHost(hierarchies, unified)


def _visible(mountpoint: str, device: str) -> bool:
    try:
        number = os.stat(mountpoint).st_dev
    except OSError:
        return False
    return f"{os.major(number)}:{os.minor(number)}" == device


def read(path: str) -> str:
    """The contents of a small file of /proc or of a cgroup."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while chunk := os.read(descriptor, 65536):
            chunks.append(chunk)
    finally:
        os.close(descriptor)
    return os.fsdecode(b"".join(chunks))


def directories_of(pid: int) -> dict[str, str]:
    """The cgroup of another process in each hierarchy: hierarchy key -> directory."""
    host = parse(read("/proc/self/mountinfo"), read(f"/proc/{pid}/cgroup"), _visible)
    return {hierarchy.key: hierarchy.mountpoint + hierarchy.own.rstrip("/") for hierarchy in host.all()}


def discover(mountinfo: str = "") -> CgroupHost:
    """Detect the host's cgroups. ``mountinfo``: the content of /proc/self/mountinfo, if the caller has just read it.
    Raises OSError only if /proc is not mounted."""
    host = parse(mountinfo or read("/proc/self/mountinfo"), read("/proc/self/cgroup"), _visible)
    if host.unified:
        host.unified.controllers = tuple(read(host.unified.mountpoint + "/cgroup.controllers").split())
    return host
