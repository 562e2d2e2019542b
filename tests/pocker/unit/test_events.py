"""The journal of events."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pyruntime.pocker import events as history
from pyruntime.pocker.directories import Directories
from pyruntime.system import events as journal


@pytest.fixture
def places(tmp_path: Path) -> Directories:
    return Directories(str(tmp_path / "root"), str(tmp_path / "run"))


def _ids(places: Directories, **options: Any) -> list[str]:
    return [event["Actor"]["ID"] for event in history.events(places, follow=False, **options)]


def test_events_have_dockers_form(places: Directories) -> None:
    history.note(places, "container", "die", "c1", {"image": "i", "name": "n", "exitCode": "1"})
    history.note(places, "volume", "create", "v1", {})
    first, second = history.events(places, since=0, follow=False)
    assert {key: first[key] for key in ("status", "id", "from", "Type", "Action", "scope")} == {
        "status": "die", "id": "c1", "from": "i", "Type": "container", "Action": "die", "scope": "local"}
    assert first["timeNano"] <= second["timeNano"] <= time.time_ns() and first["time"] == first["timeNano"] // 10**9
    assert second["Actor"] == {"ID": "v1", "Attributes": {}} and "from" not in second


def test_events_between_two_times(places: Directories) -> None:
    for number in range(3):
        history.note(places, "container", "start", f"c{number}", {})
    times = [event["timeNano"] for event in history.events(places, since=0, follow=False)]
    assert _ids(places, since=times[1]) == ["c1", "c2"]
    assert _ids(places, since=0, until=times[1]) == ["c0", "c1"]
    assert _ids(places) == []


def test_a_long_journal_is_renamed_and_a_follower_misses_nothing(places: Directories, monkeypatch: pytest.MonkeyPatch
                                                                 ) -> None:
    monkeypatch.setattr(journal, "LIMIT", 2000)
    monkeypatch.setattr(history, "_LOOK", 0.001)
    history.note(places, "container", "start", "before", {})
    seen: list[str] = []
    ready = threading.Event()
    end = time.time_ns() + 60 * 10**9

    def follow() -> None:
        for event in history.events(places, until=end, waiting=ready.set):
            seen.append(event["Actor"]["ID"])
            if event["Actor"]["ID"] == "last":
                return

    def write(name: str) -> None:
        for number in range(40):
            history.note(places, "container", "start", f"{name}{number}", {})
            time.sleep(0.005)   # the journal keeps two files: a follower must read before both have been replaced

    follower = threading.Thread(target=follow)
    follower.start()
    assert ready.wait(60)
    writers = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    history.note(places, "container", "start", "last", {})
    follower.join(60)
    assert (Path(places.run) / "events.1").exists()
    assert sorted(seen[:-1]) == sorted(f"{name}{number}" for name in "abc" for number in range(40))
    assert (Path(places.run) / "events").stat().st_size < 4000


def test_a_broken_line_is_passed_over(places: Directories) -> None:
    history.note(places, "container", "start", "one", {})
    with (Path(places.run) / "events").open("a") as file:
        file.write('{"Type": "cont\n[1]\n')
    history.note(places, "container", "start", "two", {})
    assert _ids(places, since=0) == ["one", "two"]


def test_a_journal_that_cannot_be_written_is_no_error(places: Directories) -> None:
    (Path(places.below_run()) / "events").mkdir()
    history.note(places, "container", "start", "one", {})
