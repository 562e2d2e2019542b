"""What has happened: a journal that every command and monitor appends to, and `events` reads.

    RUN/events      a line of JSON for each event
    RUN/events.1    the one before it: a journal that has become long is renamed

A line is one write(2) with O_APPEND, so lines of several writers do not mix. There is nobody who could serve them: who
follows the journal looks at the file. It is of this boot, as what it tells of is.
"""

from __future__ import annotations

import os
import time

from pyruntime.errors import ConfigError
from pyruntime.system.events import note
from pyruntime.system.json import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pyruntime.pocker.containers.container import Record
    from pyruntime.pocker.directories import Places

__all__ = ["events", "note", "of_container"]

_LOOK = 0.1       # seconds between two looks at a journal that is followed
_BLOCK = 1 << 16


def of_container(places: Places, record: Record, action: str, **attributes: str) -> None:
    """Append an event of a container, with its name, image and labels."""
    labels = {**(record.image_config.get("Labels") or {}), **record.settings.labels}
    note(places, "container", action, record.id, {**labels, "image": record.image, "name": record.name, **attributes})


def events(places: Places, *, since: int | None = None, until: int | None = None, follow: bool = True,
           waiting: Callable[[], None] = lambda: None) -> Iterator[dict[str, Any]]:
    """The events between two times (nanoseconds after 1970), in Docker's form; without ``since`` only those to come.

    ``follow``: wait for others until ``until``, or for ever; ``waiting`` is called before each wait.
    """
    path = f"{places.below_run()}/events"
    journal = _Journal(path, from_start=since is not None)
    try:
        while True:
            over = until is not None and time.time_ns() > until   # asked before the look: what comes between counts
            for line in journal.lines():
                event = _read(line)
                if event and (since is None or event["timeNano"] >= since) and (
                        until is None or event["timeNano"] <= until):
                    yield _whole(event)
            if not follow or over:
                return
            waiting()
            time.sleep(_LOOK)
    finally:
        journal.close()


class _Journal:
    """The lines of the journal, over its renaming."""

    def __init__(self, path: str, *, from_start: bool) -> None:
        self._path = path
        self._rest = b""
        self._fds: list[int] = []
        for name in ((f"{path}.1", path) if from_start else (path,)):
            self._open(name)
        if not from_start and self._fds:
            os.lseek(self._fds[0], 0, os.SEEK_END)

    def _open(self, name: str) -> None:
        try:
            self._fds.append(os.open(name, os.O_RDONLY | os.O_CLOEXEC))
        except FileNotFoundError:
            return   # nothing has happened yet

    def lines(self) -> Iterator[bytes]:
        """The lines that have come since the last look."""
        while True:
            if not self._fds:
                self._open(self._path)
                if not self._fds:
                    return
            renamed = len(self._fds) > 1 or self._renamed()
            while block := os.read(self._fds[0], _BLOCK):
                *lines, self._rest = (self._rest + block).split(b"\n")
                yield from lines
            if not renamed:
                return
            os.close(self._fds.pop(0))   # seen as renamed before the last read: who had it open has written by now

    def _renamed(self) -> bool:
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._fds[0]))
        except FileNotFoundError:
            return True   # renamed, and nobody has begun a new one

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)


def _read(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None for one that a full disk has cut off."""
    try:
        value = decode(line, "event")
    except ConfigError:
        return None
    return value if isinstance(value, dict) and isinstance(value.get("timeNano"), int) else None


def _whole(event: dict[str, Any]) -> dict[str, Any]:
    """As Docker's interface shows it, with the members that older clients read."""
    actor = event["Actor"]
    old = {"status": event["Action"], "id": actor["ID"]}
    if event["Type"] == "container":
        old["from"] = actor["Attributes"].get("image", "")
    return {**(old if event["Type"] in ("container", "image") else {}), "Type": event["Type"],
            "Action": event["Action"], "Actor": actor, "scope": "local", "time": event["timeNano"] // 10**9,
            "timeNano": event["timeNano"]}
