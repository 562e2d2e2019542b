"""``pyruntime features``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.commandline.program import out
from pyruntime.runtime.cli.main import RuntimeContext
from pyruntime.system.json import encode

COMMAND = Command("features", "", "print the features that this runtime supports", most=0,
                  text="Prints the features document of the runtime specification (features.md) as JSON.")


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Print the features document."""
    from pyruntime.runtime.lifecycle.features import document  # lazy: help and completion load every command's module

    out(encode(document(context.criu), 4) + "\n")
    return 0
