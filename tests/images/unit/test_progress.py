"""The progress of transfers, as a terminal shows it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from pyruntime.images.bars import Bars
from pyruntime.images.progress import BarProgress, LineProgress, progress, size


def shown(bars: Bars, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    for part in bars.get_renderables():
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> Bars:
    """Twelve blobs: one has arrived, one is on its way, the others wait; on a terminal of eight lines."""
    monkeypatch.setenv("LINES", "8")
    monkeypatch.setenv("COLUMNS", "50")
    made = Bars(size)
    for number in range(12):
        made.add_task(f"0123456789{number:02} layer", total=31_500_000, start=False, outcome="waiting")
    for task, done in ((made.tasks[0], 31_500_000), (made.tasks[7], 2_360_000)):
        made.start_task(task.id)
        made.update(task.id, completed=done, outcome="copied" if done == 31_500_000 else "")
    return made


@pytest.mark.parametrize("width", [50, 80, 120])
def test_a_bar_is_one_line(bars: Bars, width: int) -> None:
    lines = shown(bars, width)
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("012345678907 layer") and lines[0].rstrip().endswith("2.36MB/31.5MB")


def test_bars_that_move_are_shown_if_not_all_fit(bars: Bars) -> None:
    lines = shown(bars, 80)
    assert [line[10:12] for line in lines[:-1]] == ["07", "01", "02", "03", "04", "05"]
    assert lines[-1] == "1 of 12 done"


def test_all_bars_remain_at_the_end(bars: Bars) -> None:
    bars.stop()
    lines = shown(bars, 80)
    assert len(lines) == 12 and lines[0].rstrip().endswith("31.5MB copied")


def test_a_terminal_without_a_cursor_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    for can, kind in ((True, BarProgress), (False, LineProgress)):
        monkeypatch.setattr("pyruntime.images.progress.can_redraw", lambda _fd, can=can: can)
        assert type(progress(quiet=False)) is kind


@pytest.mark.parametrize(("count", "text"), [
    (0, "0B"), (999, "999B"), (1000, "1kB"), (31_457_280, "31.5MB"), (999_499, "999kB"), (999_600, "1MB"),
    (999_999_999, "1GB")])
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text
