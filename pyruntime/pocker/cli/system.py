"""``pocker system``."""

from __future__ import annotations

from pyruntime.commandline.groups import Group

_HERE = "pyruntime.pocker.cli"
COMMAND = Group("pocker", "system", "what is used, and what could be removed", {
    "df": "show how much room images, containers and volumes take",
    "events": "show what happens to containers, images, networks and volumes",
    "info": "show how pocker is set up here",
    "prune": "remove what nothing uses",
}, f"{_HERE}.systems", {"events": f"{_HERE}.events", "info": f"{_HERE}.info"}, text="Example:\n  pocker system df")
run = COMMAND.run
