"""Names of volumes, as flags and commands have them."""

from __future__ import annotations

from pyruntime.commandline.units import wrong

_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")


def volume_name(flag: str, text: str, name: str) -> str:
    """The name itself; raises UsageError for what cannot be one."""
    if len(name) < 2 or not _NAME.issuperset(name) or name[0] in "_.-":
        hint = "; a directory of this machine starts with / or ./" if "/" in name else ""
        raise wrong(flag, text, f'"{name}" cannot be the name of a volume: two or more letters, digits, "_", "." and'
                    f' "-"{hint}')
    return name
