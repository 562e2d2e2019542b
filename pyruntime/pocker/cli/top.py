"""``pocker top CONTAINER``."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import HostError, StateError
from pyruntime.pocker.cli.each import LATEST_FLAG
from pyruntime.pocker.cli.main import Context
from pyruntime.pocker.containers.status import PAUSED, RUNNING, status_of
from pyruntime.runtime.api import Runtime
from pyruntime.runtime.lifecycle.ps import DEFAULT, table

COMMAND = Command("top", "CONTAINER [PS OPTIONS]", "list the processes of a container",
                  LATEST_FLAG, least=1, stop_at_argument=True,
                  text="The list is the output of ps(1) on the host, with process IDs of the host.\n\n"
                       "Example:\n  pocker top web -o pid,args")


def run(context: Context, parsed: Parsed) -> int:
    """Show them."""
    container = context.find(parsed.arguments[0])
    status = status_of(container)
    if status.word not in (RUNNING, PAUSED):
        raise StateError(f'container "{container.read().name}" is not running')
    try:
        pids = Runtime(context.places.runtime).pids(container.id)
    except HostError:   # without root, a container may have no cgroup
        pids = _sharing(status.pid)
        if not pids:
            raise
    out(table(pids, parsed.arguments[1:] or DEFAULT))
    return 0


def _sharing(init: int) -> list[int]:
    """The processes in the PID namespace of the container's init process; none if it is the host's namespace."""
    wanted = os.readlink(f"/proc/{init}/ns/pid")
    found = []
    if wanted != os.readlink("/proc/self/ns/pid"):
        for name in filter(str.isdecimal, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{name}/ns/pid") == wanted:
                    found.append(int(name))
            except OSError:
                continue   # the process has exited, or belongs to another user
    return found
