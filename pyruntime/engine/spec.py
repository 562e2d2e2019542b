"""A container's config.json: its settings, what its image says, and what pocker adds."""

from __future__ import annotations

import os

from pyruntime.image.document import ImageConfig
from pyruntime.image.rootless import privileged
from pyruntime.image.runtime_config import Wishes, convert

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.engine.container import Container, Record


def document(container: Container, record: Record, root: int) -> dict[str, Any]:
    """The configuration for a container whose root filesystem is behind the descriptor ``root``.

    Raises ImageError, UsageError.
    """
    settings = record.settings
    wishes = Wishes(args=settings.args, entrypoint=settings.entrypoint, env=settings.env, user=settings.user,
                    workdir=settings.workdir, terminal=settings.terminal, readonly=settings.read_only,
                    hostname=settings.hostname or record.id[:12])
    image = ImageConfig(b"", {"config": record.image_config, "rootfs": {}})
    unified = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    result = convert(image, root, wishes, uid=os.geteuid(), gid=os.getegid(), unified=unified)
    if privileged():   # others make their cgroups where they are allowed to, or nowhere
        result["linux"]["cgroupsPath"] = f"{settings.cgroup_parent or '/pocker'}/{record.id}"
    return result
