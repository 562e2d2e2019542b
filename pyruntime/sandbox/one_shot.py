"""A sandbox for one program: made, used and removed in one call."""

from __future__ import annotations

import os
from dataclasses import replace as replace_fields

from pyruntime.errors import PyruntimeError, UsageError
from pyruntime.sandbox.api import OUTPUT_LIMIT, Sandbox
from pyruntime.sandbox.sources import HostSource, RootSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyruntime.images.api import ImageStore
    from pyruntime.sandbox.limits import Limits
    from pyruntime.sandbox.result import Done


def run_sandboxed(code: str | Sequence[str], *, root: str | os.PathLike[str] | RootSource | None = None,
                  image: str = "", files: Mapping[str, bytes | str] | None = None, collect: Sequence[str] = (),
                  limits: Limits | None = None, input: bytes | str | None = None, timeout: float | None = None,
                  text: bool = False, max_output: int | str = OUTPUT_LIMIT, output_kills: bool = False,
                  python: str = "python3", require_limits: bool = False, store: ImageStore | None = None) -> Done:
    """Run a command, or a text of Python code, in a sandbox of its own.

    ``code``     Python source, run by ``python``; or the program and its arguments
    ``root``, ``image``  as for Sandbox; neither: the host's own system
    ``files``    files to write first: path to content; relative paths are below /work
    ``collect``  files to read afterwards, into ``Done.files``; ``Done.problems`` has the others, each with the reason

    The other parameters are those of Sandbox and Sandbox.run. Raises what they raise.
    """
    if root and image:
        raise UsageError("give root or image, not both")
    with Sandbox(root or image or HostSource(), limits=limits, require_limits=require_limits, store=store) as box:
        for path, data in (files or {}).items():
            box.write(os.path.join("/work", path), data)
        argv = [python, "/work/.code.py"] if isinstance(code, str) else code
        if isinstance(code, str):
            box.write("/work/.code.py", code)
        done = box.run(argv, input=input, timeout=timeout, text=text, max_output=max_output, output_kills=output_kills)
        found, problems = {}, {}
        for path in collect:
            try:
                found[path] = box.read(os.path.join("/work", path))
            except PyruntimeError as error:
                problems[path] = str(error)
        return replace_fields(done, files=found, problems=problems)
