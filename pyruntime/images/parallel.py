"""Runs a function for several items in threads that an interrupt does not wait for."""

from __future__ import annotations

from _thread import allocate_lock, start_new_thread
from queue import Empty, SimpleQueue
from time import monotonic

from pyruntime.errors import PyruntimeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    Item = TypeVar("Item")

_GRACE = 2.0   # seconds for threads to clean up after an interrupt


class Stopped(PyruntimeError):
    """Another thread has failed, or the user has interrupted the command: this thread need not go on."""


class Crew:
    """Threads that run the same function for several items."""

    def __init__(self) -> None:
        self._is_stopped = False
        self._lock = allocate_lock()

    def check(self) -> None:
        """To be called repeatedly by the threads. Raises Stopped if they need not go on."""
        if self._is_stopped:
            raise Stopped("stopped")

    def run(self, items: Iterable[Item], do: Callable[[Item], None], threads: int, stop: Callable[[], None]) -> None:
        """Call ``do`` for each item; the first error stops all threads, and is raised when they have ended.

        An interrupt (KeyboardInterrupt) calls ``stop``, which ends what threads wait for, and leaves threads that have
        not ended two seconds later: they leave what a killed process leaves.
        """
        waiting = iter(list(items))
        ended: SimpleQueue[BaseException | None] = SimpleQueue()   # the result of each thread
        running = 0
        first: BaseException | None = None
        try:
            while running < threads:
                start_new_thread(self._work, (waiting, do, ended))
                running += 1
            while running:
                failure = ended.get()
                running -= 1
                if failure and not first:
                    first, self._is_stopped = failure, True
        except BaseException:
            self._is_stopped = True
            stop()
            _wait(ended, running)
            raise
        if first:
            raise first

    def _work(self, waiting: Iterator[Item], do: Callable[[Item], None],
              ended: SimpleQueue[BaseException | None]) -> None:
        failure: BaseException | None = None
        try:
            while not self._is_stopped:
                with self._lock:   # an iterator is not safe from several threads
                    item = next(waiting)
                do(item)
        except StopIteration:
            failure = None   # every item is done, or in another thread
        except BaseException as error:
            failure = error
        ended.put(failure)


def _wait(ended: SimpleQueue[BaseException | None], running: int) -> None:
    end = monotonic() + _GRACE
    try:
        for _ in range(running):
            ended.get(timeout=max(0.0, end - monotonic()))
    except Empty:
        return
