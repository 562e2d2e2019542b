"""``pyruntime spec``."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.errors import UsageError
from pyruntime.runtime.cli.main import RuntimeContext
from pyruntime.system.json import encode

COMMAND = Command("spec", "[options]", "create a new config.json",
                  Flag("bundle", "str", "write config.json to DIR (default: the working directory)", short="b",
                       value="DIR"),
                  Flag("rootless", "bool", "create the configuration of a rootless container"), most=0)


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Write config.json; never overwrite an existing file."""
    from pyruntime.runtime.config.template import template  # lazy: help and completion load every command's module

    path = os.path.join(parsed["bundle"] or ".", "config.json")
    text = encode(template(rootless=parsed["rootless"], uid=os.geteuid(), gid=os.getegid(),
                           unified=os.path.exists("/sys/fs/cgroup/cgroup.controllers")), 1)
    # Indented by tabs, as the tools that edit these files expect.
    lines = []
    for line in text.splitlines():
        stripped = line.lstrip(" ")
        lines.append("\t" * (len(line) - len(stripped)) + stripped)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        raise UsageError(f"File config.json exists. Remove it first ({path})") from None
    except OSError as error:
        raise UsageError(f'"{path}": {error.strerror}') from None
    try:
        os.write(fd, "\n".join(lines).encode())
    finally:
        os.close(fd)
    return 0
