"""``pyimage verify``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.images.cli.main import Context

COMMAND = Command("verify", "[options]", "verify the integrity of the local store",
                  Flag("quick", "bool", "check only sizes and references, not the content of blobs"), most=0, text="""
Checks every blob against its digest, the manifests and layers of every name, every extracted layer against
the counts that were recorded at extraction, and the layers of every bundle. The exit status is 1 if there are
problems.""")


def run(context: Context, parsed: Parsed) -> int:
    """Print each problem on a line."""
    problems = context.store.verify(content=not parsed["quick"])
    out("".join(f"{problem}\n" for problem in problems))
    return 1 if problems else 0
