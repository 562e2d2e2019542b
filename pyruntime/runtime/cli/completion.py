"""``pyruntime completion``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.commandline.program import out
from pyruntime.runtime.cli.main import PROGRAM, RuntimeContext

COMMAND = Command("completion", "bash|zsh|fish", "print the completion script for a shell", least=1, most=1, text="""
For bash: run `. <(pyruntime completion bash)`, or save the script as
/usr/share/bash-completion/completions/pyruntime.""")
_ASK = "list -q"
_ASKING = ["delete", "events", "exec", "kill", "pause", "ps", "resume", "start", "state", "update"]


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Print the script."""
    from pyruntime.commandline.completion import Names, script  # lazy: help and completion load every command's module

    out(script(PROGRAM, parsed.arguments[0], [Names(_ASKING, _ASK)]))
    return 0
