"""The capabilities of a container: the default set, with those that are added and dropped."""

from __future__ import annotations

from pyruntime.errors import UsageError
from pyruntime.images.runtime_config import CAPABILITIES
from pyruntime.system.uapi import ALL_CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.pocker.settings import ContainerSettings


def capabilities(settings: ContainerSettings) -> list[str]:
    """The names of the container's capabilities: Docker's default fourteen or all of them, without the dropped ones,
    plus the added ones. Raises UsageError for a capability that the kernel lacks."""
    if settings.privileged:
        return known()
    if not settings.cap_add and not settings.cap_drop:
        return list(CAPABILITIES)
    have = set(known()) if "ALL" in settings.cap_add else set(CAPABILITIES)
    if "ALL" in settings.cap_drop:
        have = set(known()) if "ALL" in settings.cap_add else set()
    have -= set(settings.cap_drop)
    if missing := [name for name in settings.cap_add if name not in ("ALL", *known())]:
        raise UsageError(f"cannot add {', '.join(missing)}: the kernel or the caller's bounding set does not have it")
    return [name for name in ALL_CAPABILITIES if name in have | set(settings.cap_add)]


def known() -> list[str]:
    """The capabilities of the caller's bounding set, which the kernel limits to those that it has."""
    with open("/proc/self/status", encoding="ascii") as file:
        bounding = next(int(line.split()[1], 16) for line in file if line.startswith("CapBnd:"))
    return [name for number, name in enumerate(ALL_CAPABILITIES) if bounding >> number & 1]
