"""Events: a journal to which every command and monitor appends, and that `events` reads.

    RUN/events      a line of JSON for each event
    RUN/events.1    the previous journal: a long journal is renamed

A line is one write(2) with O_APPEND, so that lines of several writers do not mix. Without a daemon, readers poll the
file. Like the containers' runs, it does not survive a reboot.
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

    from pyruntime.pocker.containers.container import ContainerRecord
    from pyruntime.pocker.directories import Directories

__all__ = ["events", "note", "of_container"]

_LOOK = 0.1       # seconds between two reads of a followed journal
_BLOCK = 1 << 16


def of_container(places: Directories, record: ContainerRecord, action: str, **attributes: str) -> None:
    """Append an event of a container, with its name, image and labels."""
    labels = {**(record.image_config.get("Labels") or {}), **record.settings.labels}
    note(places, "container", action, record.id, {**labels, "image": record.image, "name": record.name, **attributes})


def events(places: Directories, *, since: int | None = None, until: int | None = None, follow: bool = True,
           waiting: Callable[[], None] = lambda: None) -> Iterator[dict[str, Any]]:
    """The events between two times (nanoseconds after 1970), in Docker's form; without ``since`` only new ones.

    ``follow``: wait for further events until ``until``, or without end; ``waiting`` is called before each wait.
    """
    path = f"{places.below_run()}/events"
    journal = _Journal(path, from_start=since is not None)
    try:
        while True:
            over = until is not None and time.time_ns() > until   # asked before the read: no event is lost
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
    """The lines of the journal, across its renaming."""

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
            return   # no event yet

    def lines(self) -> Iterator[bytes]:
        """The lines since the last read."""
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
            os.close(self._fds.pop(0))   # renamed before the last read: writers that had it open have written by now

    def _renamed(self) -> bool:
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._fds[0]))
        except FileNotFoundError:
            return True   # renamed, and no new journal exists yet

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)


def _read(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None for a line that was truncated by a full disk."""
    try:
        value = decode(line, "event")
    except ConfigError:
        return None
    return value if isinstance(value, dict) and isinstance(value.get("timeNano"), int) else None


def _whole(event: dict[str, Any]) -> dict[str, Any]:
    """The event in the form of Docker's API, with the members that older clients read."""
    actor = event["Actor"]
    old = {"status": event["Action"], "id": actor["ID"]}
    if event["Type"] == "container":
        old["from"] = actor["Attributes"].get("image", "")
    return {**(old if event["Type"] in ("container", "image") else {}), "Type": event["Type"],
            "Action": event["Action"], "Actor": actor, "scope": "local", "time": event["timeNano"] // 10**9,
            "timeNano": event["timeNano"]}
