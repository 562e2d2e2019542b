"""Flags of Docker's for which there is one value here."""

from __future__ import annotations

from pyruntime.commandline.trust import check_trust
from pyruntime.commandline.units import wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.options.settings import Settings

IGNORED = ("kernel-memory",)   # kernels do not have it any more, and Docker ignores it, too


def read(settings: Settings, given: dict[str, Any]) -> None:
    """Raise UsageError for what would be ignored, and is meant to change something."""
    if given.get("volume-driver", "local") not in ("", "local"):
        raise wrong("volume-driver", given["volume-driver"], "there is local")
    for text in given.get("storage-opt", []):
        raise wrong("storage-opt", text, "the storage drivers have no options: limit what is written by a volume of a"
                    " filesystem that has quotas")
    check_trust(disabled=given.get("disable-content-trust", True))
