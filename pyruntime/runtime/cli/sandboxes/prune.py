"""``pyruntime sandbox prune``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import StateError
from pyruntime.runtime.cli.main import RuntimeContext
from pyruntime.sandbox.leftovers import prune

COMMAND = Command("prune", "", "remove what killed programs have left of their sandboxes", most=0,
                  text="Sandboxes of living programs stay. The next program that uses sandboxes does the same.")


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Remove leftovers, and print the names of these sandboxes. Raises StateError for those that remain."""
    pruned = prune()
    out("".join(f"{name}\n" for name in pruned.removed))
    if pruned.problems:
        raise StateError("\n".join(f"cannot remove {name}: {why}" for name, why in pruned.problems.items()))
    return 0
