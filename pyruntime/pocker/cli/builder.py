"""``pocker builder``."""

from __future__ import annotations

from pyruntime.commandline.groups import Group

COMMAND = Group("pocker", "builder", "manage the build cache", {
    "build": "build an image from a Dockerfile",
    "prune": "remove build cache",
}, "pyruntime.pocker.cli.builders", {"build": "pyruntime.pocker.cli.build"}, text="Example:\n  pocker builder prune")
run = COMMAND.run
