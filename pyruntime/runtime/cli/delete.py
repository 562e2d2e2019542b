"""``pyruntime delete ID``."""

from __future__ import annotations

import os

from pyruntime.commandline.log import LOG
from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.runtime.cli.main import RuntimeContext
from pyruntime.runtime.lifecycle.delete import delete

COMMAND = Command("delete", "[--force] ID", "delete a container and its resources", Flag(
    "force", "bool", "kill a running container first; do not fail if the container does not exist", short="f"),
    least=1, most=1)


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Delete the container."""
    # containerd's shim deletes a task that was never started without --force, which runc allows and the specification
    # forbids. The shim is recognised by the variable that it sets for every runtime.
    shim = "TTRPC_ADDRESS" in os.environ
    delete(context.root, parsed.arguments[0], force=parsed["force"], created=shim, warn=LOG.warning)
    return 0
