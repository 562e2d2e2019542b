"""A sandbox for one program: made, used and removed in one call."""

from __future__ import annotations

import os
from codecs import getincrementaldecoder
from dataclasses import replace as replace_fields

from pyruntime.errors import PyruntimeError, UsageError
from pyruntime.sandbox.api import OUTPUT_LIMIT, Sandbox
from pyruntime.sandbox.sources import HostSource, RootSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from pyruntime.images.api import ImageStore
    from pyruntime.sandbox.limits import Limits
    from pyruntime.sandbox.result import Done


def run_sandboxed(code: str | Sequence[str], *, root: str | os.PathLike[str] | RootSource | None = None,
                  image: str = "", files: Mapping[str, bytes | str] | None = None, collect: Sequence[str] = (),
                  limits: Limits | None = None, input: bytes | str | None = None, timeout: float | None = None,
                  text: bool = False, max_output: int | str = OUTPUT_LIMIT, output_kills: bool = False,
                  on_stdout: Callable[[Any], object] | None = None, on_stderr: Callable[[Any], object] | None = None,
                  python: str = "python3", require_limits: bool = False, store: ImageStore | None = None,
                  stop: int = -1) -> Done:
    """Run a command, or a text of Python code, in a sandbox of its own.

    ``code``     Python source, run by ``python``; or the program and its arguments
    ``root``, ``image``  as for Sandbox; neither: the host's own system
    ``files``    files to write first: path to content; relative paths are below /work
    ``collect``  files to read afterwards, into ``Done.files``; ``Done.problems`` has the others, each with the reason
    ``on_stdout``, ``on_stderr``  called with each piece of output as it comes (bytes, or with ``text`` text), also of
                 that beyond ``max_output``; the program waits meanwhile, and an exception kills it
    ``stop``     a descriptor; when it is readable, the program is killed: the reason is "cancelled". -1: none

    The other parameters are those of Sandbox and Sandbox.run. Raises what they raise.
    """
    if root and image:
        raise UsageError("give root or image, not both")
    if isinstance(collect, str):
        raise UsageError(f'collect "{collect}": give a list of paths, as ["{collect}"]')
    calls = on_stdout, on_stderr
    # Incremental decoders: a character may be in two pieces.
    decoders = [getincrementaldecoder("utf-8")("replace") for _ in calls] if text else []

    def seen(number: int, data: bytes) -> None:
        call = calls[number]
        if call and (piece := decoders[number].decode(data) if text else data):
            call(piece)

    with Sandbox(root or image or HostSource(), limits=limits, require_limits=require_limits, store=store) as box:
        for path, data in (files or {}).items():
            box.write(os.path.join("/work", path), data)
        argv = [python, "/work/.code.py"] if isinstance(code, str) else code
        if isinstance(code, str):
            box.write("/work/.code.py", code)
        done = box.run_until(stop, argv, input=input, timeout=timeout, env=None, cwd="", max_output=max_output,
                             output_kills=output_kills, seen=seen)
        found, problems = {}, {}
        for path in collect:
            try:
                found[path] = box.read(os.path.join("/work", path))
            except PyruntimeError as error:
                problems[path] = str(error)
        return replace_fields(done.decoded() if text else done, files=found, problems=problems)
