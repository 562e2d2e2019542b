"""``pocker buildx``: the builder's commands by Docker's newer names."""

from __future__ import annotations

from pyruntime.commandline.groups import Group

COMMAND = Group("pocker", "buildx", "build images and manage the build cache, by Buildx's names", {
    "build": "build an image from a Dockerfile",
    "du": "show disk usage of images, containers, volumes and the build cache",
    "prune": "remove build cache",
}, "pyruntime.pocker.cli.builders", {"build": "pyruntime.pocker.cli.build", "du": "pyruntime.pocker.cli.systems.df"},
    text="Example:\n  pocker buildx build -t app .")
run = COMMAND.run
