"""The number of OOM kills in a cgroup."""

from __future__ import annotations

from pyruntime.runtime.cgroups.host import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def kills(paths: Mapping[str, str]) -> int:
    """The kernel's counter for a container's directories by hierarchy key: memory.events on v2, memory.oom_control on
    v1 (Linux 4.13). Raises OSError without a memory controller, or if the cgroup no longer exists."""
    path = next((f"{path}/memory.oom_control" for key, path in paths.items() if "memory" in key.split(",")), "")
    words = read(path or f"{paths.get('', '')}/memory.events").split()
    return int(dict(zip(words[::2], words[1::2], strict=True)).get("oom_kill", 0))
