"""Flags to settings: the log of a container's output."""

from __future__ import annotations

from pyruntime.commandline.units import pair, size, whole, wrong
from pyruntime.pocker.settings import LogSettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.settings import ContainerSettings

# The log is the same for all of these: other engines use these names for a file of lines.
DRIVERS = {"file": "file", "json-file": "file", "local": "file", "k8s-file": "file", "none": "none"}
_IGNORED = ("mode", "compress", "tag", "labels-regex", "env-regex", "max-buffer-size")


def read(settings: ContainerSettings, given: dict[str, Any]) -> ContainerSettings:
    """The settings with the log of the flags. Raises UsageError."""
    driver = given.get("log-driver", "file")
    if driver not in DRIVERS:
        raise wrong("log-driver", driver, f"write {', '.join(DRIVERS)}")
    found: dict[str, Any] = {"driver": DRIVERS[driver], "details": {}}
    for text in given.get("log-opt", []):
        name, value = pair("log-opt", text)
        if name == "max-size":
            found["max_size"] = max(0, -1 if value == "-1" else size("log-opt max-size", value))
        elif name == "max-file":
            found["max_files"] = whole("log-opt max-file", value, 1, 1000)
        elif name in ("labels", "env"):
            found["details"][name] = value.split(",")
        elif name not in _IGNORED:
            raise wrong("log-opt", text, "write max-size=SIZE, max-file=N, env=NAME,... or labels=NAME")
    return settings.replace(logging=LogSettings(**found))
