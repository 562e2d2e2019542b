"""Extracted layers: STORE/layers/<key>/fs in overlay form, and info, which says what it is.

A layer whose extraction depended on nothing but its archive is found by its diffID, whatever stands below it. One that
has inherited something from the layers below (attributes of directories that its archive does not mention, hard
links to their files) belongs to that place alone: its key is the chainID with ".chain" (images.md 3.3).
"""

from __future__ import annotations

import os

from pyruntime.errors import ConfigError, ImageError
from pyruntime.images.digest import check
from pyruntime.images.store.layout import now
from pyruntime.system import files
from pyruntime.system.json import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.images.store.layout import Layout


class Layers:
    """The layers of an image, extracted; lists run from the bottom up.

    ``keys`` name them in the store (bundles record them), ``directories`` are where they are, ``chain_ids`` what each
    is together with all below it, ``root`` the one whose root directory's attributes count: the topmost whose archive
    mentions them ("" for an image without layers).
    """

    __slots__ = ("chain_ids", "directories", "keys", "root")

    def __init__(self, keys: list[str], directories: list[str], chain_ids: list[str], root: str) -> None:
        self.root = root
        self.keys = keys
        self.directories = directories
        self.chain_ids = chain_ids


class Info:
    """What is recorded about an extracted layer.

    ``names``, ``size``   names in the tree, and bytes of content: what verification counts again
    ``usage``             bytes on disk
    ``blob``              the digest of the archive that it came from
    """

    FIELDS = ("diff_id", "chain_id", "blob", "names", "size", "usage", "has_root", "when")
    __slots__ = FIELDS

    def __init__(self, **values: Any) -> None:
        self.diff_id: str = ""
        self.chain_id: str = ""   # only where it depends on what is below
        self.blob: str = ""
        self.names: int = 0
        self.size: int = 0
        self.usage: int = 0
        self.has_root: bool = True   # whether the archive says what the root directory is like
        self.when: str = now()
        for name, value in values.items():
            setattr(self, name, value)

    def json(self) -> str:
        """As in the file."""
        return encode({name: getattr(self, name) for name in self.FIELDS})


def plain_key(diff_id: str) -> str:
    """The key of a layer that depends on nothing."""
    return check(diff_id).partition(":")[2]


def chain_key(chain_id: str) -> str:
    """The key of a layer that depends on what is below."""
    return check(chain_id).partition(":")[2] + ".chain"


def candidates(diff_id: str, chain_id: str) -> tuple[str, str]:
    """The keys under which a layer in this place may be."""
    return chain_key(chain_id), plain_key(diff_id)


def present(layout: Layout, keys: tuple[str, ...] | list[str]) -> str:
    """The first of these keys that is there, or ""."""
    return next((key for key in keys if os.path.exists(f"{layout.layer(key)}/info")), "")


def read_info(layout: Layout, key: str) -> Info:
    """What is recorded about a layer; raises ImageError where that is damaged, FileNotFoundError where it is gone."""
    path = f"{layout.layer(key)}/info"
    try:
        value = decode(files.read(path), path)
    except ConfigError:
        value = None
    blank = Info()
    if not isinstance(value, dict) or any(type(value.get(name)) is not type(getattr(blank, name))
                                          for name in Info.FIELDS):
        raise ImageError(f'"{path}" is damaged: remove "{layout.layer(key)}"; the layer will be extracted again', path)
    return Info(**{name: value[name] for name in Info.FIELDS})


def all_keys(layout: Layout) -> list[str]:
    """The key of every extracted layer."""
    return sorted(os.listdir(layout.below("layers")))


def layers_of(layout: Layout, keys: list[str], chain_ids: list[str]) -> Layers:
    """The value for layers that are there; raises ImageError where one is not."""
    gone = [key for key in keys if not present(layout, [key])]
    if gone:
        raise ImageError(f'layer {gone[0]} is not in store "{layout.root}": unpack the image again', gone[0])
    directories = [f"{layout.layer(key)}/fs" for key in keys]
    telling = (path for key, path in zip(reversed(keys), reversed(directories), strict=True)
               if read_info(layout, key).has_root)
    return Layers(keys, directories, chain_ids, next(telling, directories[-1] if directories else ""))
