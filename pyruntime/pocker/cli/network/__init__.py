"""``pocker network ...``."""

from __future__ import annotations

from pyruntime.commandline.groups import Group

COMMAND = Group("pocker", "network", "manage networks", {
    "connect": "connect a container to a network",
    "create": "make a network",
    "disconnect": "take a container out of a network",
    "inspect": "show all about networks, as JSON",
    "ls": "list networks",
    "prune": "remove the networks that no container is in",
    "reload": "make bridges and packet rules anew, after somebody has flushed them",
    "rm": "remove networks",
}, __name__, text="Example:\n  pocker network create backend\n  pocker run -d --network backend --name db postgres")
run = COMMAND.run
