"""``pocker container``: the containers' commands by Docker's longer names."""

from __future__ import annotations

from pyruntime.commandline.groups import Group
from pyruntime.pocker.cli.main import COMMANDS

_HERE = "pyruntime.pocker.cli"
_SAME = ("attach", "commit", "cp", "create", "diff", "exec", "export", "inspect", "kill", "logs", "pause", "port",
         "rename", "restart", "rm", "run", "start", "stats", "stop", "top", "unpause", "update", "wait")
COMMAND = Group("pocker", "container", "manage containers", {
    **{name: COMMANDS[name] for name in _SAME if name in COMMANDS},
    "ls": "list containers",
    "prune": "remove stopped containers",
}, _HERE, {"inspect": f"{_HERE}.container_inspect", "ls": f"{_HERE}.ps", "prune": f"{_HERE}.container_prune"},
    text="Example:\n  pocker container ls -a")
run = COMMAND.run
