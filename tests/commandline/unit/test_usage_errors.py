"""The errors for invalid command lines: pyruntime's like runc's, the others' like those of docker and skopeo."""

from __future__ import annotations

import pytest

from pyruntime.commandline.groups import Group
from pyruntime.commandline.program import Program
from pyruntime.images.cli.main import PROGRAM as PYIMAGE
from pyruntime.pocker.cli.main import PROGRAM as POCKER
from pyruntime.runtime.cli.main import PROGRAM as PYRUNTIME

PROGRAMS = {"pyruntime": (PYRUNTIME, 1), "pyimage": (PYIMAGE, 1), "pocker": (POCKER, 125)}
COMMANDS = [(name, word) for name, (program, _) in PROGRAMS.items() for word in program.commands]


def _members(program: Program, word: str) -> list[list[str]]:
    command = program.module(word).COMMAND
    return [[word, member] for member in command.members] if isinstance(command, Group) else [[word]]


@pytest.mark.parametrize(("name", "word"), COMMANDS)
def test_a_wrong_flag_is_one_line_on_standard_error(name: str, word: str, capfd: pytest.CaptureFixture[str]) -> None:
    program, status = PROGRAMS[name]
    for words in _members(program, word):
        assert program.main([*words, "--nosuch"]) == status
        done = capfd.readouterr()
        assert len(done.err.splitlines()) == 1 and "nosuch" in done.err, done.err
        if name == "pyruntime":
            assert done.out.startswith("NAME:\n"), "as runc does"
        else:
            assert done == ("", f"error: unknown flag: --nosuch: see `{name} {' '.join(words)} --help`\n")


@pytest.mark.parametrize(("words", "status", "said"), [
    ("--nosuch ps", 125, "unknown flag: --nosuch: see `pocker --help`"),
    ("run --name", 125, "flag needs an argument: --name: see `pocker run --help`"),
    ("run -v", 125, "flag needs an argument: -v: see `pocker run --help`"),
    ("run -z x", 125, "unknown flag: -z: see `pocker run --help`"),
    ("run --rm=maybe x", 125, 'invalid argument "maybe" for "--rm": write true or false'),
    ("logs --latest=maybe", 125, 'invalid argument "maybe" for "--latest": write true or false'),
    ("logs --latest=false", 1, '"pocker logs" requires exactly 1 argument(s): see `pocker logs --help`'),
    ("stop -t x box", 125, 'invalid argument "x" for "--timeout": write a number'),
    ("run", 1, '"pocker run" requires at least 1 argument(s): see `pocker run --help`'),
    ("volume rm", 1, '"pocker volume rm" requires at least 1 argument(s): see `pocker volume rm --help`'),
    ("ps x", 1, '"pocker ps" requires exactly 0 argument(s): see `pocker ps --help`'),
    ("port", 1, '"pocker port" requires at least 1 argument(s): see `pocker port --help`'),
    ("rename x", 1, '"pocker rename" requires exactly 2 argument(s): see `pocker rename --help`'),
])
def test_the_messages_of_pocker(words: str, status: int, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert POCKER.main(words.split()) == status
    assert capfd.readouterr() == ("", f"error: {said}\n")
