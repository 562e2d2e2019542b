"""``pyruntime start ID``."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.runtime.cli.main import RuntimeContext
from pyruntime.runtime.lifecycle.start import finish_start, start

COMMAND = Command("start", "ID", "start a created container", least=1, most=1)


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Start the container."""
    begun = os.environ.get("PYRUNTIME_BEGUN", "")
    if begun.isdecimal():   # native/front/begin.c: a descriptor
        finish_start(context.root, parsed.arguments[0], int(begun))
        return 0
    start(context.root, parsed.arguments[0], notify=os.environ.get("NOTIFY_SOCKET", ""))
    return 0
