"""A Python interpreter in a sandbox that is started before its code is known: the start takes 10 ms and more."""

from __future__ import annotations

from contextlib import ExitStack
from time import monotonic

from pyruntime.sandbox.pipes import PIPE, ProgramStreams
from pyruntime.sandbox.run import complete
from pyruntime.system.processes import ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.sandbox.pipes import KeptOutput
    from pyruntime.sandbox.result import Done
    from pyruntime.sandbox.run import Run

# Reads a line with the number of bytes, the code, and executes it in its place; the input is what follows.
_BOOT = """
import os
def _read(count):
    data = b""
    while len(data) < count:
        part = os.read(0, count - len(data))
        if not part:
            os._exit(0)
        data += part
    return data
def _number():
    line = b""
    while not line.endswith(b"\\n"):
        line += _read(1)
    return int(line)
_code = compile(_read(_number()), "<code>", "exec")
del os, _read, _number
exec(_code)
"""


class Interpreter:
    """An interpreter that waits for code. ``run`` is a new run of the sandbox, which is ended with it."""

    def __init__(self, run: Run, program: str, cwd: str) -> None:
        """Raises StepError, OSError; then the run has ended."""
        self._run = run
        self._program = program
        with ExitStack() as undo:
            undo.callback(run.end)
            self._streams = ProgramStreams(PIPE, PIPE, PIPE)
            undo.callback(self._streams.close)
            run.start([program, "-c", _BOOT], None, cwd, self._streams.theirs)
            self._streams.started()
            undo.pop_all()

    @property
    def alive(self) -> bool:
        """Whether it still waits."""
        return not ended(self._run.pidfd, 0)

    def execute(self, code: bytes, data: bytes, *, seconds: float | None, kept: KeptOutput, output_kills: bool,
                stop: int) -> Done:
        """Let it execute code, and wait, as run.carry_out. Once."""
        self._run.begun = monotonic()
        self._run.args = [self._program, "-c", code.decode()]   # in the result, instead of the loop that waits
        return complete(self._run, self._streams, b"%d\n%s%s" % (len(code), code, data), seconds=seconds, kept=kept,
                        output_kills=output_kills, stop=stop)

    def close(self) -> None:
        """End it."""
        self._streams.close()
        self._run.end()
