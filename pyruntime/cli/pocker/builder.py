"""``pocker builder``."""

from __future__ import annotations

from pyruntime.cli.groups import Group

COMMAND = Group("pocker", "builder", "commands about what builds remember", {
    "prune": "remove what builds remember",
}, "pyruntime.cli.pocker.builders", text="Example:\n  pocker builder prune")
run = COMMAND.run
