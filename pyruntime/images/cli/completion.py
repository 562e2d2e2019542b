"""``pyimage completion``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.commandline.program import out
from pyruntime.images.cli.main import PROGRAM, Context

COMMAND = Command("completion", "bash|zsh|fish", "print the completion script for a shell", least=1, most=1, text="""
For bash: run `. <(pyimage completion bash)`, or save the script as
/usr/share/bash-completion/completions/pyimage.""")
_ASK = r"ls --format '{{.Familiar}}\n{{.Name}}'"
_ASKING = ["copy", "export", "history", "inspect", "mount", "push", "rm", "save", "tag", "umount", "unpack"]
_WITH_FILES = ["copy", "export", "mount", "push", "save", "umount", "unpack"]


def run(context: Context, parsed: Parsed) -> int:
    """Print the script."""
    from pyruntime.commandline.completion import Names, script  # lazy: only when the command runs

    out(script(PROGRAM, parsed.arguments[0], [Names(_ASKING, _ASK, files=_WITH_FILES)]))
    return 0
