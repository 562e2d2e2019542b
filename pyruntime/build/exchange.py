"""Caches in directories, for machines that begin anew each time: --cache-to writes one, --cache-from reads it.

    DIR/steps/<key>     a record, as in the store (pyruntime.image.store.steps)
    DIR/blobs/<hex>     the layers of the records, uncompressed: their digest is their diffID

Whoever can write the directory decides what a step has made: it is to be trusted as a base image is. What is damaged is
no hit.
"""

from __future__ import annotations

import os

from pyruntime.config.decode import decode, encode
from pyruntime.errors import BuildError, PyruntimeError, UsageError
from pyruntime.image import media
from pyruntime.image.digest import well_formed
from pyruntime.image.document import Descriptor
from pyruntime.image.store import steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.image.store.steps import Made
    from pyruntime.image.store.store import Store

_STEP = 1 << 20


def directory_of(text: str, flag: str, member: str) -> str:
    """The directory of ``type=local,src=DIR`` (``dest`` for --cache-to), or of the path alone. Raises UsageError."""
    if "=" not in text:
        return text
    values = dict(part.partition("=")[::2] for part in text.split(","))
    if values.get("type") != "local" or not values.get(member) or set(values) > {"type", member, "mode"}:
        raise UsageError(f'--{flag} "{text}": write type=local,{member}=DIR')
    return values[member]


def fetch(store: Store, directories: list[str], key: str) -> Made | None:
    """A step from one of the directories, which is in the store then. The caller holds a lease."""
    for directory in directories:
        try:
            made = _read(directory, key)
            if made is not None:
                _take(store, made, f"{directory}/blobs/{made.diff_id.partition(':')[2]}")
                steps.write(store.layout, key, made)
                return made
        except (OSError, PyruntimeError):
            continue   # as if it were not there
    return None


def _read(directory: str, key: str) -> Made | None:
    try:
        with open(f"{directory}/steps/{key}", "rb") as file:
            value = decode(file.read(1 << 16), key)
    except FileNotFoundError:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("diff_id"), str) or not well_formed(value["diff_id"]) \
            or not isinstance(value.get("size"), int):
        return None
    descriptor = Descriptor(media.layer_type("none", docker=False), value["diff_id"], value["size"])
    return steps.Made(descriptor, value["diff_id"], value["diff_id"], str(value.get("title", "")),
                      str(value.get("created", "")))


def _take(store: Store, made: Made, path: str) -> None:
    with store.ingest(made.descriptor.digest, made.descriptor.size) as ingest:
        if ingest.present:
            return
        with open(path, "rb") as file:
            file.seek(ingest.offset)
            while data := file.read(_STEP):
                ingest.write(data)
        ingest.commit()


def export(store: Store, directory: str, used: dict[str, Made]) -> None:
    """Write the steps of a build. Raises BuildError."""
    try:
        for name in ("steps", "blobs"):
            os.makedirs(f"{directory}/{name}", exist_ok=True)
        for key, made in used.items():
            blob = f"{directory}/blobs/{made.diff_id.partition(':')[2]}"
            if not os.path.exists(blob):
                _copy(store, made.descriptor.digest, blob)
            text = encode({"diff_id": made.diff_id, "size": made.descriptor.size, "title": made.title,
                           "created": made.created})
            _write(f"{directory}/steps/{key}", text.encode())
    except OSError as error:
        raise BuildError(f'--cache-to "{directory}": {error.strerror}') from None


def _copy(store: Store, digest: str, path: str) -> None:
    source = store.open_blob(digest)
    try:
        with open(f"{path}.{os.getpid()}", "wb") as file:
            while data := os.read(source, _STEP):
                file.write(data)
        os.rename(f"{path}.{os.getpid()}", path)
    finally:
        os.close(source)


def _write(path: str, data: bytes) -> None:
    with open(f"{path}.{os.getpid()}", "wb") as file:
        file.write(data)
    os.rename(f"{path}.{os.getpid()}", path)
