"""Pools: sandboxes that are ready before they are needed."""

from __future__ import annotations

import atexit
import os
from threading import Condition, Event, Thread
from time import monotonic
from weakref import WeakSet

from pyruntime.errors import PyruntimeError, StateError, UsageError
from pyruntime.sandbox.template import Template

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Any

    from pyruntime.sandbox.api import Sandbox
    from pyruntime.sandbox.result import Done

_GRACE = 0.01  # seconds after a sandbox was taken in which its run is not disturbed, if half of the others are ready
_PAUSE = 1.0   # seconds before another attempt, after a sandbox could not be made
_pools: WeakSet[Pool] = WeakSet()


class Pool:
    """Keeps ``size`` sandboxes of a template ready; a thread makes new ones in the background, and removes used ones.

    ``most``   how many sandboxes there may be at once, ready or in use; then `sandbox` and `run` wait. 0: no limit
    ``error``  why the last sandbox could not be made or removed in the background, or None

    A ready sandbox is an init process of 200 KB and empty directories. The template is not closed with the pool.
    """

    def __init__(self, template: Template, size: int = 8, *, most: int = 0) -> None:
        """Raises UsageError for values without a meaning."""
        if not isinstance(template, Template):
            raise UsageError(f"template {template!r}: give Template(...)")
        if size < 1 or (most and most < size):
            raise UsageError(f"size {size}, most {most}: a pool has at least one sandbox, and at most is not less")
        self.size = size
        self.most = most
        self.error: PyruntimeError | None = None
        self._template = template
        self._owner = os.getpid()
        self._changed = Condition()
        self._ready: list[Sandbox] = []
        self._used: list[Sandbox] = []   # to be removed
        self._count = 0                  # that exist or are being made
        self._taken = 0.0                # when the last one was taken, by the monotonic clock
        self._closed = False
        self._thread = Thread(target=self._work, name="pyruntime-pool", daemon=True)
        self._thread.start()
        _pools.add(self)

    @property
    def ready(self) -> int:
        """How many sandboxes are ready now."""
        with self._changed:
            return len(self._ready)

    def sandbox(self) -> Sandbox:
        """A fresh sandbox, which the caller closes. If none is ready, it is made now. Raises StateError
        if the pool is closed, and what Sandbox raises."""
        return self.sandbox_unless(Event())

    def sandbox_unless(self, given_up: Event) -> Sandbox:
        """As `sandbox`; raises StateError when another thread calls `give_up` while this one waits."""
        if os.getpid() != self._owner:
            raise StateError("the pool belongs to another process: make one after the fork")
        with self._changed:
            while True:
                if self._closed:
                    raise StateError("the pool is closed")
                if given_up.is_set():
                    raise StateError("the caller does not wait for a sandbox any more")
                while self._ready:
                    box = self._ready.pop(0)
                    self._taken = monotonic()
                    self._changed.notify_all()
                    if box.alive:
                        return box
                    self._used.append(box)   # somebody has killed its init
                if not self.most or self._count < self.most:
                    self._count += 1
                    break
                self._changed.wait()
        return self._make()

    def give_up(self, given_up: Event) -> None:
        """End the wait of `sandbox_unless` for a sandbox."""
        with self._changed:
            given_up.set()
            self._changed.notify_all()

    def run(self, argv: Sequence[str], **options: Any) -> Done:
        """Run a program in a sandbox of its own, as Sandbox.run, and return; the sandbox is removed in the background.
        """
        box = self.sandbox()
        try:
            return box.run(argv, **options)
        finally:
            self.discard(box)

    def python(self, code: str, **options: Any) -> Done:
        """Run Python code in a sandbox of its own, as Sandbox.python; with a template that has ``interpreter=``, the
        interpreter has been started already."""
        box = self.sandbox()
        try:
            return box.python(code, **options)
        finally:
            self.discard(box)

    def discard(self, box: Sandbox) -> None:
        """Close a sandbox of this pool, in the background unless there are too many of them."""
        with self._changed:
            if not self._closed and len(self._used) < self.size:
                self._used.append(box)
                self._changed.notify_all()
                return
        box.close()   # the thread cannot keep up

    def _make(self) -> Sandbox:
        """A new sandbox, which has been counted."""
        try:
            box = self._template.sandbox()
        except BaseException:
            self._gone()
            raise
        box.at_end(self._gone)
        return box

    def _gone(self) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._closed or self._used or self._wanted()):
                    self._changed.wait()
                if not self._closed:
                    self._grace()
                if self._closed and not self._used:
                    return
                used = self._used.pop() if self._used else None
                if used is None:
                    self._count += 1
            try:
                if used is not None:
                    used.close()
                    continue
                box = self._make()
            except PyruntimeError as error:
                self.error = error
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, _PAUSE)
                continue
            self.error = None
            with self._changed:
                (self._used if self._closed else self._ready).append(box)
                self._changed.notify_all()

    def _grace(self) -> None:
        """Making a sandbox beside a run delays it: both need the interpreter."""
        while len(self._ready) * 2 >= self.size and not self._closed and (
                left := self._taken + _GRACE - monotonic()) > 0:
            self._changed.wait(left)

    def _wanted(self) -> bool:
        return len(self._ready) < self.size and (not self.most or self._count < self.most)

    def close(self) -> None:
        """Remove the sandboxes that are ready or have been used; those of `sandbox` belong to their users. May be
        called more than once."""
        if os.getpid() != self._owner:
            return   # in a child of the owner (fork)
        with self._changed:
            self._closed = True
            self._used += self._ready
            self._ready = []
            self._changed.notify_all()
        self._thread.join()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()


@atexit.register
def _at_exit() -> None:
    for pool in list(_pools):
        pool.close()
