"""``pocker info``."""

from __future__ import annotations

import os
import sys

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.pocker.cli.documents import show_one
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.containers.container import every
from pyruntime.pocker.containers.status import PAUSED, RUNNING, status_of
from pyruntime.pocker.containers.stop import sweep
from pyruntime.profiles import apparmor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command("info", "[options]", "show system-wide information",
                  Flag("format", "str", "json, or a template such as '{{.Driver}}'", short="f"), most=0,
                  text="Example:\n  pocker info --format '{{.ContainersRunning}}'")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Print the information."""
    sweep(context.places, context.warn)
    facts = gather(context)
    if parsed["format"]:
        show_one(parsed["format"], facts)
    else:
        out("".join(f"{_words(name)}: {', '.join(value) if isinstance(value, list) else value}\n"
                    for name, value in facts.items()))
    return 0


def gather(context: PockerContext) -> dict[str, Any]:
    """The facts, under Docker's names where Docker has one."""
    # lazy: only for the version
    from pyruntime._version import __version__
    from pyruntime.pocker.containers.create import driver_of
    from pyruntime.pocker.volumes import every as every_volume
    from pyruntime.runtime.cgroups import scope

    words = [status_of(container).word for container, _ in every(context.places)]
    unified = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    machine = os.uname()
    return {
        "Containers": len(words), "ContainersRunning": words.count(RUNNING), "ContainersPaused": words.count(PAUSED),
        "ContainersStopped": len(words) - words.count(RUNNING) - words.count(PAUSED),
        "Images": len(set(one.digest for one in context.places.store.names().values())),
        "Volumes": sum(1 for _ in every_volume(context.places)),
        "ServerVersion": __version__, "Driver": driver_of(context.places, context.driver),
        "CgroupVersion": "2" if unified else "1", "CgroupDriver": "systemd" if scope.usable() else "cgroupfs",
        "SecurityOptions": _security(unified=unified),
        "LoggingDriver": "json-file", "DefaultRuntime": "pyruntime", "KernelVersion": machine.release,
        "OperatingSystem": _system(), "OSType": "linux", "Architecture": machine.machine, "NCPU": os.cpu_count() or 1,
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "Name": machine.nodename,
        "Rootless": os.geteuid() != 0 or not _initial(), "DockerRootDir": context.places.root,
        "RunRoot": context.places.run, "ImageStore": context.places.store.root,
        "PythonVersion": ".".join(map(str, sys.version_info[:3]))}


def _security(*, unified: bool) -> list[str]:
    """The security features that are on by default, as Docker writes them."""
    return [*(["name=apparmor,profile=pocker-default"] if _initial() and apparmor.usable() else []),
            "name=seccomp,profile=builtin", *([] if _initial() else ["name=rootless"]),
            *(["name=cgroupns"] if unified else [])]


def _initial() -> bool:
    """Whether this process is in the host's initial user namespace."""
    from pyruntime.system.user_namespace import privileged  # lazy: only for `info`

    return privileged()


def _system() -> str:
    try:
        with open("/etc/os-release", encoding="utf-8") as file:
            fields = dict(line.rstrip().partition("=")[::2] for line in file)
    except FileNotFoundError:
        return "Linux"
    return str(fields.get("PRETTY_NAME", "Linux")).strip('"')


def _words(name: str) -> str:
    """A member's name as words: "Server Version"."""
    text = "".join(f" {sign}" if sign.isupper() and before.islower() else sign
                   for before, sign in zip(" " + name, name, strict=False))
    return text.strip()
