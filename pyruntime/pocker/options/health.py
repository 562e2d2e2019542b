"""Flags to settings: the health check."""

from __future__ import annotations

from pyruntime.commandline.units import duration, whole, wrong
from pyruntime.errors import UsageError
from pyruntime.pocker.settings import HealthCheck

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.settings import ContainerSettings

TIMES = {"health-interval": "interval", "health-timeout": "timeout", "health-start-period": "start_period",
         "health-start-interval": "start_interval"}
_LEAST = 0.001   # seconds, Docker's limit


def read(settings: ContainerSettings, given: dict[str, Any]) -> ContainerSettings:
    """The settings with the health check of the flags. Raises UsageError."""
    return settings.replace(health=check(given))


def check(given: dict[str, Any]) -> HealthCheck:
    """The health check of the flags; fields that no flag gives are the image's."""
    if given.get("no-healthcheck"):
        if other := next((name for name in given if name.startswith("health-")), ""):
            raise UsageError(f"--no-healthcheck and --{other} do not go together")
        return HealthCheck(test=["NONE"])
    found: dict[str, Any] = {}
    if given.get("health-cmd"):
        found["test"] = ["CMD-SHELL", given["health-cmd"]]
    for flag, name in TIMES.items():
        if flag in given:
            found[name] = duration(flag, given[flag])
            if 0 < found[name] < _LEAST or found[name] < 0:
                raise wrong(flag, given[flag], "write at least a millisecond, or 0 for the default")
    if given.get("health-retries"):
        found["retries"] = whole("health-retries", given["health-retries"], 0, 1 << 31)
    return HealthCheck(**found)
