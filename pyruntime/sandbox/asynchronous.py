"""Sandboxes for asyncio, with the names of Sandbox.

    async with AsyncSandbox("python:3.12-slim") as box:
        done = await box.run(["python3", "-c", "print(1)"], timeout=2.0)

Each call is one of Sandbox in a thread of its own, so that many runs wait at the same time. A task that is cancelled
kills its run, and ends when nothing of it is left.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future
from functools import partial
from threading import Thread

from pyruntime.errors import StateError
from pyruntime.sandbox.api import OUTPUT_LIMIT, READ_LIMIT, Sandbox, finished
from pyruntime.sandbox.sources import HOST_PATHS, HostSource, RootSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Any, TypeVar

    from pyruntime.sandbox.result import Done

    Result = TypeVar("Result")


class AsyncSandbox:
    """A sandbox, from the beginning to the end of ``async with``; the options are those of Sandbox."""

    def __init__(self, root: str | os.PathLike[str] | RootSource, **options: Any) -> None:
        self._make = partial(Sandbox, root, **options)
        self._box: Sandbox | None = None

    @classmethod
    def host(cls, paths: Sequence[str] = HOST_PATHS, **options: Any) -> AsyncSandbox:
        """As Sandbox.host."""
        return cls(HostSource(paths), **options)

    async def __aenter__(self) -> AsyncSandbox:
        made: list[Sandbox] = []
        try:
            await _in_thread(lambda: made.append(self._make()))
        except asyncio.CancelledError:
            for box in made:
                await _in_thread(box.close)
            raise
        self._box = made[0]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        traceback: TracebackType | None) -> None:
        await self.close()

    @property
    def box(self) -> Sandbox:
        """The sandbox. Raises StateError before ``async with``."""
        if self._box is None:
            raise StateError("the sandbox does not exist yet: use it within `async with`")
        return self._box

    async def run(self, argv: Sequence[str], *, input: bytes | str | None = None, timeout: float | None = None,
                  check: bool = False, text: bool = False, env: Mapping[str, str] | None = None, cwd: str = "",
                  max_output: int | str = OUTPUT_LIMIT, output_kills: bool = False) -> Done:
        """As Sandbox.run; a cancelled task kills the run."""
        stop = os.eventfd(0, os.EFD_CLOEXEC)
        try:
            done = await _in_thread(lambda: self.box.run_until(
                stop, argv, input=input, timeout=timeout, env=env, cwd=cwd, max_output=max_output,
                output_kills=output_kills), cancel=lambda: os.eventfd_write(stop, 1))
        finally:
            os.close(stop)
        return finished(done, text=text, check=check)

    async def read(self, path: str, *, limit: int | str = READ_LIMIT) -> bytes:
        """As Sandbox.read."""
        return await _in_thread(lambda: self.box.read(path, limit=limit))

    async def write(self, path: str, data: bytes | str, *, mode: int = 0o644) -> None:
        """As Sandbox.write."""
        await _in_thread(lambda: self.box.write(path, data, mode=mode))

    async def close(self) -> None:
        """As Sandbox.close."""
        await _in_thread(self.box.close)


async def _in_thread(work: Callable[[], Result], cancel: Callable[[], None] = lambda: None) -> Result:
    """The result of ``work``. If this task is cancelled: ``cancel``, and wait for the end of the work all the same."""
    outcome: Future[Result] = Future()
    outcome.set_running_or_notify_cancel()   # the task may be cancelled, the work may not

    def call() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    ended = asyncio.wrap_future(outcome)
    Thread(target=call, name="pyruntime-sandbox").start()
    cancelled = False
    while not ended.done():
        try:
            await asyncio.wait([ended])
        except asyncio.CancelledError:
            cancelled = True
            cancel()
    if cancelled:
        ended.exception()   # retrieved: the cancellation comes first
        raise asyncio.CancelledError
    return ended.result()
