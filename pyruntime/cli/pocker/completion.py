"""``pocker completion``."""

from __future__ import annotations

from pyruntime.cli.parse import Command, Parsed
from pyruntime.cli.pocker.main import PROGRAM, Context
from pyruntime.cli.program import out

COMMAND = Command("completion", "bash|zsh|fish", "print the completion script of a shell", least=1, most=1, text="""
For bash: `. <(pocker completion bash)`, or into /usr/share/bash-completion/completions/pocker.

Example:
  pocker completion zsh >"${fpath[1]}/_pocker\"""")
_ASK = "ps -a --format '{{.Names}}'"
_ASKING = ["attach", "commit", "cp", "diff", "exec", "export", "inspect", "kill", "logs", "pause", "port", "rename",
           "restart", "rm", "start", "stats", "stop", "top", "unpause", "update", "wait"]


def run(context: Context, parsed: Parsed) -> int:
    """Print the script."""
    from pyruntime.cli.shells import script

    out(script(PROGRAM, parsed.arguments[0], _ASK, _ASKING))
    return 0
