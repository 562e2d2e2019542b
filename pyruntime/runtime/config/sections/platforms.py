"""windows, solaris, zos, freebsd, vm: pyruntime does not run these containers, but ``validate`` checks their
configurations.

Spec:  config-windows.md, config-zos.md, config-freebsd.md, config-vm.md, config.md#mounts
"""

from __future__ import annotations

from pyruntime.errors import Problem
from pyruntime.runtime.config.sections.namespaces import entry_problems
from pyruntime.runtime.config.sections.process import windows_path
from pyruntime.runtime.config.text import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.runtime.config.node import Node


def problems(config: Node, platform: str) -> Iterator[Problem]:
    if platform != "linux":
        yield from _mounts(config["mounts"], platform)
    if config["windows"]:
        yield from _windows(config)
    yield from entry_problems(config["zos.namespaces"], "config-zos.md#namespaces")
    yield from _vm(config["vm"])


def _mounts(mounts: Node, platform: str) -> Iterator[Problem]:
    for mount in mounts.each():
        path = mount.value["destination"]
        if not (windows_path(path) if platform == "windows" else path[:1] == "/"):
            where = mount["destination"].where
            remedy = "write an absolute path, or remove the mount"
            yield Problem(where, f"{shown(path)} is not an absolute path", remedy, "config.md#mounts")
    if platform != "windows":
        return
    paths = [(mount.value["destination"].rstrip("\\").lower() + "\\", mount) for mount in mounts.each()]
    for path, mount in paths:
        for outer, other in paths:
            if path != outer and path.startswith(outer):
                what = f"{shown(mount.value['destination'])} is inside {other.where}"
                yield Problem(mount["destination"].where, what, "write separate paths", "config.md#mounts")


def _windows(config: Node) -> Iterator[Problem]:
    cpu = config["windows.resources.cpu"]
    set_here = [name for name in ("count", "shares", "maximum", "affinity") if cpu[name]]
    for name in set_here[1:]:
        what = f'"{set_here[0]}" and "{name}" exclude each other'
        yield Problem(cpu[name].where, what, "keep only one of them", "config-windows.md#cpu")
    if config.get("root.readonly"):
        yield Problem("root.readonly", "must be false on Windows", "remove it", "config.md#root")


def _vm(vm: Node) -> Iterator[Problem]:
    for path, section in (
        ("hypervisor.path", "hypervisor-object"),
        ("kernel.path", "kernel-object"),
        ("kernel.initrd", "kernel-object"),
        ("image.path", "image-object"),
    ):
        node = vm[path]
        if node and node.value[:1] != "/":
            what = f"{shown(node.value)} is not an absolute path"
            yield Problem(node.where, what, "write an absolute path on the host", f"config-vm.md#{section}")
