"""The resource usage of a container: CPU time, memory, network, disks, processes.

From the container's cgroup (v1 and v2, by the runtime) and the counters of its network namespace.
"""

from __future__ import annotations

import os
import time

from pyruntime.errors import StateError
from pyruntime.runtime.api import Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.containers.container import Container


class ContainerUsage:
    """The usage at one moment. Counters start at 0 with the container; units are nanoseconds and bytes.

    ``memory``   in use, without the inactive page cache, as in `docker stats`
    ``limit``    of memory: the container's, or the host's memory
    ``net``      bytes received and sent by its own interfaces; (0, 0) in the host's network
    ``block``    bytes read from and written to disks
    """

    __slots__ = ("block", "cpu", "limit", "memory", "net", "pids", "when")

    def __init__(self, numbers: dict[str, Any], net: tuple[int, int]) -> None:
        self.when = time.monotonic_ns()
        self.cpu: int = numbers["cpu"].get("usage", {}).get("total", 0)
        memory = numbers["memory"]
        raw, usage = memory.get("raw", {}), memory.get("usage", {})
        # The inactive page cache: only total_inactive_file of v1 counts that of cgroups below.
        idle = raw.get("total_inactive_file", raw.get("inactive_file", 0))
        self.memory: int = max(0, usage.get("usage", 0) - idle)
        self.limit = min(usage.get("limit") or _host_memory(), _host_memory())
        self.net = net
        entries = numbers["blkio"].get("ioServiceBytesRecursive", [])
        self.block = (_sum(entries, "read"), _sum(entries, "write"))
        self.pids: int = numbers["pids"].get("current", 0)

    def cpu_since(self, before: ContainerUsage) -> float:
        """CPU usage since another moment, in percent of one CPU."""
        passed = self.when - before.when
        return 100 * (self.cpu - before.cpu) / passed if passed > 0 else 0.0

    def memory_share(self) -> float:
        """Memory usage in percent of the limit."""
        return 100 * self.memory / self.limit if self.limit else 0.0


def _sum(entries: list[dict[str, Any]], operation: str) -> int:
    return sum(entry.get("value", 0) for entry in entries if entry.get("op", "").lower() == operation)


def _host_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def usage(container: Container) -> ContainerUsage | None:
    """The current usage; None for a container that is not running."""
    runtime = Runtime(container.places.runtime)
    try:
        numbers = runtime.stats(container.id)
        return ContainerUsage(numbers, _network(runtime.state(container.id).pid))
    except StateError:
        return None


def _network(pid: int) -> tuple[int, int]:
    """Bytes that the interfaces of a process's network namespace have received and sent, without lo (netdevice(7))."""
    received = sent = 0
    try:
        if os.path.samestat(os.stat(f"/proc/{pid}/ns/net"), os.stat("/proc/self/ns/net")):
            return 0, 0   # the host's traffic is not the container's
        with open(f"/proc/{pid}/net/dev", encoding="ascii", errors="replace") as file:
            for line in file.readlines()[2:]:
                name, _, rest = line.partition(":")
                fields = rest.split()
                if name.strip() != "lo" and len(fields) > 8:
                    received += int(fields[0])
                    sent += int(fields[8])
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0   # it has just exited
    return received, sent
