"""The OOM killer in a cgroup: its settings and its kills."""

from __future__ import annotations

from pyruntime.runtime.cgroups.host import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def counted(paths: Mapping[str, str]) -> str:
    """The file in which the kernel counts; it does not exist without a memory controller."""
    path = next((f"{path}/memory.oom_control" for key, path in paths.items() if "memory" in key.split(",")), "")
    return path or f"{paths.get('', '')}/memory.events"


def counters(paths: Mapping[str, str]) -> dict[str, int]:
    """What the kernel counts for a container's directories by hierarchy key: memory.events on v2 (low, high, max, oom,
    oom_kill), memory.oom_control on v1 (oom_kill_disable, under_oom, oom_kill since Linux 4.13). Raises OSError without
    a memory controller, or if the cgroup no longer exists."""
    words = read(counted(paths)).split()
    return {name: int(number) for name, number in zip(words[::2], words[1::2], strict=True)}
