"""What is written to a terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pyruntime.system.terminal import can_redraw, has_colours, screen


@pytest.fixture
def tty() -> Iterator[int]:
    master, slave = os.openpty()
    yield slave
    os.close(slave)
    os.close(master)


@pytest.mark.parametrize(("environment", "redraw", "colours"), [
    ({"TERM": "xterm"}, True, True), ({"TERM": "xterm", "NO_COLOR": ""}, True, True),
    ({"TERM": "xterm", "NO_COLOR": "1"}, True, False), ({"TERM": "dumb"}, False, False), ({}, False, False)])
def test_what_a_terminal_can_show(tty: int, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str],
                                  redraw: bool, colours: bool) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (can_redraw(tty), has_colours(tty)) == (redraw, colours)


def test_a_pipe_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    ends = os.pipe()
    assert not can_redraw(ends[1]) and not has_colours(ends[1])
    for fd in ends:
        os.close(fd)


def test_a_screen_replaces_lines_and_erases_nothing_in_advance() -> None:
    shown = screen(["NAME", "a"], os.terminal_size((80, 24)))
    assert shown == "\x1b[H\x1b[2KNAME\n\x1b[2Ka\n\x1b[J"


def test_a_screen_is_cut_at_the_right_and_at_the_bottom() -> None:
    shown = screen(["NAME", "x" * 20, "b", "c", "d"], os.terminal_size((10, 4)))
    assert shown == "\x1b[H\x1b[2KNAME\n\x1b[2K" + "x" * 9 + "\n\x1b[2K... and 3\n\x1b[J"
    assert screen(["a", "b", "c"], os.terminal_size((80, 4))).count("\n") == 3
