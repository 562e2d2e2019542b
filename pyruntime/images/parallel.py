"""The same for several things at once, by threads that an interrupt does not wait for."""

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

_GRACE = 2.0   # seconds for threads to put away what they are at, when we are interrupted


class Stopped(PyruntimeError):
    """Another thread has failed, or a person has had enough: what this one is at need not be finished."""


class Crew:
    """Threads that do the same for several things."""

    def __init__(self) -> None:
        self._is_stopped = False
        self._lock = allocate_lock()

    def check(self) -> None:
        """To be called now and then by what the threads do. Raises Stopped where there is no use in going on."""
        if self._is_stopped:
            raise Stopped("stopped")

    def run(self, items: Iterable[Item], do: Callable[[Item], None], threads: int, stop: Callable[[], None]) -> None:
        """Call ``do`` for each item; the first error stops all threads, and is raised when they have ended.

        An interrupt (KeyboardInterrupt) is not to wait: ``stop`` is called, which ends what threads wait for, and what
        has not ended two seconds later is left alone. It leaves behind what a killed process leaves.
        """
        waiting = iter(list(items))
        ended: SimpleQueue[BaseException | None] = SimpleQueue()   # what each thread has ended with
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
            failure = None   # all are done, or another thread is at them
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
