"""Records of the layers that bundles and containers use: a file in STORE/bundles for each root filesystem.

A record is valid as long as its bundle exists: the bundle's directory holds MARK with the record's ID. A bundle that
was removed by hand, or whose creation was killed before the mark, leaves a record for the next garbage collection. The
creator of a bundle holds a lease on the layers until both files are written.
"""

from __future__ import annotations

import os

from pyruntime.errors import ConfigError, ImageError
from pyruntime.images.store.layout import write_file
from pyruntime.system import files
from pyruntime.system.json import decode, encode
from pyruntime.system.times import timestamp_in_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.images.store.layers import Layers
    from pyruntime.images.store.layout import Layout

MARK = ".pyimage"   # beside config.json
_ID = 16            # bytes


class BundleRecord:
    """One record: the ``path`` of the bundle, its manifest's digest, the driver of its root filesystem, its layers."""

    FIELDS = ("id", "path", "manifest", "driver", "keys", "chain_ids", "when")
    __slots__ = FIELDS

    def __init__(self, **values: Any) -> None:
        self.id: str = ""
        self.path: str = ""
        self.manifest: str = ""
        self.driver: str = ""
        self.keys: list[str] = []
        self.chain_ids: list[str] = []
        self.when: str = timestamp_in_seconds()
        for name, value in values.items():
            setattr(self, name, value)

    def alive(self) -> bool:
        """Whether the bundle exists, and is the recorded one. In doubt, True."""
        try:
            return read_mark(self.path).get("id") == self.id
        except OSError as error:
            return not isinstance(error, FileNotFoundError | NotADirectoryError)
        except ImageError:
            return True   # a damaged mark still belongs to a bundle


def add(layout: Layout, path: str, *, manifest: str, driver: str, layers: Layers, at: str = "",
        lasting: bool = True) -> BundleRecord:
    """Record that the bundle at ``path``, an existing directory, uses these layers. ``at``: the current path of a
    directory that is later renamed to ``path``, still under the lease. ``lasting``: the record must survive a power
    failure. Raises HostError."""
    record = BundleRecord(id=os.urandom(_ID).hex(), path=os.path.abspath(path), manifest=manifest, driver=driver,
                    keys=layers.keys, chain_ids=layers.chain_ids)
    mark = encode({"id": record.id, "store": layout.root, "manifest": manifest, "driver": driver}).encode()
    try:
        with layout.shared():   # the garbage collection must not see the file unlocked, or the record without its mark
            temporary = layout.work()
            data = encode({name: getattr(record, name) for name in BundleRecord.FIELDS}).encode()
            fd = write_file(temporary, data, lock=True, sync=lasting)
            try:
                os.rename(temporary, layout.below("bundles", record.id))
            finally:
                os.close(fd)
            here = at or record.path
            write_file(f"{here}/{MARK}.{record.id}", mark, sync=lasting)
            os.rename(f"{here}/{MARK}.{record.id}", f"{here}/{MARK}")
    except OSError as error:
        raise layout.failure(error, f'recording the bundle "{path}"') from None
    return record


def read_mark(path: str) -> dict[str, str]:
    """The mark of the bundle at ``path``: ID, store, manifest, driver. Raises OSError if there is none, ImageError if
    it is damaged."""
    file = f"{path}/{MARK}"
    try:
        value = decode(files.read(file), file)
    except ConfigError:
        value = None
    if not isinstance(value, dict) or not all(isinstance(value.get(key), str) for key in ("id", "store", "driver")):
        raise ImageError(f'"{file}" is damaged: remove the bundle', file)
    return value


def read(layout: Layout, name: str) -> BundleRecord:
    """The record with this ID; raises ImageError if it is damaged, FileNotFoundError if there is none."""
    if len(name) != 2 * _ID or not frozenset("0123456789abcdef").issuperset(name):   # untrusted: it may contain ".."
        raise FileNotFoundError
    path = layout.below("bundles", name)
    try:
        value = decode(files.read(path), path)
    except ConfigError:
        value = None
    blank = BundleRecord()
    if not isinstance(value, dict) or value.get("id") != name or any(
            type(value.get(field)) is not type(getattr(blank, field)) for field in BundleRecord.FIELDS):
        raise ImageError(f'"{path}" is damaged: remove it when no bundle has the id "{name}"', path)
    return BundleRecord(**{field: value[field] for field in BundleRecord.FIELDS})


def records(layout: Layout) -> list[BundleRecord]:
    """Every record, also of bundles that are gone; raises ImageError for a damaged one."""
    found = []
    for name in sorted(os.listdir(layout.below("bundles"))):
        try:
            found.append(read(layout, name))
        except FileNotFoundError:
            continue   # removed meanwhile
    return found


def remove(layout: Layout, record: BundleRecord) -> None:
    """Forget a bundle; its own files are the caller's."""
    for path in (f"{record.path}/{MARK}", layout.below("bundles", record.id)):
        try:
            os.unlink(path)
        except (FileNotFoundError, NotADirectoryError):
            continue   # nothing to forget
        except OSError as error:
            raise layout.failure(error, f'forgetting the bundle "{record.path}"') from None
