"""Manual pages of a program, generated from the declarations of its commands: `python -m docs.man DIRECTORY` writes
them.

One page for the program and one for each command and each command of two words, in the layout of man-pages(7).
"""

from __future__ import annotations

from pyruntime.commandline.groups import every_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyruntime.commandline.parse import Command, Flag
    from pyruntime.commandline.program import Program


def _escape(text: str) -> str:
    """Text for roff: hyphens that can be copied, escaped backslashes, no dot at the beginning of a line."""
    lines = text.replace("\\", "\\e").replace("-", "\\-").splitlines()
    return "\n".join("\\&" + line if line.startswith((".", "'")) else line for line in lines)


def options(flags: tuple[Flag, ...], row: str, short: str, value: str, escape: Callable[[str], str]) -> Iterator[str]:
    """An entry for each option. ``row``: a format with the fields name, short, value and about; ``short``, ``value``:
    formats of these two, used where an option has them; ``escape`` writes a text literally."""
    for flag in flags:
        if not flag.hidden:
            yield row.format(name=escape(flag.name), short=short.format(flag.short) if flag.short else "",
                             value=value.format(escape(flag.value)) if flag.value else "", about=escape(flag.described))


def _options(flags: tuple[Flag, ...]) -> Iterator[str]:
    return options(flags, ".TP\n\\fB\\-\\-{name}\\fR{short}{value}\n{about}\n", ", \\fB\\-{}\\fR", " \\fI{}\\fR",
                   _escape)


def _head(title: str, program: str, about: str, usage: str) -> str:
    return (f'.TH "{title.upper()}" "1" "" "{program}" "User Commands"\n'
            f".SH NAME\n{_escape(title)} \\- {_escape(about)}\n.SH SYNOPSIS\n\\fB{program}\\fR {_escape(usage)}\n")


def overview(program: Program) -> str:
    """The page of the program."""
    page = _head(program.name, program.name, program.about.about, program.about.usage) + ".SH COMMANDS\n"
    for name, about in program.commands.items():
        page += f".TP\n\\fB{_escape(name)}\\fR\n{_escape(about)}; see {program.name}\\-{_escape(name)}(1)\n"
    page += ".SH OPTIONS\n" + "".join(_options(program.about.flags))
    return page + ".SH EXIT STATUS\n0 on success; 1 on an error, with a message on standard error.\n"


def page_of(program: Program, words: str, command: Command) -> str:
    """The page of a command, which is called by one or two words."""
    page = _head(_title(program, words), program.name, command.about, f"{words} {command.usage}")
    if command.text:
        page += ".SH DESCRIPTION\n" + _escape(command.text.strip()) + "\n"
    if command.flags:
        page += ".SH OPTIONS\n" + "".join(_options(command.flags))
    return page + f".SH SEE ALSO\n{_escape(_title(program, words).rpartition('-')[0])}(1)\n"


def _title(program: Program, words: str) -> str:
    return f"{program.name}-{words.replace(' ', '-')}"


def pages(program: Program) -> dict[str, str]:
    """File name -> content."""
    found = {f"{program.name}.1": overview(program)}
    for words, command in every_command(program).items():
        found[f"{_title(program, words)}.1"] = page_of(program, words, command)
    return found
