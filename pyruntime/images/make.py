"""Creates content: layers written piece by piece, configurations, manifests.

The same input gives the same bytes: gzip headers without time, members in a fixed order, and ``created`` as the caller
or SOURCE_DATE_EPOCH says (reproducible-builds.org).
"""

from __future__ import annotations

import _hashlib
import os

from pyruntime.errors import UsageError
from pyruntime.images import media
from pyruntime.images.document import Descriptor
from pyruntime.images.layers.compression import writer
from pyruntime.system.json import encode
from pyruntime.system.locks import hold
from pyruntime.system.times import timestamp_in_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.images.lookup import Image
    from pyruntime.images.store.store import Store


class LayerFile:
    """The archive of a new layer: ``write`` takes the uncompressed archive. A context manager: ``done`` makes it a blob
    of the store, otherwise it is removed."""

    def __init__(self, store: Store, compression: str = "gzip", level: int = -1) -> None:
        """``compression``: gzip, zstd or none."""
        if compression not in ("gzip", "zstd", "none"):
            raise UsageError(f'compression "{compression}": write gzip, zstd or none')
        self._store = store
        self._compression = compression
        self._writer = writer(compression, level)
        self._diff = _hashlib.new("sha256")
        self._blob = _hashlib.new("sha256")
        self._path = store.layout.work()
        self._file = open(self._path, "xb")   # noqa: SIM115  closed by __exit__
        hold(self._file)   # the garbage collection removes unlocked files
        self._size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Write the next bytes of the archive."""
        self._diff.update(data)
        self._put(self._writer.compress(data))

    def _put(self, data: bytes) -> None:
        self._blob.update(data)
        self._size += len(data)
        self._file.write(data)

    def done(self, *, docker: bool = False) -> tuple[Descriptor, str]:
        """The blob's descriptor and the layer's diffID. The caller holds a lease of the store."""
        self._put(self._writer.flush())
        self._file.flush()
        digest = f"sha256:{self._blob.hexdigest()}"
        self._store.adopt(self._file.fileno(), self._path, digest)
        media_type = media.layer_type(self._compression, docker=docker)
        return Descriptor(media_type, digest, self._size), f"sha256:{self._diff.hexdigest()}"

    def __enter__(self) -> LayerFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if os.path.exists(self._path):
            os.unlink(self._path)


def timestamp(seconds: float | None = None) -> str:
    """A time in RFC 3339 format: SOURCE_DATE_EPOCH if it is set, else ``seconds`` since 1970 (default: now)."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch:
        if not epoch.isascii() or not epoch.isdigit():
            raise UsageError(f'SOURCE_DATE_EPOCH "{epoch}": write seconds since 1970')
        seconds = int(epoch)
    return timestamp_in_seconds(seconds)


def checked_time(text: str) -> str:
    """The text itself; raises UsageError if it is not a time in RFC 3339 format."""
    from datetime import datetime  # lazy: only with a given time

    try:
        if datetime.fromisoformat(text).tzinfo is not None and "T" in text.upper():
            return text
    except ValueError:
        pass   # reported below
    raise UsageError(f'"{text}" is not a time: write it as in 2024-12-31T23:59:59Z')


def changed(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """An image's ``config`` with the changes of `docker commit --change`.

    Variables, labels, ports and volumes are added, or replace those of the same name; any other member is replaced. A
    new Entrypoint removes the old Cmd, whose words are arguments of the old program.
    """
    result = dict(config)
    if "Entrypoint" in changes:
        result.pop("Cmd", None)
    for member, value in changes.items():
        old = config.get(member)
        if isinstance(value, dict):
            result[member] = {**(old or {}), **value}
        elif member == "Env":
            named = {entry.partition("=")[0]: entry for entry in [*(old or []), *value]}
            result[member] = list(named.values())
        else:
            result[member] = value
    return result


def derive(store: Store, base: Image | None, layer: tuple[Descriptor, str] | None, *, created: str, created_by: str,
           comment: str = "", author: str = "", changes: dict[str, Any] | None = None,
           platform: dict[str, str] | None = None) -> Descriptor:
    """Store the configuration and the manifest of ``base`` with another layer on top; the manifest's descriptor.

    ``changes`` are members of the configuration's ``config``: see ``changed``. The base's history and the format of its
    documents (OCI or Docker) are kept. The caller holds a lease.
    """
    docker = base is not None and base.manifest.media_type == media.DOCKER_MANIFEST
    document: dict[str, Any] = dict(base.config.document) if base else dict(platform or {})
    document["created"] = created
    if author:
        document["author"] = author
    document["config"] = changed(base.config.config if base else {}, changes or {})
    diff_ids = (base.config.diff_ids if base else []) + ([layer[1]] if layer else [])
    document["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
    entry = {"created": created, "created_by": created_by, **({"comment": comment} if comment else {}),
             **({"author": author} if author else {}), **({} if layer else {"empty_layer": True})}
    document["history"] = (base.config.history if base else []) + [entry]
    raw = encode(document).encode()
    config = Descriptor(media.DOCKER_CONFIG if docker else media.OCI_CONFIG, store.put(raw), len(raw))
    layers = (base.manifest.layers if base else []) + ([layer[0]] if layer else [])
    media_type = media.DOCKER_MANIFEST if docker else media.OCI_MANIFEST
    manifest = encode({"schemaVersion": 2, "mediaType": media_type, "config": config.json(),
                       "layers": [one.json() for one in layers]}).encode()
    return Descriptor(media_type, store.put(manifest), len(manifest))
