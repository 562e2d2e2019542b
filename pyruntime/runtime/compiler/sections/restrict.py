"""linux.maskedPaths, linux.readonlyPaths: hide paths from the container or make them read-only.

Spec:   config-linux.md#masked-paths, #readonly-paths
Emits:  mask_path, readonly_path, release_mount   (phase RESTRICT: by descriptors, before pivot_root)
Absent: the step skips a path that does not exist, except /proc/sys, which every full procfs has.
"""

from __future__ import annotations

import errno
import os

from pyruntime.runtime.plan.steps import NO_SLOT, step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.runtime.compiler.setup import Setup
    from pyruntime.runtime.config.node import Node
    from pyruntime.runtime.plan.steps import Step

_ABSENT = (errno.ENOENT, errno.ENOTDIR)


def emit(setup: Setup) -> Iterator[Step]:
    """Read-only paths first: a masked path below one of them must be on top."""
    linux = setup.config["linux"]
    for name, op in (("readonlyPaths", "readonly_path"), ("maskedPaths", "mask_path")):
        for node in each(linux[name]):
            yield _restricted(setup, node, op)
    for dest, slot, _ in setup.mounted:
        if slot != NO_SLOT:
            yield step("restrict", "release_mount", "mounts", label=dest, slot=slot)


def each(paths: Node) -> Iterator[Node]:
    """The paths without duplicates: CRIU cannot dump a mount that another mount covers."""
    seen = set()
    for node in paths.each():
        path = os.path.normpath(node.value)
        if path not in seen:
            seen.add(path)
            yield node


def _restricted(setup: Setup, node: Node, op: str) -> Step:
    path = os.path.normpath(node.value)
    dest, slot, full = next((entry for entry in reversed(setup.mounted)
                             if path == entry[0] or path.startswith(entry[0].rstrip("/") + "/")), ("", NO_SLOT, False))
    if slot == NO_SLOT or path == dest:
        return step("restrict", op, node.where, path=node.value, slot=NO_SLOT, below="", tolerate=_ABSENT)
    # A process that shares the root filesystem may rename /proc for a moment: only a path that is absent on the procfs
    # itself is absent.
    return step("restrict", op, node.where, path=node.value, slot=slot, below=path[len(dest) + 1:],
                tolerate=() if full and path == "/proc/sys" else _ABSENT)
