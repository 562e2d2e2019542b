"""``pocker export CONTAINER``."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.errors import UsageError
from pyruntime.pocker.cli.each import LATEST_FLAG
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.containers.copy_tree import write_all
from pyruntime.pocker.containers.diff import export
from pyruntime.pocker.events import of_container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

COMMAND = Command("export", "[options] CONTAINER", "export a container's filesystem as a tar archive",
                  LATEST_FLAG,
                  Flag("output", "str", "write to FILE instead of standard output", short="o", value="FILE"),
                  least=1, most=1,
                  text="The content of volumes and other mounts is not included.\n"
                       "`pocker import` creates an image from the archive.\n\n"
                       "Example:\n  pocker export -o web.tar web")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Write the archive."""
    container = context.find(parsed.arguments[0])
    record = container.read()
    path = parsed["output"]
    if not path and os.isatty(1):
        raise UsageError("a tar archive is not for a terminal: give --output FILE, or redirect the output")
    if not path:
        export(container, record, lambda data: write_all(1, data), context.warn)
    else:
        _to_file(path, lambda fd: export(container, record, lambda data: write_all(fd, data), context.warn))
    of_container(context.places, record, "export")
    return 0


def _to_file(path: str, act: Callable[[int], None]) -> None:
    """Write a file, whole or not at all; a pipe or a device as it is."""
    if os.path.exists(path) and not os.path.isfile(path):
        there = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            act(there)
        finally:
            os.close(there)
        return
    temporary = f"{path}.{os.getpid()}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        act(fd)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(fd)
