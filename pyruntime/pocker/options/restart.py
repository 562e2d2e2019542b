"""Flags to settings: the restart policy."""

from __future__ import annotations

from pyruntime.commandline.units import whole, wrong
from pyruntime.errors import UsageError
from pyruntime.pocker.settings import RestartPolicy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.settings import ContainerSettings

POLICIES = ("no", "always", "on-failure", "unless-stopped")


def read(settings: ContainerSettings, given: dict[str, Any]) -> ContainerSettings:
    """The settings with the restart policy of the flag. Raises UsageError."""
    restart = policy(given["restart"])
    if restart.name != "no" and settings.remove:
        raise UsageError("--rm and --restart do not go together: a removed container cannot be started again")
    return settings.replace(restart=restart)


def policy(text: str) -> RestartPolicy:
    """The restart policy of ``POLICY[:N]``. Raises UsageError."""
    word, colon, count = text.partition(":")
    if word not in POLICIES and word:
        raise wrong("restart", text, "write no, always, unless-stopped or on-failure[:N]")
    if colon and word != "on-failure":
        raise wrong("restart", text, "only on-failure has a number")
    return RestartPolicy(name=word or "no", limit=whole("restart", count, 0, 1 << 31) if colon else 0)
