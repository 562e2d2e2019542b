"""Extracted layers: STORE/layers/<key>/fs in overlay form, and info, a record of the layer.

A layer whose extraction depends on its archive alone has its diffID as key, in any image. A layer that inherits from
the layers below (attributes of directories that its archive does not mention, hard links to files below) is valid only
on top of them: its key is the chainID with ".chain" (images.md 3.3).
"""

from __future__ import annotations

import os

from pyruntime.errors import ConfigError, ImageError
from pyruntime.images.digest import check
from pyruntime.system import files
from pyruntime.system.json import decode, encode
from pyruntime.system.times import timestamp_in_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.images.store.layout import Layout


SHORT = 6   # characters at the end of a key, by which a mount names a layer if a page has to hold all names


def bare(key: str) -> str:
    """A key without what tells its kind."""
    return key.removesuffix(".chain")


class Layers:
    """The extracted layers of an image; lists run from the bottom up.

    ``keys``         the keys in the store, which bundles record      ``directories``  the trees
    ``chain_ids``    the chainID of each layer
    ``root``         the tree whose root directory's attributes count: of the topmost layer whose archive mentions the
                     root directory; "" for an image without layers
    """

    __slots__ = ("chain_ids", "directories", "keys", "root")

    def __init__(self, keys: list[str], directories: list[str], chain_ids: list[str], root: str) -> None:
        self.root = root
        self.keys = keys
        self.directories = directories
        self.chain_ids = chain_ids


class Info:
    """The record of an extracted layer.

    ``names``, ``size``   names in the tree, and bytes of content: verification counts both again
    ``usage``             bytes on disk
    ``blob``              the digest of the archive
    """

    FIELDS = ("diff_id", "chain_id", "blob", "names", "size", "usage", "has_root", "when")
    __slots__ = FIELDS

    def __init__(self, **values: Any) -> None:
        self.diff_id: str = ""
        self.chain_id: str = ""   # only if the layer depends on the layers below
        self.blob: str = ""
        self.names: int = 0
        self.size: int = 0
        self.usage: int = 0
        self.has_root: bool = True   # whether the archive mentions the root directory
        self.when: str = timestamp_in_seconds()
        for name, value in values.items():
            setattr(self, name, value)

    def json(self) -> str:
        """The record as JSON."""
        return encode({name: getattr(self, name) for name in self.FIELDS})


def plain_key(diff_id: str) -> str:
    """The key of a layer that depends on its archive alone."""
    return check(diff_id).partition(":")[2]


def chain_key(chain_id: str) -> str:
    """The key of a layer that depends on the layers below."""
    return check(chain_id).partition(":")[2] + ".chain"


def candidates(diff_id: str, chain_id: str) -> tuple[str, str]:
    """The possible keys of a layer at this place in an image."""
    return chain_key(chain_id), plain_key(diff_id)


def present(layout: Layout, keys: tuple[str, ...] | list[str]) -> str:
    """The first of these keys that is in the store, or ""."""
    return next((key for key in keys if os.path.exists(f"{layout.layer(key)}/info")), "")


def read_info(layout: Layout, key: str) -> Info:
    """The record of a layer; raises ImageError if it is damaged, FileNotFoundError if the layer does not exist."""
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
    """The layers with these keys; raises ImageError if one is missing."""
    gone = [key for key in keys if not present(layout, [key])]
    if gone:
        raise ImageError(f'layer {gone[0]} is not in store "{layout.root}": unpack the image again', gone[0])
    directories = [f"{layout.layer(key)}/fs" for key in keys]
    telling = (path for key, path in zip(reversed(keys), reversed(directories), strict=True)
               if read_info(layout, key).has_root)
    return Layers(keys, directories, chain_ids, next(telling, directories[-1] if directories else ""))
