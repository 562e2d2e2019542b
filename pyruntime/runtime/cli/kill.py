"""``pyruntime kill ID [SIGNAL]``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.runtime.cli.main import Context
from pyruntime.runtime.lifecycle.delete import kill
from pyruntime.system.signals import signal_number

COMMAND = Command("kill", "[--all] ID [SIGNAL]", "send a signal to a container", Flag(
    "all", "bool", "to every process of the container, not to init alone", short="a"), least=1, most=2,
    text="SIGNAL is a name, with or without SIG, or a number; the default is SIGTERM.")


def run(context: Context, parsed: Parsed) -> int:
    """Send the signal."""
    signal = signal_number(parsed.arguments[1] if len(parsed.arguments) > 1 else "TERM")
    kill(context.root, parsed.arguments[0], signal, everything=parsed["all"])
    return 0
