"""The flags --ulimit and --cgroup-parent."""

from __future__ import annotations

from pyruntime.commandline.units import pair, whole, wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOST = (1 << 63) - 1
_UNLIMITED = (1 << 64) - 1      # RLIM_INFINITY
RLIMITS = ("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
           "rtprio", "rttime", "sigpending", "stack")


def parent(text: str) -> str:
    """The parent of the containers' cgroups: a cgroup, or a slice of systemd."""
    if ".." in text.split("/"):
        raise wrong("cgroup-parent", text, 'write a path without ".."')
    return text if text.endswith(".slice") else "/" + text.strip("/")


def ulimit(text: str) -> dict[str, Any]:
    """An entry of process.rlimits, from ``nofile=1024:2048``; -1 is unlimited."""
    name, value = pair("ulimit", text, "NAME=SOFT[:HARD]")
    if name not in RLIMITS:
        raise wrong("ulimit", text, f"unknown limit: choose one of {', '.join(RLIMITS)}")
    soft, colon, hard = value.partition(":")
    low = whole("ulimit", soft, -1, _MOST, "write NAME=SOFT[:HARD], numbers or -1")
    high = whole("ulimit", hard, -1, _MOST, "write NAME=SOFT[:HARD], numbers or -1") if colon else low
    if high != -1 and (low == -1 or low > high):
        raise wrong("ulimit", text, f"the soft limit {low} is more than the hard limit {high}")
    return {"type": f"RLIMIT_{name.upper()}", "soft": _UNLIMITED if low == -1 else low,
            "hard": _UNLIMITED if high == -1 else high}
