"""``pocker builder``."""

from __future__ import annotations

from pyruntime.cli.groups import Group

COMMAND = Group("pocker", "builder", "commands about what builds remember", {
    "build": "build an image from a Dockerfile",
    "prune": "remove what builds remember",
}, "pyruntime.cli.pocker.builders", {"build": "pyruntime.cli.pocker.build"}, text="Example:\n  pocker builder prune")
run = COMMAND.run
