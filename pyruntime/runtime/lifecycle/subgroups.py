"""`exec --cgroup`: the sub-cgroup of the container's cgroup for a process."""

from __future__ import annotations

import os

from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def chosen_cgroup(cgroup: Mapping[str, str], wanted: Sequence[str]) -> dict[str, str]:
    """The directory for each hierarchy of ``cgroup`` (hierarchy key -> the container's directory).

    ``wanted`` is one ``PATH`` for all hierarchies, or ``CONTROLLER[,CONTROLLER...]:PATH`` for some of them. Raises
    UsageError with runc's messages.
    """
    chosen = dict(cgroup)
    seen: set[str] = set()
    for item in wanted:
        names, colon, path = item.partition(":")
        if ":" in path:
            raise UsageError(f"invalid --cgroup argument: {item}; write [CONTROLLER,...:]PATH")
        if not colon:
            if len(wanted) > 1:
                raise UsageError(f"invalid --cgroup argument: {item} (missing <controller>: prefix)")
            return {key: _below(directory, item) for key, directory in cgroup.items()}
        for name in names.split(","):
            if not name:
                raise UsageError(f"invalid --cgroup argument: {item} (empty <controller> prefix)")
            if name in seen:
                raise UsageError(f"invalid --cgroup argument(s): controller {name} specified multiple times")
            seen.add(name)
            key = _hierarchy(cgroup, name)
            chosen[key] = _below(cgroup[key], path)
    return chosen


def _hierarchy(cgroup: Mapping[str, str], controller: str) -> str:
    for key in cgroup:
        if controller in key.split(",") or key == f"name={controller}":
            return key
    known = ", ".join(name for key in cgroup for name in key.split(",") if name) or "none: write a plain path"
    raise UsageError(f"--cgroup: unknown controller {controller} in SubCgroupPaths; the container has {known}")


def _below(directory: str, path: str) -> str:
    target = os.path.normpath(f"{directory}/{path}")
    if target != directory and not target.startswith(directory + "/"):
        raise UsageError(f"--cgroup: bad sub cgroup path: {path} is not a sub cgroup path")
    return target
