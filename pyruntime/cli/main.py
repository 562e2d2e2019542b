"""``pyruntime [global options] COMMAND [options] ARGS``: find the command, run it, turn errors into exit codes."""

from __future__ import annotations

import os
import sys

from pyruntime.cli.log import LOG
from pyruntime.cli.parse import Command, Flag, Parsed, check_count, help_text, options, parse
from pyruntime.errors import PyruntimeError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROGRAM = "pyruntime"
SPEC = "1.3.0"
GLOBAL = Command(
    "", "[global options] command [command options] [arguments...]", "Open Container Initiative runtime",
    Flag("debug", "bool", "write debug messages too"),
    Flag("log", "str", "append messages to FILE instead of stderr", value="FILE"),
    Flag("log-format", "str", "of messages: text or json", default="text"),
    Flag("root", "str", "directory for the state of containers", value="DIR"),
    Flag("systemd-cgroup", "bool", "let systemd make the cgroup (not supported yet)"),
    Flag("rootless", "str", "ignore cgroup permission errors: true, false or auto", default="auto"),
    Flag("version", "bool", "print the version", short="v"),
    stop_at_argument=True)
# command -> what it does; each is a module of this package with COMMAND and run().
COMMANDS = {
    "create": "create a container",
    "delete": "delete a container and what it holds",
    "explain": "print the launch plan of a bundle",
    "features": "print what this runtime supports",
    "kill": "send a signal to a container",
    "list": "list containers",
    "run": "create and start a container",
    "spec": "write a new config.json",
    "start": "start a created container",
    "state": "print the state of a container",
    "validate": "check the config.json of a bundle",
}


class Context:
    """The global options that commands use."""

    def __init__(self, parsed: Parsed) -> None:
        from pyruntime.lifecycle.store import default_root

        root = parsed["root"]
        if root and os.path.abspath(root) == "/":
            raise UsageError('Option --root argument should not be set to /; give a directory of its own')
        self.root_given = bool(root)
        self.root = os.path.abspath(root) if root else default_root()
        value = parsed["rootless"]
        if value not in ("auto", "true", "false"):
            raise UsageError(f'invalid --rootless value "{value}": write true, false or auto')
        self.rootless = None if value == "auto" else value == "true"
        if parsed["systemd-cgroup"]:
            raise UsageError("--systemd-cgroup: the systemd cgroup driver is not there yet; leave the option out")


def overview() -> str:
    """The help of the whole program."""
    width = max(map(len, COMMANDS))
    lines = ["NAME:", f"   {PROGRAM} - {GLOBAL.about}", "", "USAGE:", f"   {PROGRAM} {GLOBAL.usage}", "", "COMMANDS:",
             *(f"   {name:{width}}  {about}" for name, about in COMMANDS.items()), "", "GLOBAL OPTIONS:",
             *options(GLOBAL.flags)]
    return "\n".join(lines) + "\n"


def version() -> str:
    """What --version prints; the third line is what callers look for."""
    from pyruntime import __version__

    return (f"{PROGRAM} version {__version__}\ncommit: unknown\nspec: {SPEC}\n"
            f"python: {'.'.join(map(str, sys.version_info[:3]))}\n")


def out(text: str) -> None:
    """Write to standard output."""
    data = text.encode("utf-8", "surrogateescape")
    while data:
        data = data[os.write(1, data):]


def fill_standard_descriptors() -> None:
    """Open /dev/null in the place of a standard descriptor that our caller closed: a file or socket of ours would take
    its number, messages would be written into it, and the container would get it."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            if os.open("/dev/null", os.O_RDWR) == fd:   # the lowest free number
                os.set_inheritable(fd, True)


def console() -> None:
    """The entry point of a wheel's console script."""
    sys.exit(main())


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status."""
    fill_standard_descriptors()
    try:
        return _main(sys.argv[1:] if words is None else words)
    except PyruntimeError as error:
        LOG.error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1
    except OSError as error:
        LOG.error(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return 1


def _main(words: Sequence[str]) -> int:
    try:
        parsed = parse(GLOBAL, words)
    except UsageError as error:
        out(f"{error}\n\n" + overview())
        raise
    LOG.configure(file=parsed["log"], format=parsed["log-format"], debug=parsed["debug"])
    if parsed["version"]:
        out(version())
        return 0
    name, arguments = (parsed.arguments[0], parsed.arguments[1:]) if parsed.arguments else ("help", [])
    if parsed.help or name in ("help", "h"):
        if parsed.help or not arguments:
            out(overview())
            return 0
        name, arguments = arguments[0], ["--help"]
    if name not in COMMANDS:
        LOG.error(f"No help topic for '{name}'")
        return 1 if "-h" in arguments or "--help" in arguments else 3
    module = __import__(f"pyruntime.cli.{name}", fromlist=["COMMAND"])
    command: Command = module.COMMAND
    run: Callable[[Context, Parsed], int] = module.run
    try:
        options_ = parse(command, arguments)
        if options_.help:
            out(help_text(command, PROGRAM))
            return 0
        check_count(command, options_, PROGRAM)
    except UsageError as error:
        out(("Incorrect Usage.\n\n" if "requires" in str(error) else "") + help_text(command, PROGRAM))
        raise error
    return run(Context(parsed), options_)
