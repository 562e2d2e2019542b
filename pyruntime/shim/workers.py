"""Threads that work for the server: as many as there is work at once; one that has had none for a while ends."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_IDLE = 10.0   # seconds


class Workers:
    """Run functions concurrently, each in a thread. A function must handle its errors."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0    # threads that wait, less the jobs that are theirs already
        self.count = 0

    def run(self, job: Callable[[], None]) -> None:
        """Let a thread do it, soon."""
        with self._lock:
            self._jobs.put(job)
            if self._idle > 0:
                self._idle -= 1
                return
            self.count += 1
        threading.Thread(target=self._work, name="worker", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=_IDLE)
            except Empty:
                with self._lock:
                    if not self._idle:   # a job has been given to this thread meanwhile
                        continue
                    self._idle -= 1
                    self.count -= 1
                return
            job()
            with self._lock:
                self._idle += 1
