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
from contextlib import suppress
from errno import EIO
from functools import partial
from threading import Event, Thread

from pyruntime.errors import StateError, UsageError
from pyruntime.sandbox.api import OUTPUT_LIMIT, READ_LIMIT, Sandbox
from pyruntime.sandbox.commands import finished
from pyruntime.sandbox.limits import size
from pyruntime.sandbox.one_shot import run_sandboxed
from pyruntime.sandbox.pipes import CHUNK, KeptOutput
from pyruntime.sandbox.pool import Pool
from pyruntime.sandbox.process import OutputStream, Process
from pyruntime.sandbox.sources import HOST_PATHS, HostSource, RootSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import IO, Any, TypeVar

    from pyruntime.images.api import ImageStore
    from pyruntime.sandbox.commands import AnyPath
    from pyruntime.sandbox.result import Done
    from pyruntime.sandbox.template import Template

    Result = TypeVar("Result")


class AsyncSandbox:
    """A sandbox, from the beginning to the end of ``async with``; the options are those of Sandbox.

    ``processes``  as of Sandbox, from then on
    """

    def __init__(self, root: AnyPath | RootSource, **options: Any) -> None:
        self._make: Callable[[], Sandbox] = partial(Sandbox, root, **options)
        self._cancel: Callable[[], None] = lambda: None
        self._box: Sandbox | None = None
        self.processes: tuple[AsyncProcess, ...] = ()

    @classmethod
    def of(cls, make: Callable[[], Sandbox], cancel: Callable[[], None] = lambda: None) -> AsyncSandbox:
        """The sandbox that ``make`` returns, as `Template.sandbox` does. ``cancel`` is called in another thread if
        the task that waits for the sandbox is cancelled."""
        box = cls("")
        box._make, box._cancel = make, cancel
        return box

    @classmethod
    def host(cls, paths: Sequence[AnyPath] = HOST_PATHS, **options: Any) -> AsyncSandbox:
        """As Sandbox.host."""
        return cls(HostSource(paths), **options)

    @classmethod
    def restore(cls, path: AnyPath) -> AsyncSandbox:
        """As Sandbox.restore."""
        return cls.of(partial(Sandbox.restore, path))

    async def __aenter__(self) -> AsyncSandbox:
        await self.make()
        return self

    async def make(self) -> None:
        """Make the sandbox; `close` has to be called."""
        made: list[Sandbox] = []
        try:
            await _in_thread(lambda: made.append(self._make()), self._cancel)
            self.processes = tuple(map(AsyncProcess, made[0].processes))
            for process in self.processes:
                await process.connect()
        except asyncio.CancelledError:
            for box in made:
                await _in_thread(box.close)
            raise
        self._box = made[0]

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        traceback: TracebackType | None) -> None:
        await self.close()

    @property
    def box(self) -> Sandbox:
        """The sandbox. Raises StateError before ``async with``."""
        if self._box is None:
            raise StateError("the sandbox does not exist yet: use it within `async with`")
        return self._box

    @property
    def name(self) -> str:
        """As of Sandbox."""
        return self.box.name

    @property
    def addresses(self) -> tuple[str, ...]:
        """As of Sandbox."""
        return self.box.addresses

    @property
    def unenforced(self) -> tuple[str, ...]:
        """As of Sandbox."""
        return self.box.unenforced

    @property
    def alive(self) -> bool:
        """As of Sandbox."""
        return self.box.alive

    async def run(self, argv: Sequence[str], *, input: bytes | str | None = None, timeout: float | None = None,
                  check: bool = False, text: bool = False, env: Mapping[str, str] | None = None, cwd: AnyPath = "",
                  max_output: int | str = OUTPUT_LIMIT, output_kills: bool = False) -> Done:
        """As Sandbox.run; a cancelled task kills the run."""
        done = await _until(lambda stop: self.box.run_until(
            stop, argv, input=input, timeout=timeout, env=env, cwd=cwd, max_output=max_output,
            output_kills=output_kills))
        return finished(done, text=text, check=check)

    async def python(self, code: str, *, program: str = "", input: bytes | str | None = None,
                     timeout: float | None = None, check: bool = False, text: bool = False,
                     max_output: int | str = OUTPUT_LIMIT, output_kills: bool = False) -> Done:
        """As Sandbox.python; a cancelled task kills the run."""
        done = await _until(lambda stop: self.box.python_until(
            stop, code, program=program, input=input, timeout=timeout, max_output=max_output,
            output_kills=output_kills))
        return finished(done, text=text, check=check)

    async def popen(self, argv: Sequence[str], **options: Any) -> AsyncProcess:
        """As Sandbox.popen, but the streams are those of asyncio.subprocess, and always of bytes."""
        if options.get("text"):
            raise UsageError("text: the streams of asyncio are always of bytes: leave it out, and decode what you read")
        made: list[Process] = []
        try:
            await _in_thread(lambda: made.append(self.box.popen(argv, **options)))
            process = AsyncProcess(made[0])
            await process.connect()
        except asyncio.CancelledError:
            for one in made:
                await _in_thread(one.close)
            raise
        return process

    def stream(self, argv: Sequence[str], **options: Any) -> AsyncOutputStream:
        """As Sandbox.stream, for ``async for``; the program starts with the first step. A cancelled task kills it."""
        return AsyncOutputStream(lambda: self.box.stream(argv, **options))

    async def read(self, path: AnyPath, *, limit: int | str = READ_LIMIT) -> bytes:
        """As Sandbox.read."""
        return await _in_thread(lambda: self.box.read(path, limit=limit))

    async def write(self, path: AnyPath, data: bytes | str, *, mode: int = 0o644) -> None:
        """As Sandbox.write."""
        await _in_thread(lambda: self.box.write(path, data, mode=mode))

    async def diff(self) -> list[tuple[str, str]]:
        """As Sandbox.diff."""
        return await _in_thread(self.box.diff)

    async def commit(self, name: str = "", *, store: ImageStore | None = None,
                     config: Mapping[str, Any] | None = None) -> str:
        """As Sandbox.commit."""
        return await _in_thread(lambda: self.box.commit(name, store=store, config=config))

    def fork(self, **options: Any) -> AsyncSandbox:
        """As Sandbox.fork, for ``async with``, which makes the copy."""
        return AsyncSandbox.of(lambda: self.box.fork(**options))

    async def checkpoint(self, path: AnyPath, *, leave_running: bool = False) -> None:
        """As Sandbox.checkpoint; a cancelled task waits for its end."""
        await _in_thread(lambda: self.box.checkpoint(path, leave_running=leave_running))

    async def close(self) -> None:
        """As Sandbox.close; the streams of ``processes`` are closed, too."""
        for process in self.processes:
            await process.close()
        await _in_thread(self.box.close)


class AsyncPool:
    """A Pool for asyncio: `run` is a coroutine, `sandbox` is for ``async with``. The options are those of Pool; the
    pool may be used, and closed, from any event loop."""

    def __init__(self, template: Template, size: int = 8, *, most: int = 0) -> None:
        self.pool = Pool(template, size, most=most)

    def sandbox(self) -> AsyncSandbox:
        """A fresh sandbox, which is closed at the end of ``async with``."""
        given_up = Event()
        return AsyncSandbox.of(lambda: self.pool.sandbox_unless(given_up), lambda: self.pool.give_up(given_up))

    async def run(self, argv: Sequence[str], **options: Any) -> Done:
        """As Pool.run, with the options of `AsyncSandbox.run`; a cancelled task kills the run."""
        box = self.sandbox()
        await box.make()
        try:
            return await box.run(argv, **options)
        finally:
            self.pool.discard(box.box)

    async def python(self, code: str, **options: Any) -> Done:
        """As Pool.python, with the options of `AsyncSandbox.python`; a cancelled task kills the run."""
        box = self.sandbox()
        await box.make()
        try:
            return await box.python(code, **options)
        finally:
            self.pool.discard(box.box)

    async def close(self) -> None:
        """As Pool.close."""
        await _in_thread(self.pool.close)

    async def __aenter__(self) -> AsyncPool:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        traceback: TracebackType | None) -> None:
        await self.close()


class AsyncProcess:
    """A program that runs in a sandbox, with the names of asyncio.subprocess.Process; made by AsyncSandbox.popen.

    ``args``, ``pid``, ``returncode``, ``done``, `poll`, `send_signal`, `terminate`, `kill`, `resize`  as of Process
    ``stdin``   asyncio.StreamWriter, or None
    ``stdout``, ``stderr``  asyncio.StreamReader, or None
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self.args, self.pid = process.args, process.pid
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self._transports: list[asyncio.BaseTransport] = []
        self.poll, self.send_signal, self.resize = process.poll, process.send_signal, process.resize
        self.terminate, self.kill = process.terminate, process.kill

    async def connect(self) -> None:
        """Take over the pipes of the process; called once."""
        loop = asyncio.get_running_loop()
        files = [self._process.detach(name) for name in ("stdin", "stdout", "stderr")]
        if files[0]:
            transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, files[0])
            self.stdin = asyncio.StreamWriter(transport, protocol, None, loop)
            self._transports.append(transport)
        self.stdout, self.stderr = [await self._reader(file) if file else None for file in files[1:]]

    async def _reader(self, file: IO[bytes]) -> asyncio.StreamReader:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: _Output(reader), file)
        self._transports.append(transport)
        return reader

    @property
    def returncode(self) -> int | None:
        """The exit status, or None while the program runs."""
        return self._process.returncode

    @property
    def done(self) -> Done:
        """As of Process."""
        return self._process.done

    async def wait(self) -> int:
        """Wait until nothing of the run is left; return the exit status. A cancelled task only stops waiting."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def tell() -> None:
            with suppress(RuntimeError):   # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(ended.set)

        self._process.then(tell)
        await ended.wait()
        return self.done.returncode

    async def communicate(self, input: bytes | None = None, max_output: int | str = OUTPUT_LIMIT
                          ) -> tuple[bytes, bytes]:
        """Feed ``input``, read all output, and wait for the end; ``max_output`` as for `AsyncSandbox.run`."""
        kept = KeptOutput(size("max_output", max_output))

        async def read(number: int, reader: asyncio.StreamReader | None) -> None:
            while reader and (data := await reader.read(CHUNK)):
                kept.add(number, data)

        async def feed() -> None:
            if self.stdin:
                with suppress(BrokenPipeError, ConnectionResetError):   # the program does not want it
                    self.stdin.write(input or b"")
                    await self.stdin.drain()
                self.stdin.close()

        await asyncio.gather(feed(), read(0, self.stdout), read(1, self.stderr))
        await self.wait()
        return kept.both()

    async def close(self) -> None:
        """Kill what is still running, wait, and close the pipes."""
        for transport in self._transports:
            transport.close()
        await _in_thread(self._process.close)

    async def __aenter__(self) -> AsyncProcess:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        traceback: TracebackType | None) -> None:
        await self.close()


class AsyncOutputStream:
    """As OutputStream, for ``async for`` and ``async with``."""

    def __init__(self, make: Callable[[], OutputStream]) -> None:
        self._make = make
        self._stream: OutputStream | None = None

    @property
    def done(self) -> Done:
        """The result, at the end. Raises StateError before."""
        if self._stream is None:
            raise StateError("the program has not been started: use `async for`")
        return self._stream.done

    def __aiter__(self) -> AsyncOutputStream:
        return self

    async def __anext__(self) -> tuple[str, bytes | str]:
        chunk = await _in_thread(self._next, self._cancel)
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    def _next(self) -> tuple[str, bytes | str] | None:
        if self._stream is None:
            self._stream = self._make()
        return next(self._stream, None)

    def _cancel(self) -> None:
        if self._stream is not None:
            self._stream.process.cancel()

    async def close(self) -> None:
        """Kill the program if it is still running."""
        if self._stream is not None:
            await _in_thread(self._stream.close)

    async def __aenter__(self) -> AsyncOutputStream:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        traceback: TracebackType | None) -> None:
        await self.close()


class _Output(asyncio.StreamReaderProtocol):
    """A terminal that no process has open any more ends with EIO."""

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(None if isinstance(error, OSError) and error.errno == EIO else error)


async def run_sandboxed_async(code: str | Sequence[str], **options: Any) -> Done:
    """As run_sandboxed, with its options but ``stop``; a cancelled task kills the program. ``on_stdout`` and
    ``on_stderr`` are called in the event loop."""
    loop = asyncio.get_running_loop()

    def in_loop(call: Callable[[Any], object]) -> Callable[[Any], object]:
        async def called(piece: Any) -> None:
            call(piece)

        return lambda piece: asyncio.run_coroutine_threadsafe(called(piece), loop).result()

    calls = {name: in_loop(options[name]) for name in ("on_stdout", "on_stderr") if options.get(name)}
    return await _until(lambda stop: run_sandboxed(code, **{**options, **calls, "stop": stop}))


async def _until(work: Callable[[int], Done]) -> Done:
    """The result of ``work``, which ends early when its argument, a descriptor, is readable."""
    stop = os.eventfd(0, os.EFD_CLOEXEC)
    try:
        return await _in_thread(lambda: work(stop), cancel=lambda: os.eventfd_write(stop, 1))
    finally:
        os.close(stop)


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
