"""``pyruntime features``."""

from __future__ import annotations

from pyruntime.cli.main import Context
from pyruntime.cli.parse import Command, Parsed
from pyruntime.cli.program import out
from pyruntime.config.decode import encode

COMMAND = Command("features", "", "print what this runtime supports", most=0,
                  text="The document of features.md: what config.json may use, as far as the runtime is concerned.")


def run(context: Context, parsed: Parsed) -> int:
    """Print the features document."""
    from pyruntime.lifecycle.features import document

    out(encode(document(context.criu), 4) + "\n")
    return 0
