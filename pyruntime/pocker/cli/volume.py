"""``pocker volume``."""

from __future__ import annotations

from pyruntime.commandline.groups import Group

COMMAND = Group("pocker", "volume", "manage volumes", {
    "create": "create a volume",
    "inspect": "show detailed information about volumes",
    "ls": "list volumes",
    "prune": "remove unused volumes",
    "rm": "remove volumes",
}, "pyruntime.pocker.cli.volumes", text="Example:\n  pocker volume create data")
run = COMMAND.run
