"""Change the limits of an existing container: all of them, or none."""

from __future__ import annotations

from pyruntime.errors import PyruntimeError, StepError
from pyruntime.runtime.cgroups.create import write
from pyruntime.runtime.cgroups.host import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pyruntime.runtime.plan.steps import Step

# Files with a line for each device. Lines without a limit are not shown, so these are the values for "none".
KEYED = {
    "io.max": "rbps=max wbps=max riops=max wiops=max", "blkio.throttle.read_bps_device": "0",
    "blkio.throttle.write_bps_device": "0", "blkio.throttle.read_iops_device": "0",
    "blkio.throttle.write_iops_device": "0", "rdma.max": "hca_handle=max hca_object=max", "io.weight": "default",
    "io.bfq.weight": "default", "blkio.bfq.weight_device": "default", "net_prio.ifpriomap": "0",
}


def apply(steps: Iterable[Step], confirm: Callable[[], None] | None = None) -> None:
    """Perform the steps of `resources.update`, then call ``confirm`` if all succeeded.

    systemd, if it confirms, writes the files itself, some values rounded: they are written again. If a step fails, the
    changes of the steps before it are reverted, newest first, and StepError names the place in the document; failed
    reversions are in its notes.
    """
    done: list[tuple[str, str, str]] = []
    written = _write_all(steps, done)
    if confirm is None:
        return
    held = [item for step in written for item in present(step.args["path"], step.args["file"], step.args["data"])]
    try:
        confirm()
        for path, file, data in held:
            write(path, file, data)
    except PyruntimeError as error:
        error.notes += _write_back(done)
        raise
    except OSError as error:
        raise StepError(error.strerror or str(error), step="cgroup_write", errno=error.errno or 0) from None


def cpu_max(paths: Mapping[str, str]) -> tuple[int, int] | None:
    """The quota (-1: none) and the period of a container's cgroup in microseconds; None without the controller."""
    for key, path in paths.items():
        try:
            if not key:
                quota, period = read(f"{path}/cpu.max").split()
                return (-1 if quota == "max" else int(quota)), int(period)
            if "cpu" in key.split(","):
                return int(read(f"{path}/cpu.cfs_quota_us")), int(read(f"{path}/cpu.cfs_period_us"))
        except OSError:
            continue   # the hierarchy lacks this controller
    return None


def _write_all(steps: Iterable[Step], done: list[tuple[str, str, str]]) -> list[Step]:
    written = []
    for step in steps:
        path, file, data = step.args["path"], step.args["file"], step.args["data"]
        old = present(path, file, data)
        try:
            write(path, file, data)
        except OSError as error:
            failed = StepError(error.strerror or str(error), where=step.where, step=step.op.name,
                               errno=error.errno or 0)
            done += old   # a group may have been written in part
            failed.notes += _write_back(done)
            raise failed from None
        done += old
        written.append(step)
    return written


def present(path: str, file: str, data: str) -> list[tuple[str, str, str]]:
    """The current contents of the files of a `write`, as the arguments of the writes that restore them. Files that do
    not exist, or can be read back only in part, are left out."""
    if "+" in file:
        names, values = file.split("+"), data.split("+")
        pairs = [(item[1], item[2]) for name, value in zip(names, values, strict=True)
                 for item in present(path, name.rstrip("?"), value)]
        # Written together, because the old values constrain each other, too.
        return [(path, "+".join(name for name, _ in pairs), "+".join(value for _, value in pairs))] if pairs else []
    if "|" in file:
        alternatives = file.split("|")
        values = data.split("|") if "|" in data else [data] * len(alternatives)
        for name, value in zip(alternatives, values, strict=True):
            found = present(path, name, value)
            if found:
                return found
        return []
    name = file.rstrip("?").partition(">")[0]
    try:
        text = read(f"{path}/{name}").strip()
    except OSError:
        return []
    key, blank, _ = data.partition(" ")
    if name in KEYED and (blank or name == "io.max"):
        lines = [line for line in text.splitlines() if line.partition(" ")[0] == key]
        text = lines[0] if lines else f"{key} {KEYED[name]}"
    elif name in ("memory.oom_control", "io.weight", "io.bfq.weight"):   # the first line ends with the value
        text = text.partition("\n")[0].rpartition(" ")[2]
    return [(path, name, text)]


def _write_back(done: list[tuple[str, str, str]]) -> list[str]:
    notes = []
    for path, file, data in reversed(done):
        try:
            write(path, file, data)
        except OSError as error:
            notes.append(error.strerror or str(error))
    return notes
