"""Files of the host that programs of a sandbox have open.

CRIU opens the files of a program again by their names, with the rights of root, and follows links. In the sandbox's own
directories nobody can exchange them after a checkpoint. Whoever writes to a writable mount of the host can: a link to a
file that the program may not open would be opened for it.
"""

from __future__ import annotations

import os
from contextlib import suppress

from pyruntime.system.mountinfo import unescape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def open_for_writers(pids: Iterable[int], init: int, sources: Iterable[str]) -> str:
    """What one of the processes has open, or executes, in a writable mount of one of these ``sources``: the words of an
    error, or "". ``init``: a process that has the sandbox's mounts. No process may run meanwhile."""
    devices = {os.stat(source).st_dev for source in sources}
    if not devices:
        return ""
    mounts = _mounts(init)
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):   # it has ended
            for link in _links(pid):
                path = os.readlink(link)
                if path.startswith("/") and _is_writable(path, mounts) and os.stat(link).st_dev in devices:
                    return f'process {pid} has "{path}" open'
    return ""


def _mounts(pid: int) -> list[tuple[str, bool]]:
    """Where the mounts of a process are, and whether they are writable, in the order in which they were made."""
    with open(f"/proc/{pid}/mountinfo", "rb") as file:   # other blanks than the kernel's may be in the names
        lines = [line.split(b" ") for line in file.read().split(b"\n") if line]
    return [(unescape(os.fsdecode(words[4])).rstrip("/"), b"rw" in words[5].split(b",")) for words in lines]


def _is_writable(path: str, mounts: Sequence[tuple[str, bool]]) -> bool:
    _, writable = max(((len(place), number), writable) for number, (place, writable) in enumerate(mounts)
                      if path.startswith(f"{place}/"))
    return writable


def _links(pid: int) -> Iterator[str]:
    """The links to what a process has open, has mapped, and executes."""
    for kind in ("fd", "map_files"):
        for name in os.listdir(f"/proc/{pid}/{kind}"):
            yield f"/proc/{pid}/{kind}/{name}"
    yield f"/proc/{pid}/exe"
