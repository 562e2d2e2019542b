"""The progress of a build on standard error."""

from __future__ import annotations

import re

import pytest

from pyruntime.builder.cli.progress import Plain, Terminal, observer


@pytest.mark.parametrize(("written", "read"), [
    ("50 %\r100 %", "100 %"), ("50 %\r100 %\r", "100 %"), ("\x1b[1;31mred\x1b[0m text", "red text"),
    ("\x1b[2Jgone", "\\x1b[2Jgone"), ("a\tb", "a\tb")])
def test_output_as_a_terminal_would_leave_it(written: str, read: str, capfd: pytest.CaptureFixture[str]) -> None:
    shown = Plain()
    shown.begin(3, "RUN it")
    shown.output(3, written)
    assert re.fullmatch(rf"#3 RUN it\n#3 \d\.\d{{3}} {re.escape(read)}\n", capfd.readouterr().err)


def test_colours_only_where_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    for colours, kind in ((True, Terminal), (False, Plain)):
        monkeypatch.setattr("pyruntime.builder.cli.progress.has_colours", lambda _fd, colours=colours: colours)
        assert type(observer("auto")) is kind
