"""Command lines as runc has them: ``--name value``, ``--name=value``, one dash too, short flags, repeated values.

argparse would cost more than a whole `create` (its import alone, 10 ms) and knows neither ``-log x`` nor
``--flag=false``.
"""

from __future__ import annotations

from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

TRUE = {"1", "t", "T", "true", "TRUE", "True"}
FALSE = {"0", "f", "F", "false", "FALSE", "False"}

_COLUMNS, _LEFT = 100, 32   # the width of a help text; the width of the flags in it


class Flag:
    """One option. ``kind``: ``bool``, ``str``, ``int``, ``list``, or ``argument`` for an option that replaces the first
    argument (``--latest``), which is then the option's name with the dashes; ``short``: one letter or nothing."""

    __slots__ = ("default", "help", "hidden", "kind", "name", "short", "value")

    def __init__(self, name: str, kind: str, help: str, *, short: str = "", default: Any = None, value: str = "",
                 hidden: bool = False) -> None:
        self.name = name
        self.kind = kind
        self.help = help
        self.short = short
        nothing = {"bool": False, "argument": False, "str": "", "int": 0, "list": []}
        self.default = nothing[kind] if default is None else default
        self.value = value or {"bool": "", "argument": "", "str": "VALUE", "int": "N", "list": "VALUE"}[kind]
        self.hidden = hidden

    @property
    def switch(self) -> bool:
        """Whether the option takes no value."""
        return self.kind in ("bool", "argument")

    @property
    def described(self) -> str:
        """The help text, with the default value in brackets."""
        value = "true" if self.default is True else self.default
        return self.help + (f" (default: {value})" if value not in (False, "", 0, []) else "")


class Style:
    """How a program reads its command lines, and its messages for wrong ones.

    ``glued``    the value of a short flag may follow without a space: -p80:80
    ``help``     a wrong command line prints the command's help, on standard output
    ``wrong``    the exit status of a wrong flag
    ``words``    the messages: for an unknown flag, a missing value, an invalid value, and a wrong number of
                 arguments
    """

    __slots__ = ("glued", "help", "words", "wrong")

    def __init__(self, *, glued: bool, help: bool, wrong: int, unknown: str, missing: str, boolean: str, value: str,
                 few: str, many: str, exact: str) -> None:
        self.glued = glued
        self.help = help
        self.wrong = wrong
        self.words = {"unknown": unknown, "missing": missing, "boolean": boolean, "value": value, "few": few,
                      "many": many, "exact": exact}

    def error(self, kind: str, **values: object) -> UsageError:
        """The message for a mistake, in the program's style; a flag's name is given without dashes."""
        error = UsageError(self.words[kind].format(**values))
        if kind in ("unknown", "missing", "boolean", "value"):
            error.exit_code = self.wrong
        return error


RUNC = Style(
    glued=False, help=True, wrong=1,
    unknown="Incorrect Usage: flag provided but not defined: -{name}",
    missing="Incorrect Usage: flag needs an argument: -{name}",
    boolean='Incorrect Usage: invalid boolean value "{value}" for -{name}: write true or false',
    value='Incorrect Usage: invalid value "{value}" for flag -{name}: write a number',
    few='{program}: "{command}" requires a minimum of {count} argument(s)',
    many='{program}: "{command}" requires a maximum of {count} argument(s)',
    exact='{program}: "{command}" requires exactly {count} argument(s)')
_PLAIN = {"unknown": "unknown flag: {dashes}{name}: see `{call} --help`",
          "missing": "flag needs an argument: {dashes}{name}: see `{call} --help`",
          "boolean": 'invalid argument "{value}" for "--{name}": write true or false',
          "value": 'invalid argument "{value}" for "--{name}": write a number',
          "few": '"{call}" requires at least {count} argument(s): see `{call} --help`',
          "many": '"{call}" requires at most {count} argument(s): see `{call} --help`',
          "exact": '"{call}" requires exactly {count} argument(s): see `{call} --help`'}
DOCKER = Style(glued=True, help=False, wrong=125, **_PLAIN)
SKOPEO = Style(glued=False, help=False, wrong=1, **_PLAIN)


class Command:
    """A command: its flags, and how many arguments it takes."""

    def __init__(self, name: str, usage: str, about: str, *flags: Flag, least: int = 0, most: int | None = None,
                 stop_at_argument: bool = False, text: str = "") -> None:
        self.name = name
        self.usage = usage
        self.about = about
        self.flags = flags
        self.least = least
        self.most = most
        self.stop_at_argument = stop_at_argument
        self.text = text
        self.style = RUNC   # the style of its program

    def flag(self, name: str) -> Flag | None:
        """The flag with this long name or letter."""
        return next((flag for flag in self.flags if name and name in (flag.name, flag.short)), None)


class Parsed:
    """Values by flag name (dashes as underscores), and the arguments."""

    def __init__(self, command: Command) -> None:
        self.values: dict[str, Any] = {flag.name: flag.default if flag.kind != "list" else []
                                       for flag in command.flags}
        self.given: set[str] = set()
        self.arguments: list[str] = []
        self.help = False

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


def parse(command: Command, words: Sequence[str], style: Style = RUNC, program: str = "") -> Parsed:
    """Read a command line. Raises UsageError with a message of ``style``."""
    parsed = Parsed(command)
    about = {"program": program, "command": command.name, "call": f"{program} {command.name}".rstrip()}
    words = list(words)
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if word == "--":
            parsed.arguments += words[index:]
            break
        if not word.startswith("-") or word == "-":
            if command.stop_at_argument:
                parsed.arguments += words[index - 1:]
                break
            parsed.arguments.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if name == "help" or (name == "h" and command.flag(name) is None):
            parsed.help = True
            continue
        flag = command.flag(name)
        if flag is None and not word.startswith("--") and (letters := _letters(command, word, glued=style.glued)):
            words[index:index] = letters
            continue
        if flag is None:
            raise style.error("unknown", name=name, dashes=word[:len(word) - len(word.lstrip("-"))], **about)
        if not flag.switch and not equals:
            if index == len(words):
                raise style.error("missing", name=name, dashes="-" if len(name) == 1 else "--", **about)
            value = words[index]
            index += 1
        parsed.given.add(flag.name)
        _store(parsed, flag, value if equals or not flag.switch else "true", style)
    return parsed


def _letters(command: Command, word: str, *, glued: bool) -> list[str]:
    """The short flags of a word such as -aq, as a word each; empty for another word. Only the last may have a value.

    runc does not accept this form, but users of docker, podman and skopeo write -it."""
    name, equals, value = word[1:].partition("=")
    flags = [next((flag for flag in command.flags if letter == flag.short), None) for letter in name]
    if glued:
        valued = next((place for place, flag in enumerate(flags) if flag is None or not flag.switch), len(flags))
        if valued < len(flags) - 1 and flags[valued]:
            return [*(f"-{letter}" for letter in name[:valued]), f"-{name[valued]}={word[valued + 2:]}"]
    if len(name) < 2 or any(flag is None for flag in flags) or any(flag and not flag.switch for flag in flags[:-1]):
        return []
    return [f"-{letter}" for letter in name[:-1]] + [f"-{name[-1]}{equals}{value}"]


def _store(parsed: Parsed, flag: Flag, value: str, style: Style) -> None:
    if flag.switch and value not in TRUE | FALSE:
        raise style.error("boolean", value=value, name=flag.name)
    if flag.kind == "bool":
        parsed.values[flag.name] = value in TRUE
    elif flag.kind == "argument":
        if value in TRUE:
            parsed.arguments.insert(0, f"--{flag.name}")
    elif flag.kind == "int":
        try:
            parsed.values[flag.name] = int(value, 0)
        except ValueError:
            raise style.error("value", value=value, name=flag.name) from None
    elif flag.kind == "list":
        parsed.values[flag.name].append(value)
    else:
        parsed.values[flag.name] = value


def check_count(command: Command, parsed: Parsed, program: str, style: Style = RUNC) -> None:
    """Raise UsageError when there are too few or too many arguments."""
    count, least, most = len(parsed.arguments), command.least, command.most
    about = {"program": program, "command": command.name, "call": f"{program} {command.name}".rstrip()}
    if least == most and count != least:
        raise style.error("exact", count=least, **about)
    if count < least:
        raise style.error("few", count=least, **about)
    if most is not None and count > most:
        raise style.error("many", count=most, **about)


def help_text(command: Command, program: str) -> str:
    """The help of one command, in runc's layout."""
    lines = ["NAME:", f"   {program} {command.name} - {command.about}", "", "USAGE:",
             f"   {program} {command.name} {command.usage}".rstrip()]
    if command.text:
        lines += ["", "DESCRIPTION:", *(f"   {line}".rstrip() for line in command.text.strip().splitlines())]
    lines += ["", "OPTIONS:", *options(command.flags)]
    return "\n".join(lines) + "\n"


def options(flags: Sequence[Flag]) -> list[str]:
    """The lines that describe the flags, at most _COLUMNS wide; the text of a long flag starts on the next line."""
    rows = []
    for flag in flags:
        if not flag.hidden:
            left = f"--{flag.name}" + (f", -{flag.short}" if flag.short else "")
            left += f" {flag.value}" if flag.value else ""
            rows.append((left, flag.described))
    rows.append(("--help" if any(flag.short == "h" for flag in flags) else "--help, -h", "show help"))
    width = min(max(len(left) for left, _ in rows), _LEFT)
    lines = []
    for left, right in rows:
        first, *rest = _wrapped(right, _COLUMNS - width - 5)
        if len(left) > width:
            lines.append(f"   {left}")
            left = ""
        lines += [f"   {left:{width}}  {first}", *(" " * (width + 5) + line for line in rest)]
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    """Wrap a text into lines; textwrap would import re."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines
