"""``pocker system``."""

from __future__ import annotations

from pyruntime.commandline.groups import Group

_HERE = "pyruntime.pocker.cli"
COMMAND = Group("pocker", "system", "show disk usage, events and information; remove unused data", {
    "df": "show disk usage of images, containers, volumes and the build cache",
    "events": "show events of containers, images, networks and volumes",
    "info": "show system-wide information",
    "prune": "remove unused data",
}, f"{_HERE}.systems", {"events": f"{_HERE}.events", "info": f"{_HERE}.info"}, text="Example:\n  pocker system df")
run = COMMAND.run
