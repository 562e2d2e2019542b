"""linux.devices, the default devices and links, the console.

Spec:   config-linux.md#devices, #default-devices, runtime-linux.md#dev-symbolic-links
Emits:  mknod, bind_device, symlink, reopen_null, open_console   (phase DEVICES)
"""

from __future__ import annotations

import errno
import os

from pyruntime.runtime.compiler.sections.namespaces import host_id
from pyruntime.runtime.plan.steps import NO_SLOT, step
from pyruntime.system import uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.runtime.compiler.setup import Setup
    from pyruntime.runtime.config.node import Node
    from pyruntime.runtime.plan.steps import Step

TYPES = {"c": uapi.S_IFCHR, "u": uapi.S_IFCHR, "b": uapi.S_IFBLK, "p": uapi.S_IFIFO}
# The default devices of every container (config-linux.md#default-devices): path -> major, minor.
DEFAULTS = {"/dev/null": (1, 3), "/dev/zero": (1, 5), "/dev/full": (1, 7), "/dev/random": (1, 8),
            "/dev/urandom": (1, 9), "/dev/tty": (5, 0)}
LINKS = {"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1",
         "/dev/stderr": "/proc/self/fd/2", "/dev/ptmx": "pts/ptmx"}


def emit(setup: Setup) -> Iterator[Step]:
    """The steps that populate /dev."""
    if setup.new("mount") and not host_dev(setup):
        yield from nodes(setup)
        for path, target in LINKS.items():
            yield step("devices", "symlink", "linux.devices", label="default", target=target, path=path)
        yield step("devices", "reopen_null", "linux.devices", label="default")
    yield from console(setup)


def console(setup: Setup) -> Iterator[Step]:
    """The terminal; that of init is also the container's console."""
    if "console" in setup.slots:
        process = setup.config["process"]
        size = process["consoleSize"]
        yield step("devices", "open_console", process["terminal"].where, slot=setup.slots.index("console"),
                   rows=size.get("height", 0), cols=size.get("width", 0), uid=process.get("user.uid", 0),
                   mount=int(setup.new("mount") and setup.joined_container is None))
        yield step("session", "take_terminal", process["terminal"].where)


def host_dev(setup: Setup) -> bool:
    """Whether the host's /dev is bind-mounted into the container: it has all devices, and must not be changed."""
    return any(m.get("destination", "").rstrip("/") == "/dev" and {"bind", "rbind"} & set(m.get("options", []))
               for m in setup.config["mounts"].each())


def nodes(setup: Setup) -> Iterator[Step]:
    """The steps that create the device nodes, or bind-mount those of the host if nodes cannot be created."""
    # The container's own /dev/ptmx is a link to pts/ptmx. Where nodes are bind-mounted, as in a user namespace, the
    # host's /dev/ptmx would create terminals in the host's devpts.
    listed = {node.value["path"]: node for node in setup.config["linux.devices"].each()
              if os.path.normpath(node.value["path"]) != "/dev/ptmx"}
    for path, node in listed.items():
        kind = node.value["type"]
        if setup.in_user_namespace and kind != "p":
            yield from _without_mknod(setup, node)
            continue
        fifo = kind == "p"
        yield step("devices", "mknod", node.where, label=path, path=path,
                   mode=TYPES[kind] | node.get("fileMode", 0o666) & 0o7777, major=0 if fifo else node.get("major", 0),
                   minor=0 if fifo else node.get("minor", 0), uid=node.get("uid", 0), gid=node.get("gid", 0), keep=0)
    for path, (major, minor) in DEFAULTS.items():
        if path in listed:
            continue
        if setup.in_user_namespace:
            yield step("devices", "bind_device", "linux.devices", label=f"default {path}", source=path, slot=NO_SLOT,
                       path=path, tolerate=(errno.ENOENT,))
        else:
            yield step("devices", "mknod", "linux.devices", label=f"default {path}", path=path,
                       mode=uapi.S_IFCHR | 0o666, major=major, minor=minor, uid=0, gid=0, keep=1)


def _without_mknod(setup: Setup, node: Node) -> Iterator[Step]:
    """The steps for a device node where mknod(2) is not permitted, as in a user namespace. The host's root creates the
    node in the container's state directory, which other users cannot enter, owned by the mapped IDs; the parent unlinks
    it once the container is created. If the runtime is not the host's root, the host's own node at this path is used,
    with its mode and owner."""
    path, slot = node.value["path"], NO_SLOT
    if setup.new("user") and not setup.host.rootless:
        slot = setup.slot()
        yield step("sources", "device_source", node.where, label=path,
                   path=f"{setup.options.scratch}/device-{slot}",
                   mode=TYPES[node.value["type"]] | node.get("fileMode", 0o666) & 0o7777, major=node.get("major", 0),
                   minor=node.get("minor", 0), uid=host_id(setup.config["linux.uidMappings"], node.get("uid", 0)),
                   gid=host_id(setup.config["linux.gidMappings"], node.get("gid", 0)), slot=slot)
    yield step("devices", "bind_device", node.where, label=path, source=path, slot=slot, path=path)
