"""Where images are mounted to be looked at: STORE/mounts/<id>/ with two symbolic links, to the place and to the boot.

A mount does not survive a reboot, but its record does. What then lies at the place is somebody else's: such a record is
a leftover, which gc removes, and which nobody unmounts.
"""

from __future__ import annotations

import fcntl
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.store.layout import Layout

EMPTY = "empty"   # beside the records: a layer without anything in it
_BOOT = "/proc/sys/kernel/random/boot_id"


def _boot() -> str:
    with open(_BOOT, encoding="ascii") as file:
        return file.read().strip()


def add(layout: Layout, target: str) -> str:
    """Record, as a whole or not at all, that something will be mounted at ``target``; the record's directory."""
    temporary = layout.work()
    with layout.shared():   # gc must not find it before it is locked
        os.mkdir(temporary, 0o700)
        fd = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        os.symlink(target, f"{temporary}/target")
        os.symlink(_boot(), f"{temporary}/boot")
        record = layout.below("mounts", os.urandom(8).hex())
        os.rename(temporary, record)
    finally:
        os.close(fd)
    return record


def at(layout: Layout, target: str) -> list[str]:
    """The records of what was mounted at ``target`` since this machine has started."""
    here = (target, _boot())
    return [record for record in _records(layout) if (_read(record, "target"), _read(record, "boot")) == here]


def leftovers(layout: Layout) -> list[str]:
    """The records of earlier boots."""
    boot = _boot()
    return [record for record in _records(layout) if _read(record, "boot") != boot]


def _records(layout: Layout) -> list[str]:
    return [layout.below("mounts", name) for name in sorted(os.listdir(layout.below("mounts"))) if name != EMPTY]


def _read(record: str, name: str) -> str:
    try:
        return os.readlink(f"{record}/{name}")
    except FileNotFoundError:   # removed meanwhile
        return ""
