"""Docker's flags that have a single accepted value, or no effect."""

from __future__ import annotations

from pyruntime.commandline.trust import check_trust
from pyruntime.commandline.units import wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

IGNORED = ("kernel-memory",)   # removed from the kernel; Docker ignores the flag, too


def check(given: dict[str, Any]) -> None:
    """Raise UsageError for a value that would be ignored although it asks for a change."""
    if given.get("volume-driver", "local") not in ("", "local"):
        raise wrong("volume-driver", given["volume-driver"], "local is the only driver")
    for text in given.get("storage-opt", []):
        raise wrong("storage-opt", text, "the storage drivers have no options: to limit the size, use a volume on a"
                    " filesystem with quotas")
    check_trust(disabled=given.get("disable-content-trust", True))
