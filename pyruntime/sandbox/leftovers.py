"""What a program that was killed has left of its sandboxes: their processes have ended with it, directories and cgroups
remain until another program uses sandboxes.

A sandbox is named after its program: ``sandbox-PID-STARTTIME-NUMBER``.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

from pyruntime.errors import HostError, NoSuchContainer, PyruntimeError, words
from pyruntime.runtime.api import Runtime
from pyruntime.system import processes
from pyruntime.system.directories import private

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PLACE = "/run/pyruntime-sandbox"
_numbers = count(1)
_settled: list[str] = []


def place() -> str:
    """The directory of the sandboxes of this user. Raises PyruntimeError if another user may write there, HostError if
    this user may not."""
    if _settled:
        return _settled[0]
    if os.geteuid() == 0:
        return PLACE
    runtime_directory = os.environ.get("XDG_RUNTIME_DIR")
    if not runtime_directory:
        return private(f"/tmp/pyruntime-sandbox-{os.geteuid()}", "remove it, or set XDG_RUNTIME_DIR")
    if not os.access(runtime_directory, os.W_OK | os.X_OK):
        raise HostError(f'XDG_RUNTIME_DIR "{runtime_directory}" is not a directory that user {os.geteuid()} may write'
                        " to: name another one, or unset it")
    return f"{runtime_directory}/pyruntime-sandbox"


def settle() -> None:
    """Keep the present place, for a process that is going to be root of a user namespace."""
    _settled.append(place())


def files_of(name: str) -> str:
    """The directory of what a sandbox has on the host (only without root)."""
    return f"{place()}/files/{name}"


def empty() -> str:
    """A directory in which nothing is."""
    path = f"{place()}/empty"
    os.makedirs(path, 0o755, exist_ok=True)
    return path


def new_name() -> str:
    """A name for a sandbox of this program."""
    return f"sandbox-{os.getpid()}-{processes.start_time(os.getpid())}-{next(_numbers)}"


def runtime(*, cgroups: bool = True) -> Runtime:
    """The runtime of all sandboxes of this user."""
    return Runtime(f"{place()}/state", cgroup_manager="cgroupfs" if cgroups else "disabled")


@dataclass(frozen=True)
class FoundSandbox:
    """A sandbox of any program of this host.

    ``program``  the process ID of the program that made it
    ``status``   creating, running, stopped; leftover: its program has ended
    ``pid``      that of its init; 0 if there is none
    ``created``  when, as in RFC 3339; "" if unknown
    """

    name: str
    program: int
    status: str
    pid: int
    created: str


@dataclass(frozen=True)
class PrunedSandboxes:
    """What `prune` has done: the names of the sandboxes that it ``removed``, and its ``problems``: why each of the
    others could not be removed, by name."""

    removed: Sequence[str]
    problems: Mapping[str, str]


def every() -> list[FoundSandbox]:
    """All sandboxes of this host, by name."""
    found = []
    for name, pid, started in _names():
        try:
            state = runtime().state(name)
            status, init, created = state.status, state.pid, state.created
        except PyruntimeError:   # removed meanwhile, or its program was killed before it was written down
            status, init, created = "creating", 0, ""
        found.append(FoundSandbox(name, pid, status if processes.alive(pid, started) else "leftover", init, created))
    return found


def _names() -> list[tuple[str, int, int]]:
    """The sandboxes' names, each with the pid and the start time of its program."""
    names: set[str] = set()
    for kind in ("state", "files"):   # a program that is killed early has only the files
        with suppress(FileNotFoundError):
            names.update(os.listdir(f"{place()}/{kind}"))
    found = []
    for name in sorted(names):
        kind, *numbers = name.split("-")
        if kind == "sandbox" and len(numbers) == 3 and all(number.isdigit() for number in numbers):
            found.append((name, int(numbers[0]), int(numbers[1])))
    return found


def _unseen(name: str) -> str:
    """A cgroup of a sandbox that cannot be removed here, and of which nobody would know any more. Raises PyruntimeError
    for a damaged record."""
    try:
        return runtime().hidden_cgroup(name)
    except NoSuchContainer:
        return ""   # nothing is written down


def prune() -> PrunedSandboxes:
    """Remove what ended programs have left. The first sandbox of each program does this."""
    removed, problems = [], {}
    for name, pid, started in _names():
        if processes.alive(pid, started):
            continue
        try:
            if unseen := _unseen(name):
                problems[name] = f'its cgroup "{unseen}" cannot be seen here: remove it where cgroups are mounted'
                continue
            with suppress(FileNotFoundError):
                shutil.rmtree(files_of(name))
            runtime().delete(name, force=True)
        except NoSuchContainer:
            continue   # another program was faster
        except (PyruntimeError, OSError) as error:
            problems[name] = words(error)
            continue
        removed.append(name)
    return PrunedSandboxes(removed, problems)
