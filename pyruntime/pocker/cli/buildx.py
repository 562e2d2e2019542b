"""``pocker buildx``: the builder's commands by Docker's newer names."""

from __future__ import annotations

from pyruntime.commandline.groups import Group

COMMAND = Group("pocker", "buildx", "commands of the builder, as Docker's plugin has them", {
    "build": "build an image from a Dockerfile",
    "du": "show how much room images, containers, volumes and the build cache take",
    "prune": "remove what builds remember",
}, "pyruntime.pocker.cli.builders", {"build": "pyruntime.pocker.cli.build", "du": "pyruntime.pocker.cli.systems.df"},
    text="Example:\n  pocker buildx build -t app .")
run = COMMAND.run
