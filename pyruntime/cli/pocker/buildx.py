"""``pocker buildx``: the builder's commands by Docker's newer names."""

from __future__ import annotations

from pyruntime.cli.groups import Group

COMMAND = Group("pocker", "buildx", "commands of the builder, as Docker's plugin has them", {
    "build": "build an image from a Dockerfile",
    "du": "show how much room images, containers, volumes and the build cache take",
    "prune": "remove what builds remember",
}, "pyruntime.cli.pocker.builders", {"build": "pyruntime.cli.pocker.build", "du": "pyruntime.cli.pocker.systems.df"},
    text="Example:\n  pocker buildx build -t app .")
run = COMMAND.run
