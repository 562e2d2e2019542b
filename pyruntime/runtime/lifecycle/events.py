"""`events`: a container's statistics, and notifications of OOM kills.

cgroup v1 notifies through an eventfd (memcg_oom in admin-guide/cgroup-v1/memory.rst), cgroup v2 through the counter
``oom_kill`` in memory.events, which supports poll(2).
"""

from __future__ import annotations

import os
import select
import time

from pyruntime.errors import StateError
from pyruntime.runtime.cgroups.host import read
from pyruntime.runtime.cgroups.stats import stats
from pyruntime.runtime.lifecycle.status import CREATED, CREATING, PAUSED, RUNNING, status_of
from pyruntime.runtime.lifecycle.store import StateDirectory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyruntime.runtime.lifecycle.store import StateRecord

_STEP = 0.5   # seconds between checks that the cgroup still exists: the kernel does not notify of its removal


def statistics(root: str, container_id: str, *, parent: bool = False) -> dict[str, Any]:
    """The statistics of a container's cgroup, or of its parent, in runc's format. Raises StateError unless the
    container is running."""
    cgroup = _living(root, container_id).cgroup
    return stats({key: os.path.dirname(path) for key, path in cgroup.items()} if parent else cgroup)


def _living(root: str, container_id: str) -> StateRecord:
    container = StateDirectory(root, container_id)
    record = container.read()
    if status_of(container, record) not in (CREATING, CREATED, RUNNING, PAUSED):
        raise StateError(f'container with id {container_id} is not running')
    return record


class OomCounter:
    """Counts the OOM kills in a memory cgroup. ``fds``: the first one is ready for ``event`` (poll(2)) when there may
    be new ones; empty if nothing counts them."""

    def __init__(self, paths: dict[str, str]) -> None:
        self.fds: list[int] = []
        self.directory = paths.get("", "") if list(paths) == [""] else next(
            (path for key, path in paths.items() if "memory" in key.split(",")), "")
        self.event = select.POLLIN
        self._seen = 0
        if os.path.exists(f"{self.directory}/memory.events"):
            self.event = select.POLLPRI
            self._seen = self._killed()
            self.fds = [os.open(f"{self.directory}/memory.events", os.O_RDONLY | os.O_CLOEXEC)]
        elif os.path.exists(f"{self.directory}/memory.oom_control"):
            control = os.open(f"{self.directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
            self.fds = [os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK), control]
            with open(f"{self.directory}/cgroup.event_control", "w", encoding="ascii") as file:
                file.write(f"{self.fds[0]} {control}")

    def _killed(self) -> int:
        words = read(f"{self.directory}/memory.events").split()
        return int(dict(zip(words[::2], words[1::2], strict=True)).get("oom_kill", 0))

    def count(self) -> int:
        """The kills since the last call. The removal of the cgroup is not a kill."""
        try:
            if self.event == select.POLLIN:
                found = os.eventfd_read(self.fds[0])
                os.pread(self.fds[1], 1, 0)   # not the path: another cgroup may have it by now
                return found
            before, self._seen = self._seen, self._killed()
            return self._seen - before
        except OSError:   # EAGAIN: no kills; ENODEV, ENOENT: the cgroup was removed
            return 0

    def close(self) -> None:
        """Stop counting."""
        for fd in self.fds:
            os.close(fd)


def events(root: str, container_id: str, interval: float) -> Iterator[dict[str, Any]]:
    """Statistics every ``interval`` seconds, and an ``oom`` for each kill, while the container's cgroup exists."""
    record = _living(root, container_id)
    place = next(iter(record.cgroup.values()), "")
    oom = OomCounter(record.cgroup)
    try:
        poll = select.poll()
        for fd in oom.fds[:1]:
            poll.register(fd, oom.event)
        due = time.monotonic() + interval
        while os.path.isdir(place):
            left = due - time.monotonic()
            if left <= 0:
                yield {"type": "stats", "id": container_id, "data": stats(record.cgroup)}
                due = time.monotonic() + interval
                continue
            poll.poll(min(left, _STEP) * 1000)
            for _ in range(oom.count()):
                yield {"type": "oom", "id": container_id}
    finally:
        oom.close()
