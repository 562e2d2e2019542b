"""The format of exported caches: the layer of each step, by the step's key, and its archive in a manifest.

a manifest (manifest.md)          layers: the layers' archives
  config: DOCUMENT                {"layers": [{"diffID", "size", "blob"?}], "steps": {KEY: [LAYER, CREATED]}}

``blob`` is an index into the manifest's layers, ``size`` counts bytes of the uncompressed archive. A layer without
``blob`` is only known by its digest: steps above it are found, but its files must be built. An image has the same
object in its configuration (type=inline), for its own layers.

The author of a cache determines the results of steps, like the author of a base image. Nothing else is trusted:
archives must match their diffID; titles are not included.
"""

from __future__ import annotations

from pyruntime.errors import ImageError
from pyruntime.images import media
from pyruntime.images.digest import of, well_formed
from pyruntime.images.document import Descriptor
from pyruntime.system.json import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

DOCUMENT = "application/vnd.pyruntime.build.cache.v1+json"
INLINE = "pyruntime.build.cache.v1"
_HEX = frozenset("0123456789abcdef")
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z"   # a strict format: other tools read it in images
_TYPES = frozenset(kind for kind in media.LAYERS if not media.is_foreign(kind))   # foreign: at any URL


class CacheRecord:
    """The record of a step in a cache: diffID and uncompressed size of its layer, the creation time (RFC 3339), and its
    archive in the cache, or None. ``keys``: all keys that the cache has for the layer."""

    __slots__ = ("blob", "created", "diff_id", "keys", "size")

    def __init__(self, diff_id: str, size: int, created: str, blob: Descriptor | None) -> None:
        self.keys: list[str] = []
        self.diff_id = diff_id
        self.size = size
        self.created = created
        self.blob = blob


def write(records: Mapping[str, CacheRecord], layers: list[Descriptor]) -> dict[str, Any]:
    """The object. ``layers`` are the manifest's, among them each record's ``blob``."""
    places = {descriptor.digest: number for number, descriptor in enumerate(layers)}
    numbers: dict[str, int] = {}
    listed: list[dict[str, Any]] = []
    steps: dict[str, list[Any]] = {}
    for key, record in sorted(records.items()):
        if record.diff_id not in numbers:
            numbers[record.diff_id] = len(listed)
            blob = {"blob": places[record.blob.digest]} if record.blob else {}
            listed.append({"diffID": record.diff_id, "size": record.size, **blob})
        steps[key] = [numbers[record.diff_id], record.created]
    return {"layers": listed, "steps": steps}


def manifest(document: dict[str, Any], layers: list[Descriptor]) -> tuple[bytes, Descriptor, bytes]:
    """The document's bytes, its descriptor, and the manifest's bytes."""
    raw = encode(document).encode()
    config = Descriptor(DOCUMENT, of(raw), len(raw))
    return raw, config, encode({"schemaVersion": 2, "mediaType": media.OCI_MANIFEST, "config": config.json(),
                                "layers": [layer.json() for layer in layers]}).encode()


def read_document(raw: bytes, layers: list[Descriptor], label: str) -> dict[str, CacheRecord]:
    """The records of a cache's document. Raises ImageError if it is invalid, ConfigError if it is not JSON."""
    return read(decode(raw, label), layers, label)


def read(value: object, layers: list[Descriptor], label: str) -> dict[str, CacheRecord]:
    """The records of the object. Raises ImageError."""
    if not isinstance(value, dict) or not isinstance(value.get("layers"), list) or \
            not isinstance(value.get("steps"), dict):
        raise ImageError(f"{label}: not a build cache: it has no layers and steps")
    known = [_layer(entry, layers, f"{label}: layers[{number}]") for number, entry in enumerate(value["layers"])]
    from re import ASCII, compile  # lazy: only with exported caches

    is_time = compile(_TIME, ASCII).fullmatch
    found = {}
    together: dict[tuple[int, str], list[str]] = {}
    for key, entry in value["steps"].items():
        if not isinstance(entry, list) or len(entry) != 2 or not _is_index(entry[0], known) or \
                not isinstance(entry[1], str) or not is_time(entry[1]) or len(key) != 64 or not _HEX.issuperset(key):
            raise ImageError(f"{label}: steps: {f'{key}: {entry}'!r:.120} is not a key with a layer and a time")
        diff_id, size, blob = known[entry[0]]
        found[key] = CacheRecord(diff_id, size, entry[1], blob)
        found[key].keys = together.setdefault((entry[0], entry[1]), [])
        found[key].keys.append(key)
    return found


def _layer(entry: object, layers: list[Descriptor], label: str) -> tuple[str, int, Descriptor | None]:
    if not isinstance(entry, dict) or not isinstance(entry.get("diffID"), str) or not well_formed(entry["diffID"]) \
            or not entry["diffID"].startswith("sha256:") or not _is_index(entry.get("size"), range(1 << 50)):
        raise ImageError(f"{label}: {entry!r:.120} is not a layer's diffID and size")
    if "blob" not in entry:
        return entry["diffID"], entry["size"], None
    if not _is_index(entry["blob"], layers) or layers[entry["blob"]].media_type not in _TYPES:
        raise ImageError(f"{label}.blob: {entry['blob']!r:.80} is not the number of a layer of the manifest")
    blob = layers[entry["blob"]]
    return entry["diffID"], entry["size"], Descriptor(blob.media_type, blob.digest, blob.size)


def _is_index(value: object, among: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(among)
