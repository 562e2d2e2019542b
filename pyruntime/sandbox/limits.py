"""Limits of a sandbox."""

from __future__ import annotations

from dataclasses import dataclass

from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_LEAST_MEMORY, _LEAST_DISK = 1 << 20, 256 << 10
_LEAST_CPUS = 0.01   # cpu.cfs_quota_us is at least 1000
_LIMITS = {"memory": ("memory", "swap"), "cpu": ("cpus",), "pids": ("pids",)}   # in linux.resources
BY_CGROUPS = tuple(name for names in _LIMITS.values() for name in names)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def size(name: str, value: int | str) -> int:
    """Bytes, of a number or of a text like "256m" (k, m, g, t: powers of 1024). Raises UsageError."""
    if type(value) is int:
        if value >= 0:
            return value
    elif isinstance(value, str):
        text = value.strip().lower().removesuffix("b")
        unit = text[-1:] if text[-1:].isalpha() else ""
        digits = text.removesuffix(unit)
        if digits.isascii() and digits.isdigit() and unit in _UNITS:
            return int(digits) * _UNITS[unit]
    raise UsageError(f'{name} "{value}": write bytes, or a number with k, m, g or t, as "256m"')


def limits_of(where: str) -> tuple[str, ...]:
    """The limits that a place in config.json is made of, as "linux.resources.memory.limit"."""
    return _LIMITS.get(where.removeprefix("linux.resources.").partition(".")[0], ())


@dataclass(frozen=True)
class Limits:
    """What all processes of a sandbox may use together, unless it says otherwise.

    ``memory``  bytes of memory, files in the sandbox's writable directories included; at least 1m; None: no limit
    ``swap``    bytes of swap, in addition to ``memory``
    ``cpus``    processors, as 0.5; at least 0.01; None: no limit
    ``pids``    processes and threads at once
    ``disk``    bytes of all files that the sandbox writes (they are in memory: a tmpfs); at least 256k
    ``files``   open files of each process (RLIMIT_NOFILE), at most the hard limit of this program; None: 1024, or that
                limit if it is lower
    ``wall``    seconds of a run that has no timeout of its own; None: no limit

    Sizes are numbers, or texts as "256m". ``memory``, ``swap``, ``cpus`` and ``pids`` need cgroups.
    """

    memory: int | str | None = "512m"
    swap: int | str = 0
    cpus: float | None = None
    pids: int = 128
    disk: int | str = "256m"
    files: int | None = None
    wall: float | None = None

    def __post_init__(self) -> None:
        """Raises UsageError for a value without a meaning."""
        for name in ("pids", "files"):
            value = getattr(self, name)
            if (type(value) is not int or value < 1) and not (name == "files" and value is None):
                raise UsageError(f"{name} {value!r}: write a number of at least 1")
        for name in ("cpus", "wall"):
            value = getattr(self, name)
            if value is not None and (type(value) not in (int, float) or not 0 < value < float("inf")):
                raise UsageError(f"{name} {value!r}: write a number above 0, or None for no limit")
        if self.cpus is not None and self.cpus < _LEAST_CPUS:
            raise UsageError(f"cpus {self.cpus}: write at least {_LEAST_CPUS}")
        if self.memory is not None and size("memory", self.memory) < _LEAST_MEMORY:
            raise UsageError(f'memory "{self.memory}": write at least {_LEAST_MEMORY >> 20}m, or None for no limit')
        if self.bytes_of_disk() < _LEAST_DISK:
            raise UsageError(f'disk "{self.disk}": write at least {_LEAST_DISK >> 10}k, for files of its own')
        self.resources(swap=True)

    def bytes_of_disk(self) -> int:
        """``disk`` in bytes."""
        return size("disk", self.disk)

    def resources(self, *, swap: bool, without: Sequence[str] = ()) -> dict[str, Any]:
        """linux.resources (config-linux.md#control-groups); ``swap``: whether the host counts swap; ``without``: limits
        that it cannot enforce."""
        found: dict[str, Any] = {"pids": {"limit": self.pids}}
        if self.memory is not None:
            memory = size("memory", self.memory)
            found["memory"] = {"limit": memory, **({"swap": memory + size("swap", self.swap)} if swap else {})}
        if self.cpus is not None:
            found["cpu"] = {"quota": round(self.cpus * 100_000), "period": 100_000}
        return {name: values for name, values in found.items() if not set(_LIMITS[name]) <= set(without)}
