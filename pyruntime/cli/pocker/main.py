"""``pocker``: the front end's commands and global options."""

from __future__ import annotations

import os
import sys

from pyruntime.cli.log import LOG
from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.program import Program
from pyruntime.engine.places import Places

GLOBAL = Command(
    "", "[global options] command [command options] [arguments...]", "containers of images, without a daemon",
    Flag("debug", "bool", "write debug messages too"),
    Flag("log", "str", "append messages to FILE instead of stderr", value="FILE"),
    Flag("log-format", "str", "of messages: text or json", default="text"),
    Flag("root", "str", "directory of containers, networks and volumes", value="DIR"),
    Flag("run-root", "str", "directory of what does not outlive a reboot", value="DIR"),
    Flag("store", "str", "directory of images (pyimage's store)", value="DIR"),
    Flag("version", "bool", "print the version", short="v"),
    stop_at_argument=True)
COMMANDS = {
    "attach": "attach to a container's input and output",
    "completion": "print the completion script of a shell",
    "create": "make a container of an image",
    "exec": "run another program in a container",
    "inspect": "show everything about containers and images",
    "kill": "kill containers, or send them a signal",
    "logs": "show what a container has written",
    "network": "manage networks",
    "pause": "stop all processes of containers until unpause",
    "port": "show where a container's ports are published",
    "ps": "list containers",
    "rename": "give a container another name",
    "restart": "stop containers and start them again",
    "rm": "remove containers",
    "run": "make a container of an image and run it",
    "start": "start containers",
    "stop": "stop containers",
    "top": "show the processes of a container",
    "unpause": "let the processes of paused containers go on",
    "wait": "wait until containers have ended, and print their exit statuses",
}


class Context:
    """The global options that commands use."""

    def __init__(self, parsed: Parsed) -> None:
        if parsed["store"]:   # what the monitor calls finds the same
            os.environ["PYRUNTIME_STORE"] = os.path.abspath(parsed["store"])
        self.places = Places(parsed["root"], parsed["run-root"])
        if os.geteuid():
            from pyruntime.engine.rootless import enter
            enter(self.places, self.warn)

    @staticmethod
    def warn(text: str) -> None:
        """Tell of something that is not as it should be, and goes on."""
        LOG.warning(text)


def version() -> str:
    """What --version prints."""
    from pyruntime import __version__

    return f"pocker version {__version__}\npython: {'.'.join(map(str, sys.version_info[:3]))}\n"


PROGRAM = Program("pocker", GLOBAL, COMMANDS, "pyruntime.cli.pocker", Context, version, hidden=("monitor",))
main = PROGRAM.main


def console() -> None:
    """The entry point of a wheel's console script."""
    sys.exit(main())
