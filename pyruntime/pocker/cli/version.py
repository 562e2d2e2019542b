"""``pocker version``."""

from __future__ import annotations

import os
import sys

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.pocker.cli.documents import show_one
from pyruntime.pocker.cli.main import PockerContext

COMMAND = Command("version", "[options]", "show version information",
                  Flag("format", "str", "json, or a template such as '{{.Client.Version}}'", short="f"), most=0,
                  text="Example:\n  pocker version --format json")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Print the versions. There is no server, but scripts for Docker ask for its version."""
    # lazy: only for the version
    from pyruntime._version import __version__, commit
    from pyruntime.images.platform import Platform

    machine = os.uname()
    facts = {"Version": __version__, "GitCommit": commit(), "PythonVersion": ".".join(map(str, sys.version_info[:3])),
             "Os": "linux", "Arch": Platform.host().architecture, "KernelVersion": machine.release}
    if parsed["format"]:
        show_one(parsed["format"], {"Client": facts, "Server": facts})
    else:
        out("".join(f"{name}: {value}\n" for name, value in facts.items()))
    return 0
