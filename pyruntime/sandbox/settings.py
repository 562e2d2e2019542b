"""What a sandbox is told about its container."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from pyruntime.errors import UsageError
from pyruntime.sandbox.commands import variables_of
from pyruntime.sandbox.limits import Limits
from pyruntime.sandbox.sources import HostMount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

NOBODY = 65534
_LAST_ID = (1 << 32) - 2   # the one above means "no ID" (chown(2))


@dataclass(frozen=True)
class Settings:
    """What Sandbox is told about its container; see there."""

    limits: Limits = field(default_factory=Limits)
    mounts: Sequence[HostMount] = ()
    env: Mapping[str, str] | None = None
    cwd: str = ""
    user: int | tuple[int, int] = NOBODY
    writable: bool = False
    network: str | None = None
    seccomp: Mapping[str, Any] | None = None
    devices: Sequence[str] = ()
    require_limits: bool = False
    checkpointable: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError for a value of another type."""
        if not isinstance(self.limits, Limits):
            raise UsageError(f'limits {self.limits!r}: give Limits(...), as Limits(memory="256m")')
        for mount in self.mounts:
            if not isinstance(mount, HostMount):
                raise UsageError(f'mounts {mount!r}: give HostMount("/source", "/target")')
        if self.network is not None and not isinstance(self.network, str):
            raise UsageError(f"network {self.network!r}: give the name of a network, or None for no network")
        pair = self.user if isinstance(self.user, tuple) else (self.user, self.user)
        if len(pair) != 2 or not all(isinstance(number, int) and 0 <= number <= _LAST_ID for number in pair):
            raise UsageError(f"user {self.user!r}: give a number, or a pair (uid, gid) of numbers, up to {_LAST_ID}")
        variables_of(self.env)


OPTIONS = frozenset(option.name for option in fields(Settings)) | {"interpreter"}   # of every Sandbox
