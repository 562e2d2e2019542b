"""linux.maskedPaths, linux.readonlyPaths: hide or freeze parts of the container's view.

Spec:   config-linux.md#masked-paths, #readonly-paths
Emits:  mask_path, readonly_path   (phase RESTRICT: through the root's descriptor, before pivot_root)
Absent: a path that does not exist is skipped by the step itself.
"""

from __future__ import annotations

import errno

from pyruntime.plan.steps import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.plan.setup import Setup
    from pyruntime.plan.steps import Step

_ABSENT = (errno.ENOENT, errno.ENOTDIR)


def emit(setup: Setup) -> Iterator[Step]:
    """Read-only paths first: a masked path below one of them must be on top."""
    linux = setup.config["linux"]
    for node in linux["readonlyPaths"].each():
        yield step("restrict", "readonly_path", node.where, path=node.value, tolerate=_ABSENT)
    for node in linux["maskedPaths"].each():
        yield step("restrict", "mask_path", node.where, path=node.value, tolerate=_ABSENT)
