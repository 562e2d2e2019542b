"""``pocker network ...``."""

from __future__ import annotations

from pyruntime.commandline.groups import Group

COMMAND = Group("pocker", "network", "manage networks", {
    "connect": "connect a container to a network",
    "create": "create a network",
    "disconnect": "disconnect a container from a network",
    "inspect": "show detailed information about networks",
    "ls": "list networks",
    "prune": "remove unused networks",
    "reload": "restore bridges and packet rules after a flush of the ruleset",
    "rm": "remove networks",
}, __name__, text="Example:\n  pocker network create backend\n  pocker run -d --network backend --name db postgres")
run = COMMAND.run
