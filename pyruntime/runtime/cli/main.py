"""``pyruntime``: the runtime's commands and global options.

The flags of a command are in its own module (``create.py``, ``exec.py``, ...). After a change of flags, `make generate`
writes the front's tables (``front.py``).
"""

from __future__ import annotations

import os
import sys

from pyruntime.commandline.log import LOG
from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import Program
from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SPEC = "1.3.0"
GLOBAL = Command(
    "", "[global options] command [command options] [arguments...]", "Open Container Initiative runtime",
    Flag("debug", "bool", "enable debug logging"),
    Flag("log", "str", "append log messages to FILE (default: standard error)", value="FILE"),
    Flag("log-format", "str", "log format: text or json", default="text"),
    Flag("root", "str", "directory for container state (default: /run/pyruntime; without root, below $XDG_RUNTIME_DIR)",
         value="DIR"),
    Flag("systemd-cgroup", "bool", "enable systemd cgroup support; cgroupsPath has the form slice:prefix:name"),
    Flag("cgroup-manager", "str", "cgroup manager: cgroupfs, systemd or disabled", default="cgroupfs",
         value="NAME"),
    Flag("rootless", "str", "ignore cgroup permission errors: true, false or auto", default="auto"),
    Flag("criu", "str", "path of the CRIU program", value="FILE", hidden=True),
    Flag("version", "bool", "print the version", short="v"),
    stop_at_argument=True)
# Command -> help text; each command is a module of this package with COMMAND and run().
COMMANDS = {
    "checkpoint": "checkpoint a running container to disk",
    "completion": "print the completion script for a shell",
    "create": "create a container",
    "delete": "delete a container and its resources",
    "events": "print container events: resource usage statistics and OOM notifications",
    "exec": "run a command in a running container",
    "explain": "print the launch plan of a bundle",
    "features": "print the features that this runtime supports",
    "kill": "send a signal to a container",
    "list": "list containers",
    "pause": "pause all processes in a container",
    "ps": "list the processes in a container",
    "restore": "restore a container from a checkpoint",
    "resume": "resume all processes in a paused container",
    "run": "create and start a container",
    "sandbox": "list sandboxes of Python programs, and remove leftovers",
    "spec": "create a new config.json",
    "start": "start a created container",
    "state": "print the state of a container",
    "update": "update the resource limits of a container",
    "validate": "check the config.json of a bundle",
}
# Not modules for rare configurations or errors, nor what imports more than it is worth (jsonschema, subprocess).
AHEAD = ("pyruntime.runtime.cgroups.stats", "pyruntime.runtime.cgroups.update", "pyruntime.runtime.cgroups.v1",
         "pyruntime.runtime.cgroups.v2", "pyruntime.runtime.compiler.sections.seccomp_filter",
         "pyruntime.runtime.lifecycle.events", "pyruntime.runtime.lifecycle.features",
         "pyruntime.runtime.lifecycle.foreground", "pyruntime.runtime.lifecycle.life",
         "pyruntime.runtime.lifecycle.template",
         "pyruntime.runtime.lifecycle.update", "pyruntime.system.kernel", "pyruntime.system.streams", "pwd", "select")


class RuntimeContext:
    """The global options that commands use."""

    def __init__(self, parsed: Parsed) -> None:
        from pyruntime.runtime.lifecycle.store import default_root  # lazy: help needs no state directory

        root = parsed["root"]
        if root and not os.path.abspath(root).strip("/"):   # abspath keeps "//"
            raise UsageError('Option --root argument should not be set to /; use a separate directory')
        self.root_given = bool(root)
        self.root = os.path.abspath(root) if root else default_root()
        value = parsed["rootless"]
        if value not in ("auto", "true", "false"):
            raise UsageError(f'invalid --rootless value "{value}": write true, false or auto')
        self.criu: str = parsed["criu"]
        self.rootless = None if value == "auto" else value == "true"
        self.cgroup_manager = _cgroup_manager(parsed)
        self.before = len(sys.argv) - len(parsed.arguments)   # words before the command


def _cgroup_manager(parsed: Parsed) -> str:
    manager: str = parsed["cgroup-manager"]
    if manager not in ("cgroupfs", "systemd", "disabled"):
        raise UsageError(f'invalid --cgroup-manager value "{manager}": write cgroupfs, systemd or disabled')
    if not parsed["systemd-cgroup"]:
        return manager
    if "cgroup-manager" in parsed.given and manager != "systemd":
        raise UsageError(f"--systemd-cgroup and --cgroup-manager={manager} contradict each other: leave one out")
    return "systemd"


def version() -> str:
    """The output of --version; callers look for the third line."""
    from pyruntime._version import __version__, commit  # lazy: only for --version
    from pyruntime.runtime.lifecycle.features import libseccomp_version

    return (f"pyruntime version {__version__}\ncommit: {commit()}\nspec: {SPEC}\n"
            f"python: {'.'.join(map(str, sys.version_info[:3]))}\nlibseccomp: {libseccomp_version()}\n")


class RuntimeProgram(Program):
    """The conventions that callers of runc rely on."""

    sentences = True   # read by programs: containerd, Podman, Docker

    def unknown(self, name: str, words: Sequence[str]) -> int:
        """The message has runc's wording."""
        LOG.error(f"No help topic for '{name}'")
        return 1 if "-h" in words or "--help" in words else 3


PROGRAM = RuntimeProgram("pyruntime", GLOBAL, COMMANDS, "pyruntime.runtime.cli", RuntimeContext, version,
                         ahead=AHEAD, rehearsal="pyruntime.runtime.cli.rehearsal")
main = PROGRAM.main
