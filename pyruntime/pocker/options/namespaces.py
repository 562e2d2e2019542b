"""Flags to settings: the namespaces of a container."""

from __future__ import annotations

from pyruntime.commandline.units import wrong
from pyruntime.errors import UsageError
from pyruntime.pocker.containers.user_namespaces import subordinate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.settings import ContainerSettings

_WORDS = {"ipc": ("private", "shareable", "host", "none"), "pid": ("private", "host"), "uts": ("private", "host"),
          "cgroupns": ("private", "host"), "userns": ("host", "auto")}
SHARED = "container:"


def read(settings: ContainerSettings, given: dict[str, Any]) -> ContainerSettings:
    """The settings with those of the flags. Raises UsageError."""
    found = {}
    for flag, words in _WORDS.items():
        text: str = given.get(flag, "")
        if flag in ("ipc", "pid", "uts") and text.startswith(SHARED) and len(text) > len(SHARED):
            pass   # the container is looked up when this one starts
        elif flag == "userns" and text and text not in words:
            try:
                subordinate(text)
            except UsageError as error:
                raise wrong(flag, text, f"{error}; or write host or auto") from None
        elif text and text not in words:
            also = ", container:NAME" if flag in ("ipc", "pid", "uts") else ""
            raise wrong(flag, text, f"write {', '.join(words)}{also}")
        found[flag] = text
    if found["userns"] not in ("", "host"):
        _check_user(given)
    if found["uts"] == "host" and given.get("hostname"):
        raise UsageError("--hostname and --uts host do not go together: the host name would be the host's")
    return settings.replace(**found)


def _check_user(given: dict[str, Any]) -> None:
    from pyruntime.system.user_namespace import privileged  # lazy: only with this option

    if given.get("privileged"):
        raise UsageError("--privileged and --userns do not go together: write --userns host")
    if not privileged():
        raise UsageError(f'--userns "{given["userns"]}": without root all containers share the caller\'s user'
                         " namespace: write --userns host")
