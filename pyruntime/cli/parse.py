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


class Flag:
    """One option. ``kind``: ``bool``, ``str``, ``int`` or ``list``; ``short``: one letter or nothing."""

    __slots__ = ("default", "help", "hidden", "kind", "name", "short", "value")

    def __init__(self, name: str, kind: str, help: str, *, short: str = "", default: Any = None, value: str = "",
                 hidden: bool = False) -> None:
        self.name = name
        self.kind = kind
        self.help = help
        self.short = short
        self.default = {"bool": False, "str": "", "int": 0, "list": []}[kind] if default is None else default
        self.value = value or {"bool": "", "str": "VALUE", "int": "N", "list": "VALUE"}[kind]
        self.hidden = hidden


class Command:
    """What a command line can be: its flags and how many arguments it takes."""

    def __init__(self, name: str, usage: str, about: str, *flags: Flag, least: int = 0, most: int | None = None,
                 stop_at_argument: bool = False, text: str = "", glued: bool = False) -> None:
        self.name = name
        self.usage = usage
        self.about = about
        self.flags = flags
        self.least = least
        self.most = most
        self.stop_at_argument = stop_at_argument
        self.text = text
        self.glued = glued   # the value of a short flag may follow at once: -p80:80

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


def parse(command: Command, words: Sequence[str]) -> Parsed:
    """Read a command line; raises UsageError in runc's words."""
    parsed = Parsed(command)
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
        if flag is None and not word.startswith("--") and (letters := _letters(command, word)):
            words[index:index] = letters
            continue
        if flag is None:
            raise UsageError(f"Incorrect Usage: flag provided but not defined: -{name}")
        if flag.kind != "bool" and not equals:
            if index == len(words):
                raise UsageError(f"Incorrect Usage: flag needs an argument: -{name}")
            value = words[index]
            index += 1
        parsed.given.add(flag.name)
        _store(parsed, flag, value if equals or flag.kind != "bool" else "true")
    return parsed


def _letters(command: Command, word: str) -> list[str]:
    """The short flags of a word such as -aq, one word each; nothing where it is none. Only the last may have a value.

    runc knows no such thing, but whoever comes from docker, podman or skopeo writes -it."""
    name, equals, value = word[1:].partition("=")
    flags = [next((flag for flag in command.flags if letter == flag.short), None) for letter in name]
    if command.glued:
        valued = next((place for place, flag in enumerate(flags) if flag is None or flag.kind != "bool"), len(flags))
        if valued < len(flags) - 1 and flags[valued]:
            return [*(f"-{letter}" for letter in name[:valued]), f"-{name[valued]}={word[valued + 2:]}"]
    if len(name) < 2 or any(flag is None for flag in flags) or any(flag and flag.kind != "bool" for flag in flags[:-1]):
        return []
    return [f"-{letter}" for letter in name[:-1]] + [f"-{name[-1]}{equals}{value}"]


def _store(parsed: Parsed, flag: Flag, value: str) -> None:
    if flag.kind == "bool":
        if value not in TRUE | FALSE:
            raise UsageError(f'Incorrect Usage: invalid boolean value "{value}" for -{flag.name}: write true or false')
        parsed.values[flag.name] = value in TRUE
    elif flag.kind == "int":
        try:
            parsed.values[flag.name] = int(value, 0)
        except ValueError:
            raise UsageError(f'Incorrect Usage: invalid value "{value}" for flag -{flag.name}: write a number'
                             ) from None
    elif flag.kind == "list":
        parsed.values[flag.name].append(value)
    else:
        parsed.values[flag.name] = value


def check_count(command: Command, parsed: Parsed, program: str) -> None:
    """Raise UsageError when there are too few or too many arguments."""
    count, least, most = len(parsed.arguments), command.least, command.most
    if least == most and count != least:
        raise UsageError(f'{program}: "{command.name}" requires exactly {least} argument(s)')
    if count < least:
        raise UsageError(f'{program}: "{command.name}" requires a minimum of {least} argument(s)')
    if most is not None and count > most:
        raise UsageError(f'{program}: "{command.name}" requires a maximum of {most} argument(s)')


def help_text(command: Command, program: str) -> str:
    """The help of one command, in runc's layout."""
    lines = ["NAME:", f"   {program} {command.name} - {command.about}", "", "USAGE:",
             f"   {program} {command.name} {command.usage}".rstrip()]
    if command.text:
        lines += ["", "DESCRIPTION:", *(f"   {line}".rstrip() for line in command.text.strip().splitlines())]
    lines += ["", "OPTIONS:", *options(command.flags)]
    return "\n".join(lines) + "\n"


def options(flags: Sequence[Flag]) -> list[str]:
    """The lines that describe the flags."""
    rows = []
    for flag in flags:
        if not flag.hidden:
            left = f"--{flag.name}" + (f", -{flag.short}" if flag.short else "")
            left += f" {flag.value}" if flag.value else ""
            default = f" (default: {flag.default})" if flag.default not in (False, "", 0, []) else ""
            rows.append((left, flag.help + default))
    rows.append(("--help" if any(flag.short == "h" for flag in flags) else "--help, -h", "show help"))
    width = max(len(left) for left, _ in rows)
    return [f"   {left:{width}}  {right}" for left, right in rows]
