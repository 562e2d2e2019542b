"""A sub-cgroup of a container: one process and all its descendants, to be counted and killed by themselves."""

from __future__ import annotations

import os

from pyruntime.runtime.cgroups.group import Cgroup
from pyruntime.runtime.cgroups.host import read
from pyruntime.runtime.cgroups.oom import counters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# The v1 hierarchies that count or kill. In the others the process stays in the container's cgroup: a new cpuset would
# be empty, and limits hold for descendants anyway.
_USEFUL = ("memory", "cpuacct", "freezer")


class Subgroup:
    """The sub-cgroup ``name`` of a container.

    ``where``  for ``Runtime.exec(cgroup=...)``; empty if the container has no cgroup
    ``controllers``  those that it has of its own, separated by commas; empty: all (v2)
    """

    def __init__(self, container: Mapping[str, str], name: str) -> None:
        """``container``: its directories by hierarchy key; empty (v2): that alone is used."""
        useful = [controller for controller in _USEFUL if any(controller in key.split(",") for key in container)]
        keys = [key for key in container if set(key.split(",")) & set(useful)] or [key for key in container if not key]
        self._container = dict(container)
        self._group = Cgroup({key: f"{container[key]}/{name}" for key in keys})
        self._kills = 0
        # On v2, a cgroup with processes cannot give controllers to its children: memory is counted for the container.
        self._counts_memory = bool(useful)
        self.name = name
        self.controllers = ",".join(useful)
        self.where: Sequence[str] = [f"{self.controllers}:{name}"] if useful else [name] if keys else []

    def create(self) -> None:
        """Create the directories. Raises OSError."""
        for path in self._group.paths.values():
            os.mkdir(path)
        if not self._counts_memory:
            self._kills = self._counter(self._container)

    def kill(self) -> None:
        """Send SIGKILL to every process, so that none can escape by forking; do not wait."""
        self._group.kill()

    def pids(self, *, but: int = 0) -> list[int]:
        """Its processes, without the process ``but``."""
        return [pid for pid in self._group.pids() if pid != but]

    def empty(self) -> bool:
        """Whether no process is left."""
        return not self._group.pids()

    def remove(self) -> None:
        """Remove the directories; a missing one is not an error. Raises StateError."""
        self._group.delete()

    def cpu_seconds(self) -> float:
        """Processor time of all processes so far, in seconds; 0.0 if nothing counts it."""
        for key, path in self._group.paths.items():
            if "cpuacct" in key.split(","):
                return int(_text(f"{path}/cpuacct.usage") or 0) / 1e9
            if not key:
                words = _text(f"{path}/cpu.stat").split()
                return int(dict(zip(words[::2], words[1::2], strict=False)).get("usage_usec", 0)) / 1e6
        return 0.0

    def peak_memory(self) -> int:
        """The most memory, in bytes, that was used at once: by this group (v1), by the whole container (v2); 0 if
        nothing counts it."""
        for key, path in self._group.paths.items():
            if "memory" in key.split(","):
                return int(_text(f"{path}/memory.max_usage_in_bytes") or 0)
        return int(_text(f"{self._container.get('', '')}/memory.peak") or 0)

    def disk_bytes(self, but: int) -> tuple[int, int]:
        """What its living processes have read from disks and written to them so far, in bytes, with the children that
        they have waited for (read_bytes and write_bytes of proc_pid_io(5)); without the process ``but``."""
        total = [0, 0]
        for pid in self._group.pids():
            words = _text(f"/proc/{pid}/io").split() if pid != but else []   # it may have ended, or be another user's
            values = dict(zip(words[::2], words[1::2], strict=False))
            total = [total[0] + int(values.get("read_bytes:", 0)), total[1] + int(values.get("write_bytes:", 0))]
        return total[0], total[1]

    def oom_kills(self) -> int:
        """How many processes the OOM killer has killed: of this group (v1), or since `create` of the container (v2)."""
        return self._counter(self._group.paths if self._counts_memory else self._container) - self._kills

    @staticmethod
    def _counter(paths: Mapping[str, str]) -> int:
        try:
            return counters(paths).get("oom_kill", 0)
        except OSError:
            return 0   # no memory controller


def _text(path: str) -> str:
    try:
        return read(path).strip()
    except OSError:
        return ""   # the controller is not there
