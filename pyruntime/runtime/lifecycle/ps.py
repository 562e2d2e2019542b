"""`ps`: the processes in the cgroup of a container, and the output of ps(1) for them."""

from __future__ import annotations

from pyruntime.errors import HostError, PyruntimeError
from pyruntime.runtime.cgroups.group import Cgroup
from pyruntime.runtime.lifecycle.store import StateDirectory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT = ("-ef",)


def pids(root: str, container_id: str) -> list[int]:
    """The processes in the container's cgroup and the cgroups below it, with their IDs in the runtime's pid namespace;
    empty for a stopped container. Raises NoSuchContainer, HostError for a container without a cgroup."""
    record = StateDirectory(root, container_id).read()
    group = Cgroup(record.cgroup)
    if not group.exists() and record.alive():   # rootless, if no hierarchy was writable
        raise HostError(f'ps requires cgroups: "{container_id}" has none')
    return group.pids()


def table(found: Sequence[int], options: Sequence[str] = DEFAULT) -> str:
    """The output of ps(1) with ``options``, without the lines of processes that are not in ``found``."""
    import os  # lazy: only for --format table (15 ms)
    import subprocess

    by_pid = ["-q", ",".join(map(str, found))] if found else []
    try:
        # Selected by pid: without a selection ps(1) shows only the processes of the caller's terminal.
        done = subprocess.run(["ps", *options, *by_pid], capture_output=True, check=False)
        if done.returncode and by_pid:   # some options, such as --forest, conflict with -q
            done = subprocess.run(["ps", *options, "-e"], capture_output=True, check=False)
    except OSError as error:
        raise HostError(f'the program "ps" cannot be run: {error.strerror}; install procps, or use --format json'
                        ) from None
    if done.returncode:
        said = os.fsdecode(done.stderr or done.stdout).strip()
        raise PyruntimeError(f"ps {' '.join(options)}: exit status {done.returncode}: {said}")
    return choose(os.fsdecode(done.stdout), found)


def choose(text: str, found: Sequence[int]) -> str:
    """The header of ps(1)'s output and the lines of the processes ``found``. Raises PyruntimeError if no column is
    named PID."""
    heading, *lines = text.split("\n")
    names = heading.split()
    if "PID" not in names:
        raise PyruntimeError("couldn't find PID field in ps output: ask for the column pid")
    column = names.index("PID")
    wanted = {str(pid) for pid in found}
    chosen = [line for line in lines if line.split()[column:column + 1] and line.split()[column] in wanted]
    return "".join(f"{line}\n" for line in (heading, *chosen))
