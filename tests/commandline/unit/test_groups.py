"""Commands of two words."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from pyruntime.commandline.groups import Group
from pyruntime.commandline.parse import Command, Flag, Parsed, parse
from pyruntime.errors import UsageError


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Group:
    def member(name: str) -> None:
        module = types.ModuleType(name)
        module.COMMAND = Command("other", "[options] NAME", "do it",  # type: ignore[attr-defined]
                                 Flag("loud", "bool", "with noise"), least=1, most=1, text="Example:\n  it")
        module.run = lambda context, parsed: context.append(  # type: ignore[attr-defined]
            (name, parsed["loud"], parsed.arguments)) or 7
        monkeypatch.setitem(sys.modules, name, module)

    monkeypatch.setitem(sys.modules, "fake", types.ModuleType("fake"))
    for name in ("fake.make", "fake.listing"):
        member(name)
    return Group("tool", "net", "manage nets", {"make": "make one", "ls": "list them"}, "fake", {"ls": "fake.listing"})


def _parsed(group: Group, *words: str) -> Parsed:
    return parse(group, words)


def test_a_member_gets_its_own_options(group: Group) -> None:
    seen: list[Any] = []
    assert group.run(seen, _parsed(group, "make", "--loud", "a")) == 7
    assert group.run(seen, _parsed(group, "ls", "b")) == 7
    assert seen == [("fake.make", True, ["a"]), ("fake.listing", False, ["b"])]


def test_help_of_the_group_and_of_a_member(group: Group, capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[Any] = []
    assert group.run(seen, _parsed(group)) == 0
    assert "make  make one" in capfd.readouterr().out
    for words in (["ls", "--help"], ["help", "ls"]):
        assert group.run(seen, _parsed(group, *words)) == 0
        text = capfd.readouterr().out
        assert "tool net ls - do it" in text and "--loud" in text and "Example:" in text
    assert not seen


def test_mistakes_are_reported(group: Group, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=r'"tool net" has no command "rm": there are make, ls'):
        group.run([], _parsed(group, "rm"))
    with pytest.raises(UsageError, match=r'tool net: "make" requires exactly 1 argument'):
        group.run([], _parsed(group, "make"))
    assert "Incorrect Usage" in capfd.readouterr().out
