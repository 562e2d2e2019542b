"""Commands of two words: ``pocker network create``.

A module of the program has ``COMMAND = Group(...)`` and ``run = COMMAND.run``. Each member is a module of its own with
COMMAND and run(context, parsed), as the program's commands are; a member may be such a command under a second name
(``pocker image ls`` for ``pocker images``).
"""

from __future__ import annotations

from pyruntime.commandline.modules import load
from pyruntime.commandline.parse import Command, Parsed, help_text
from pyruntime.commandline.program import out, read
from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.commandline.program import Program

ALIASES = {"list": "ls", "ps": "ls", "remove": "rm"}   # Docker's second names of members


class Group(Command):
    """A command whose first argument is a command.

    ``program``   for messages and help
    ``members``   name -> what it does
    ``package``   where the members' modules are
    ``modules``   name -> module, for members in a module of another name or package
    """

    def __init__(self, program: str, name: str, about: str, members: dict[str, str], package: str,
                 modules: dict[str, str] | None = None, *, text: str = "") -> None:
        width = max(map(len, members))
        listed = "".join(f"{member:{width}}  {does}\n" for member, does in members.items())
        example = text or f"Example:\n  {program} {name} {next(iter(members))} --help"
        super().__init__(name, "COMMAND [options] [arguments...]", about, stop_at_argument=True,
                         text=f"Commands:\n{listed}\n{example}")
        self.program = program
        self.members = members
        self._package = package
        self._modules = modules or {}

    def member(self, name: str) -> tuple[Command, Callable[[Any, Parsed], int]]:
        """The command, under its name in this group, and its run function. Raises UsageError for an unknown name."""
        if name not in self.members:
            name = ALIASES.get(name, name)
        if name not in self.members:
            raise UsageError(f'"{self.program} {self.name}" has no command "{name}": there are'
                             f" {', '.join(self.members)}")
        module = load(self.module_name(name))
        it: Command = module.COMMAND
        command = Command(name, it.usage, it.about, *it.flags, least=it.least, most=it.most,
                          stop_at_argument=it.stop_at_argument, text=it.text)
        return command, module.run

    def module_name(self, name: str) -> str:
        """The name of a member's module."""
        return self._modules.get(name, f"{self._package}.{name}")

    def run(self, context: Any, parsed: Parsed) -> int:
        """Run the member that is named by the arguments."""
        program = f"{self.program} {self.name}"
        if not parsed.arguments:
            out(help_text(self, self.program))
            return 0
        name, words = parsed.arguments[0], parsed.arguments[1:]
        if name == "help":
            name, words = (words[0] if words else ""), ["--help"]
            if not name:
                out(help_text(self, self.program))
                return 0
        command, run = self.member(name)
        options = read(command, words, program, self.style)
        if options is None:
            return 0
        return run(context, options)


def every_command(program: Program) -> dict[str, Command]:
    """The commands of a program by their one or two words: those of a group follow the group."""
    found: dict[str, Command] = {}
    for name in program.commands:
        command = found[name] = program.module(name).COMMAND
        if isinstance(command, Group):
            found |= {f"{name} {member}": command.member(member)[0] for member in command.members}
    return found
