"""Facts about the host that determine whether a case can run. Read once, never changed."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Host:
    """``cgroup`` is "v1", "v2" or "hybrid" (v1 controllers and a cgroup2 mount)."""

    cgroup: str
    controllers: frozenset[str]
    kernel: tuple[int, int]

    def describe(self) -> str:
        release = f"Linux {platform.release()} {platform.machine()}"
        return f"{release}, cgroup {self.cgroup} ({' '.join(sorted(self.controllers))})"


def cgroup_mounts() -> dict[str, Path]:
    """The mount point of each v1 controller; "" is the cgroup2 mount, "name=x" a named hierarchy."""
    found: dict[str, Path] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        target = Path(left.split()[4])
        if kind == "cgroup2":
            found[""] = target
        elif kind == "cgroup":
            known = {"rw", "ro", "relatime", "xattr", "clone_children"}
            for name in set(options.rpartition(" ")[2].split(",")) - known:
                found[name] = target
    return found


def cgroups_named(name: str) -> list[Path]:
    """The cgroups of this name, in all mounted hierarchies."""
    return sorted({path for top in cgroup_mounts().values() for path in top.rglob(name) if path.is_dir()})


@cache
def host() -> Host:
    """The facts, as seen from the mount namespace of the first caller."""
    mounts = cgroup_mounts()
    v1 = {name for name in mounts if name and not name.startswith("name=")}
    unified = set((mounts[""] / "cgroup.controllers").read_text().split()) if "" in mounts else set()
    kind = "hybrid" if v1 and "" in mounts else "v1" if v1 else "v2" if "" in mounts else "none"
    major, minor = platform.release().split(".")[:2]
    return Host(kind, frozenset(v1 or unified), (int(major), int(minor)))


def has_namespace(kind: str) -> bool:
    return os.path.exists(f"/proc/self/ns/{kind}")


def tool(name: str) -> str | None:
    """The full path of a program on the host, or None."""
    return shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")


def busybox() -> Path | None:
    """Debian's statically linked busybox, the only program in the root filesystem."""
    found = tool("busybox")
    if not found or b"/ld-linux" in Path(found).read_bytes()[:4096]:
        return None
    return Path(found)


def granted_capabilities() -> set[int]:
    """The numbers of the capabilities in the bounding set: no container can have others."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            bits = int(line.split()[1], 16)
            return {number for number in range(64) if bits >> number & 1}
    raise ValueError("/proc/self/status has no CapBnd")
