"""The journal of events, written by every command and monitor; pyruntime.pocker.events reads it.

    RUN/events      a line of JSON for each event
    RUN/events.1    the journal before: a journal that has reached LIMIT is renamed

A line is one write(2) with O_APPEND, so lines of several writers do not mix.
"""

from __future__ import annotations

import os
import time

from pyruntime.errors import HostError
from pyruntime.system.json import encode
from pyruntime.system.locks import hold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.system.roots import Roots

LIMIT = 1 << 20   # bytes before the journal is renamed: some thousand events; RUN is in memory


def note(roots: Roots, kind: str, action: str, id: str, attributes: dict[str, str]) -> None:
    """Append an event. ``kind``: container, image, network or volume; ``action`` in Docker's words."""
    line = encode({"Type": kind, "Action": action, "Actor": {"ID": id, "Attributes": attributes},
                   "timeNano": time.time_ns()}) + "\n"
    try:
        fd = os.open(f"{roots.below_run()}/events", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, line.encode())
            if os.lseek(fd, 0, os.SEEK_CUR) > LIMIT:
                _rotate(roots, fd)
        finally:
            os.close(fd)
    except (OSError, HostError):
        return   # a full disk loses events, but must not keep a container from starting or stopping


def _rotate(roots: Roots, fd: int) -> None:
    """Rename the journal that is open, unless another process is renaming it or has renamed it."""
    path = f"{roots.run}/events"
    try:
        hold(fd, wait=False)
    except BlockingIOError:
        return
    if os.path.samestat(os.stat(path), os.fstat(fd)):
        os.rename(path, f"{path}.1")
