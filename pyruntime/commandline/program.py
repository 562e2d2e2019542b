"""A command line of commands: ``NAME [global options] COMMAND [options] ARGS``.

Finds the command, runs it, and turns errors into exit statuses: the same for all of our programs.
"""

from __future__ import annotations

import os
import sys

from pyruntime import errors
from pyruntime.commandline.log import LOG, safe
from pyruntime.commandline.modules import load
from pyruntime.commandline.parse import RUNC, Command, Parsed, Style, check_count, help_text, options, parse
from pyruntime.errors import HostError, PyruntimeError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn


class Program:
    """One of our programs.

    ``about``      its global options
    ``commands``   command -> what it does; each is a module of ``package`` with COMMAND and run(context, parsed)
    ``context``    called with the parsed global options; the commands get the result
    ``version``    what --version prints
    ``hidden``     commands that are not listed in the help
    ``style``      how command lines are read, and the messages for wrong ones
    ``ahead``      modules that commands import when they need them, to be part of the program's snapshot
    ``rehearsal``  a module whose ``rehearse``, with an empty directory, runs before the snapshot is taken; or ""
    ``sentences``  a message is one line unless a person reads it
    """

    sentences = False

    def __init__(self, name: str, about: Command, commands: dict[str, str], package: str,
                 context: Callable[[Parsed], Any], version: Callable[[], str], hidden: Sequence[str] = (), *,
                 ahead: Sequence[str] = (), rehearsal: str = "", style: Style = RUNC) -> None:
        self.name = name
        self.about = about
        self.commands = commands
        self.package = package
        self.context = context
        self.version = version
        self.hidden = hidden
        self.ahead = ahead
        self.rehearsal = rehearsal
        self.style = style

    def overview(self) -> str:
        """The help of the whole program."""
        width = max(map(len, self.commands))
        commands = [f"   {name:{width}}  {about}" for name, about in self.commands.items()]
        lines = ["NAME:", f"   {self.name} - {self.about.about}", "", "USAGE:",
                 f"   {self.name} {self.about.usage}", "", "COMMANDS:", *commands, "", "GLOBAL OPTIONS:",
                 *options(self.about.flags)]
        return "\n".join(lines) + "\n"

    def module(self, name: str) -> Any:
        """The module of a command."""
        return load(self.module_name(name))

    def module_name(self, name: str) -> str:
        """The name of a command's module; the name of a Python keyword gets a trailing _."""
        return f"{self.package}.{name}{'_' if name == 'import' else ''}"

    def load_all(self) -> None:
        """Import the modules of all commands, and those that the program names: for its snapshot."""
        for name in (*self.commands, *self.hidden):
            command = self.module(name).COMMAND
            for member in getattr(command, "members", ()):
                load(command.module_name(member))
        for module in self.ahead:
            try:
                load(module)
            except HostError:   # it needs what this host does not have (libseccomp), and says so to who uses it
                continue

    def unknown(self, name: str, words: Sequence[str]) -> int:
        """Print that the command does not exist, with similar commands. Returns the exit status."""
        from difflib import get_close_matches  # lazy: only for an unknown command

        alike = get_close_matches(name, self.commands, 3)
        hint = f"do you mean {' or '.join(alike)}?" if alike else f"see `{self.name} --help`"
        LOG.error(f'"{name}" is not a command of {self.name}: {hint}')
        return 1

    def main(self, words: Sequence[str] | None = None) -> int:
        """Run one command line and return its exit status."""
        fill_standard_descriptors()
        try:
            return self._run(sys.argv[1:] if words is None else words)
        except PyruntimeError as error:
            LOG.error(error)
            return error.exit_code
        except KeyboardInterrupt:
            return 130
        except BrokenPipeError:
            return 1
        except OSError as error:
            from pyruntime.system.restrictions import limits  # lazy: only for a refusal

            reason = limits(error.errno or 0)
            LOG.error(f"{reason}{reason and ': '}{errors.words(error)}")
            return 1

    def _run(self, words: Sequence[str]) -> int:
        try:
            parsed = parse(self.about, words, self.style, self.name)
        except UsageError as error:
            if self.style.help:
                out(f"{error}\n\n" + self.overview())
            raise
        LOG.configure(file=parsed["log"], format=parsed["log-format"], debug=parsed["debug"],
                      sentences=self.sentences)
        if parsed["version"]:
            out(self.version())
            return 0
        name, arguments = (parsed.arguments[0], parsed.arguments[1:]) if parsed.arguments else ("help", [])
        if parsed.help or name in ("help", "h"):
            if parsed.help or not arguments:
                out(self.overview())
                return 0
            name, arguments = arguments[0], ["--help"]
        if name not in self.commands and name not in self.hidden:
            return self.unknown(name, arguments)
        module = self.module(name)
        command: Command = module.COMMAND
        run: Callable[[Any, Parsed], int] = module.run
        options_ = read(command, arguments, self.name, self.style)
        if options_ is None:
            return 0
        return run(self.context(parsed), options_)


def read(command: Command, words: Sequence[str], program: str, style: Style) -> Parsed | None:
    """The command line of one command; None after printing help, if the user asked for it. Raises UsageError."""
    command.style = style
    try:
        parsed = parse(command, words, style, program)
        if parsed.help:
            out(help_text(command, program))
            return None
        check_count(command, parsed, program, style)
    except UsageError as error:
        if style.help:
            out(("Incorrect Usage.\n\n" if "requires" in str(error) else "") + help_text(command, program))
        raise
    return parsed


def out(text: str) -> None:
    """Write to standard output; on a terminal, without control characters, which it would obey."""
    if os.isatty(1):
        text = safe(text)
    data = text.encode("utf-8", "surrogateescape")
    while data:
        data = data[os.write(1, data):]


def say(text: str) -> None:
    """Print a note for a person on standard error; it is not part of the result."""
    os.write(2, safe(text).encode() + b"\n")


def leave(status: int) -> NoReturn:
    """End the process as ``sys.exit`` does, without finalizing the interpreter, which costs 4 to 7 ms.

    Functions of atexit and threads that must be joined still run: they need one of the modules that are checked here.
    """
    if "atexit" in sys.modules or "threading" in sys.modules:
        sys.exit(status)
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream:      # None if it was closed when the interpreter started
                stream.flush()
    except OSError:
        sys.exit(status)    # the interpreter reports the error, and exits with status 120
    os._exit(status)


def fill_standard_descriptors() -> None:
    """Open /dev/null in place of each standard descriptor that our caller closed: otherwise a file or socket of ours
    would get its number, messages would be written to it, and the container would inherit it."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            if os.open("/dev/null", os.O_RDWR) == fd:   # the lowest free number
                os.set_inheritable(fd, True)
