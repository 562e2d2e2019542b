"""``pocker volume``."""

from __future__ import annotations

from pyruntime.commandline.groups import Group

COMMAND = Group("pocker", "volume", "commands about volumes", {
    "create": "make a volume",
    "inspect": "show everything about volumes",
    "ls": "list volumes",
    "prune": "remove volumes that no container uses",
    "rm": "remove volumes",
}, "pyruntime.pocker.cli.volumes", text="Example:\n  pocker volume create data")
run = COMMAND.run
