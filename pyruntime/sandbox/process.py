"""A program that runs in a sandbox while its caller does something else, as subprocess.Popen."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import termios
from codecs import getincrementaldecoder
from contextlib import ExitStack, contextmanager, suppress
from errno import EIO
from io import BufferedReader, BufferedWriter, FileIO, TextIOWrapper
from select import POLLIN, poll
from threading import Condition, Thread
from time import monotonic

from pyruntime.errors import StateError, UsageError, WaitTimeout
from pyruntime.sandbox import result
from pyruntime.sandbox.limits import size
from pyruntime.sandbox.pipes import CHUNK, LONGEST, KeptOutput, ProgramStreams, Pump
from pyruntime.system.sockets import blocking, receive_fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType
    from typing import IO, Any

    from pyruntime.sandbox.result import Done
    from pyruntime.sandbox.run import Run


class Process:
    """A program in a sandbox; made by Sandbox.popen, with the names of subprocess.Popen.

    ``args``      the program and its arguments
    ``pid``       its process ID on the host
    ``stdin``, ``stdout``, ``stderr``  files; None for those that are not pipes. What is written arrives without
                  `flush`. The program waits when a pipe is full. With a terminal, ``stdin`` and ``stdout`` are its
                  ends, and ``stderr`` is None.
    ``returncode``  None while it runs; -N if signal N killed it

    When the program ends, its time is over, or its sandbox is closed, all processes of the run are killed.
    """

    def __init__(self, run: Run, args: Sequence[str], *, seconds: float | None, left: Callable[[], None]) -> None:
        """``left`` is called when nothing of the run is left."""
        self.args = tuple(args)
        self.pid = 0
        self.stdin: IO[Any] | None = None
        self.stdout: IO[Any] | None = None
        self.stderr: IO[Any] | None = None
        self._run = run
        run.seconds = seconds
        self._left = left
        self._deadline = monotonic() + seconds if seconds is not None else float("inf")
        self._changed = Condition()
        self._done: Done | None = None
        self._failure: BaseException | None = None
        self._ending = self._ended = False
        self._then: list[Callable[[], None]] = []
        self._master: FileIO | None = None
        self._text = False
        self._pump: Pump | None = None
        self._kept: KeptOutput | None = None
        self._stop = -1

    # ---- the beginning --------------------------------------------------------------------------

    def start(self, env: Sequence[str] | None, cwd: str, streams: ProgramStreams | None, *, text: bool,
              window: tuple[int, int]) -> None:
        """Start it, on these streams or (None) on a terminal of this size. Raises StepError; then nothing is left."""
        self._text = self._run.text = text
        with self._undone(streams):
            self._watched(self._on_terminal(env, cwd, window) if streams is None else self._on_pipes(
                env, cwd, streams))

    def resume(self, streams: ProgramStreams) -> None:
        """Go on with the program of a checkpoint, whose run has been taken over."""
        self._text = self._run.text
        with self._undone(streams):
            self._watched(streams.taken())

    @contextmanager
    def _undone(self, streams: ProgramStreams | None) -> Iterator[None]:
        """After an error, nothing of the program is left."""
        with ExitStack() as undo:
            undo.callback(self._left)
            undo.callback(self._run.end)
            undo.callback(self._close_files)
            if streams:
                undo.callback(streams.close)
            self._stop = os.eventfd(0, os.EFD_CLOEXEC)
            undo.callback(os.close, self._stop)
            yield
            undo.pop_all()

    def _watched(self, ours: Sequence[int]) -> None:
        self.pid = self._run.pid
        self.stdin, self.stdout, self.stderr = (
            _file(fd, mode, text=self._text) if fd >= 0 else None for fd, mode in zip(ours, "wrr", strict=True))
        Thread(target=self._watch, name="pyruntime-process", daemon=True).start()

    def _on_pipes(self, env: Sequence[str] | None, cwd: str, streams: ProgramStreams) -> list[int]:
        self._run.start(self.args, env, cwd, streams.theirs)
        streams.started()
        return streams.taken()

    def _on_terminal(self, env: Sequence[str] | None, cwd: str, window: tuple[int, int]) -> list[int]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        blocking(ours, theirs)
        silence = -1

        def known() -> None:
            self._master = FileIO(receive_fd(ours), "r")
            self.resize(*window)

        try:
            silence = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)   # until it has the terminal
            self._run.start(self.args, env, cwd, [silence] * 3, theirs, known)
            assert self._master
            return [os.dup(self._master.fileno()), os.dup(self._master.fileno()), -1]
        finally:
            ours.close()
            theirs.close()
            if silence >= 0:
                os.close(silence)

    # ---- the end --------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Wait for the end, in a thread of its own, so that it comes even if nobody waits for it."""
        waiting = poll()
        waiting.register(self._run.pidfd, POLLIN)
        waiting.register(self._stop, POLLIN)
        ready: list[tuple[int, int]] = []
        while not ready and (left := self._deadline - monotonic()) > 0:
            ready = waiting.poll(min(left, LONGEST) * 1000 + 1)
        fds = [fd for fd, _ in ready]
        with self._changed:
            self._ending = True   # no more signals: the descriptors are going to be closed
            os.close(self._stop)
        done, failure = None, None
        try:
            try:
                done = self._run.finish("" if self._run.pidfd in fds else result.CANCELLED if fds else result.TIMEOUT)
            finally:
                self._run.end()
        except BaseException as error:   # raised by `wait` and `done`
            failure = error
        with self._changed:
            self._done, self._failure, self._ended = done, failure, True
            self._changed.notify_all()
        self._left()
        for call in self._then:
            call()

    def then(self, call: Callable[[], None]) -> None:
        """Call this when nothing of the run is left, in another thread; at once if that is so already."""
        with self._changed:
            if not self._ended:
                self._then.append(call)
                return
        call()

    def poll(self) -> int | None:
        """The exit status, or None while the program runs."""
        return self.returncode

    @property
    def returncode(self) -> int | None:
        """As in subprocess, but known without a call of `poll`."""
        with self._changed:
            return self._done.returncode if self._done else None

    @property
    def done(self) -> Done:
        """The result, with what `communicate` has read. Raises StateError while the program runs."""
        with self._changed:
            if self._failure:
                raise self._failure
            if self._done is None:
                raise StateError(f'"{self.args[0]}" is still running: wait for it')
            return self._done

    def wait(self, timeout: float | None = None) -> int:
        """Wait until nothing of the run is left; return the exit status. Raises WaitTimeout after ``timeout`` seconds:
        the program goes on."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._ended, timeout):
                raise WaitTimeout(f'"{self.args[0]}" is still running after {timeout:g} s')
        return self.done.returncode

    def communicate(self, input: bytes | str | None = None, timeout: float | None = None,
                    max_output: int | str = "1m") -> tuple[bytes | str, bytes | str]:
        """Feed ``input``, read all output, and wait for the end; ``max_output`` as for Sandbox.run. Raises WaitTimeout
        after ``timeout`` seconds: the program goes on, and another call returns everything."""
        deadline = monotonic() + timeout if timeout is not None else float("inf")
        if self._kept is None:
            self._kept = KeptOutput(size("max_output", max_output))
        pump = self._pump or self.pump(input.encode() if isinstance(input, str) else input or b"")
        while pump.outputs or pump.feeding:
            left = deadline - monotonic()
            if left <= 0:
                raise WaitTimeout(f'"{self.args[0]}" is still running after {timeout:g} s')
            for number, data in pump.turn(left)[1]:
                self._kept.add(number, data)
        self.wait(None if timeout is None else max(deadline - monotonic(), 0))
        done = self.done.with_output(self._kept)
        with self._changed:
            self._done = done.decoded() if self._text else done
        return self.done.stdout, self.done.stderr

    def pump(self, data: bytes) -> Pump:
        """A pump for the pipes, instead of the files."""
        self._pump = Pump([self._descriptor(file) for file in (self.stdin, self.stdout, self.stderr)], data)
        return self._pump

    def detach(self, name: str) -> IO[bytes] | None:
        """The raw file of a stream, which the caller has to close from now on; None without that stream."""
        file: IO[Any] | None = getattr(self, name)
        setattr(self, name, None)
        return os.fdopen(self._descriptor(file), "wb" if name == "stdin" else "rb", 0) if file else None

    @staticmethod
    def _descriptor(file: IO[Any] | None) -> int:
        """A descriptor for the pump, which closes it; the file is closed."""
        if file is None or file.closed:
            return -1
        with file:
            return os.dup(file.fileno())

    # ---- signals, the terminal ------------------------------------------------------------------

    def send_signal(self, number: int) -> None:
        """Send a signal to the program, not to its children; no effect if it has ended. Raises UsageError."""
        if not isinstance(number, int) or not 0 <= number < signal.NSIG:
            raise UsageError(f"signal {number!r}: give a number, as signal.SIGTERM")
        with self._changed:
            if not self._ending:
                self._run.signal(number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL; with the program, all processes of the run end."""
        self.send_signal(signal.SIGKILL)

    def cancel(self) -> None:
        """Kill all processes of the run; the reason is "cancelled"."""
        with self._changed:
            if not self._ending:
                os.eventfd_write(self._stop, 1)

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of the terminal; the program is told by SIGWINCH. Raises StateError without a terminal,
        UsageError."""
        if not 0 <= rows < 1 << 16 or not 0 <= columns < 1 << 16:
            raise UsageError(f"size of {rows} rows and {columns} columns: write numbers from 0 to {(1 << 16) - 1}")
        with self._changed:   # another thread may close it, and its number may be that of another terminal then
            if self._master is None or self._master.closed:
                raise StateError(f'"{self.args[0]}" has no terminal: give terminal=True')
            fcntl.ioctl(self._master.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        """Close the pipes, kill what is still running, and wait. (subprocess waits without killing.)"""
        self.close()

    def close(self) -> None:
        """Kill what is still running, wait, and close the pipes."""
        self.cancel()
        with self._changed:
            self._changed.wait_for(lambda: self._ended)
        self._close_files()

    def _close_files(self) -> None:
        if self._pump is not None:
            self._pump.close()
        for file in (self.stdin, self.stdout, self.stderr):
            if file is not None:
                with suppress(BrokenPipeError):   # what was written last, for a program that has ended
                    file.close()
        with self._changed:
            if self._master is not None:
                self._master.close()

    def __repr__(self) -> str:
        return f"<Process {self.pid} {self.args[0]!r}: {self.returncode}>"


class OutputStream:
    """The output of a program as it comes: an iterator of pairs, "stdout" or "stderr" and the bytes (or the text).

    ``done``  the result, without output, when the iterator is at its end. Raises StateError before.

    If no more chunks are requested, the program waits. It is killed by `close`, at the end of ``with``, and when the
    iterator is dropped.
    """

    def __init__(self, process: Process, data: bytes, *, text: bool, check: bool) -> None:
        # Incremental decoders: a character may be in two chunks.
        self._decoders = [getincrementaldecoder("utf-8")("replace") for _ in range(2)] if text else []
        self.process = process
        self._check = check
        self._pump = process.pump(data)
        self._waiting: list[tuple[int, bytes]] = []

    @property
    def done(self) -> Done:
        """See above."""
        return self.process.done

    def __iter__(self) -> OutputStream:
        return self

    def __next__(self) -> tuple[str, bytes | str]:
        while True:
            while not self._waiting:
                if not self._pump.outputs:
                    self.process.wait()
                    self._pump.close()
                    if self._check:
                        self.done.check()
                    raise StopIteration
                self._waiting = self._pump.turn(float("inf"))[1]
            number, data = self._waiting.pop(0)
            name = ("stdout", "stderr")[number]
            if not self._decoders:
                return name, data
            if text := self._decoders[number].decode(data):
                return name, text

    def close(self) -> None:
        """Kill the program if it is still running."""
        self.process.close()

    def __enter__(self) -> OutputStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_waiting"):
            self.process.cancel()   # without waiting: this may be any thread, even that of the process
            self._pump.close()


class _Terminal(FileIO):
    """The master end of a terminal: when no process has it open any more, that is the end of the output, not EIO."""

    def readinto(self, buffer: Any) -> int | None:
        try:
            return super().readinto(buffer)
        except OSError as error:
            if error.errno != EIO:
                raise
            return 0

    def readall(self) -> bytes:
        buffer, parts = bytearray(CHUNK), []
        while count := self.readinto(buffer):
            parts.append(bytes(buffer[:count]))
        return b"".join(parts)


class _Input(BufferedWriter):
    """A file whose writes reach the program at once: a dialogue needs no `flush`."""

    def write(self, data: Any) -> int:
        written = super().write(data)
        self.flush()
        return written


def _file(fd: int, mode: str, *, text: bool) -> IO[Any]:
    raw = _Terminal(fd, mode)
    file = _Input(raw) if mode == "w" else BufferedReader(raw)
    return TextIOWrapper(file, "utf-8", "replace", write_through=True) if text else file
