"""Records of mounted images: STORE/mounts/<id>/ with two symbolic links, to the mount point and to the boot ID.

A mount does not survive a reboot, but its record does. The mount point may then hold anything: such a record is a
leftover, which the garbage collection removes and which is never unmounted.
"""

from __future__ import annotations

import os

from pyruntime.system.locks import hold
from pyruntime.system.restrictions import read_proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.store.layout import Layout

EMPTY = "empty"   # beside the records: an empty layer
_BOOT = "/proc/sys/kernel/random/boot_id"


def add(layout: Layout, target: str) -> str:
    """Record a mount at ``target`` before it is made, atomically; the record's directory."""
    temporary = layout.work()
    with layout.shared():   # the gc must not see it unlocked
        os.mkdir(temporary, 0o700)
        fd = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        hold(fd)
    try:
        os.symlink(target, f"{temporary}/target")
        os.symlink(read_proc(_BOOT), f"{temporary}/boot")
        record = layout.below("mounts", os.urandom(8).hex())
        os.rename(temporary, record)
    finally:
        os.close(fd)
    return record


def at(layout: Layout, target: str) -> list[str]:
    """The records of mounts at ``target`` since the host's boot."""
    here = (target, read_proc(_BOOT))
    return [record for record in _records(layout) if (_read(record, "target"), _read(record, "boot")) == here]


def leftovers(layout: Layout) -> list[str]:
    """The records of earlier boots."""
    boot = read_proc(_BOOT)
    return [record for record in _records(layout) if _read(record, "boot") != boot]


def _records(layout: Layout) -> list[str]:
    return [layout.below("mounts", name) for name in sorted(os.listdir(layout.below("mounts"))) if name != EMPTY]


def _read(record: str, name: str) -> str:
    try:
        return os.readlink(f"{record}/{name}")
    except FileNotFoundError:   # removed meanwhile
        return ""
