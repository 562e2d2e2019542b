"""``pyimage verify``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.images.cli.main import Context

COMMAND = Command("verify", "[options]", "check everything in the store",
                  Flag("quick", "bool", "sizes and references alone, not the content of blobs"), most=0, text="""
Every blob against its digest, every name's documents and layers, every extracted layer against what was counted when it
was extracted, every bundle's layers. The exit status is 1 when something is wrong.""")


def run(context: Context, parsed: Parsed) -> int:
    """Print each problem on a line."""
    problems = context.store.verify(content=not parsed["quick"])
    out("".join(f"{problem}\n" for problem in problems))
    return 1 if problems else 0
