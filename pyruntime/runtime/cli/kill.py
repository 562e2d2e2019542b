"""``pyruntime kill ID [SIGNAL]``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.runtime.cli.main import RuntimeContext
from pyruntime.runtime.lifecycle.delete import kill
from pyruntime.system.signals import signal_number

COMMAND = Command("kill", "[--all] ID [SIGNAL]", "send a signal to a container", Flag(
    "all", "bool", "send the signal to all processes in the container, not only to init", short="a"), least=1, most=2,
    text="SIGNAL is a name, with or without SIG, or a number (default: SIGTERM).")


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Send the signal."""
    signal = signal_number(parsed.arguments[1] if len(parsed.arguments) > 1 else "TERM")
    kill(context.root, parsed.arguments[0], signal, everything=parsed["all"])
    return 0
