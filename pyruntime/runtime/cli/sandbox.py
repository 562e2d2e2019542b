"""``pyruntime sandbox``."""

from __future__ import annotations

from pyruntime.commandline.groups import Group

COMMAND = Group("pyruntime", "sandbox", "list sandboxes of Python programs, and remove leftovers", {
    "ls": "list sandboxes",
    "prune": "remove what killed programs have left of their sandboxes",
}, "pyruntime.runtime.cli.sandboxes", text="Example:\n  pyruntime sandbox ls")
run = COMMAND.run
