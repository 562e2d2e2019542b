"""Descriptors, manifests, indexes and image configurations as values (manifest.md, image-index.md, config.md).

The caller passes *verified* bytes: by a descriptor's digest, or by the digest computed of a registry's response. The
bytes are kept: a document is identified by its digest, so it must never be encoded again.

Raises ConfigError with every problem and its place: these documents are untrusted.
"""

from __future__ import annotations

from pyruntime.errors import ConfigError, ImageError, Problem
from pyruntime.images import media
from pyruntime.images.digest import well_formed
from pyruntime.system.json import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_DOCUMENT = 4 << 20   # bytes of a manifest, index or configuration (distribution-spec: at least 4 MiB)
MAX_LAYERS = 500         # overlayfs takes no more (fs/overlayfs/params.h)
_SIZES = 1 << 63
# The type of each member that is read, and its name in messages.
_WORDS: dict[type, str] = {str: "a string", int: "a number", list: "a list", dict: "an object"}
_DESCRIPTOR: dict[str, type] = {
    "mediaType": str, "digest": str, "size": int, "platform": dict, "data": str}
_CONFIG: dict[str, type] = {
    "architecture": str, "os": str, "variant": str, "created": str, "author": str, "config": dict,
    "rootfs": dict}
_CONTAINER: dict[str, type] = {
    "User": str, "WorkingDir": str, "StopSignal": str, "ExposedPorts": dict, "Volumes": dict, "Healthcheck": dict}
_TEXTS: dict[str, type] = {"Env": list, "Entrypoint": list, "Cmd": list, "Labels": dict, "Shell": list, "OnBuild": list}
# Docker's addition (github.com/moby/docker-image-spec, spec.md#Healthcheck).
_HEALTH: dict[str, type] = {"Interval": int, "Timeout": int, "StartPeriod": int, "StartInterval": int, "Retries": int}



class Descriptor:
    """Points to content: media type, digest, size (descriptor.md). ``extra`` holds the other members unchanged."""

    __slots__ = ("digest", "extra", "media_type", "size")

    def __init__(self, media_type: str, digest: str, size: int, extra: dict[str, Any] | None = None) -> None:
        self.media_type = media_type
        self.digest = digest
        self.size = size
        self.extra: dict[str, Any] = extra or {}

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations; empty if there are none."""
        return self.extra.get("annotations") or {}

    @property
    def platform(self) -> dict[str, Any]:
        """The platform member unchanged; empty if there is none (image-index.md)."""
        return self.extra.get("platform") or {}

    @property
    def urls(self) -> list[str]:
        """Other places of the content."""
        return self.extra.get("urls") or []

    def json(self) -> dict[str, Any]:
        """The descriptor as a JSON object."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size, **self.extra}

    def __repr__(self) -> str:
        return f"Descriptor({self.media_type!r}, {self.digest!r}, {self.size})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Descriptor) and self.json() == other.json()

    def __hash__(self) -> int:
        return hash(self.digest)


class Manifest:
    """An image manifest, or with ``is_index`` an index; ``raw`` are the bytes that its digest identifies."""

    __slots__ = ("annotations", "config", "document", "is_index", "layers", "manifests", "media_type", "raw")

    def __init__(self, raw: bytes, media_type: str, document: dict[str, Any]) -> None:
        self.raw = raw
        self.media_type = media_type
        self.document = document
        self.is_index = media_type in media.INDEXES
        self.annotations: dict[str, str] = document.get("annotations") or {}
        self.config: Descriptor | None = None
        self.layers: list[Descriptor] = []
        self.manifests: list[Descriptor] = []

    def references(self) -> list[Descriptor]:
        """The descriptors of the document, in its order."""
        return [*self.manifests, *([self.config] if self.config else []), *self.layers]


class ImageConfig:
    """An image's configuration (config.md). ``config`` is the part for containers; every member may be absent."""

    __slots__ = ("config", "diff_ids", "document", "history", "raw")

    def __init__(self, raw: bytes, document: dict[str, Any]) -> None:
        self.raw = raw
        self.document = document
        self.config: dict[str, Any] = document.get("config") or {}
        self.diff_ids: list[str] = document["rootfs"].get("diff_ids") or []   # may be null without layers
        self.history: list[dict[str, Any]] = document.get("history") or []


class _DocumentReader:
    """Reads the members of one document and collects its problems."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []

    def wrong(self, where: str, what: str, remedy: str = "", spec: str = "") -> None:
        self.problems.append(Problem(where, what, remedy, spec))

    def done(self) -> None:
        if self.problems:
            raise ConfigError(self.name, self.problems)

    def read(self, raw: bytes) -> dict[str, Any]:
        if len(raw) > MAX_DOCUMENT:
            raise ImageError(f"{self.name}: {len(raw)} bytes; the limit is {MAX_DOCUMENT}", self.name)
        value = decode(raw, self.name)
        if not isinstance(value, dict):
            raise ConfigError(self.name, [Problem("", "expected an object")])
        return value

    def typed(self, document: dict[str, Any], where: str, key: str, kind: type) -> Any:
        value = document.get(key)
        if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            self.wrong(f"{where}.{key}" if where else key, f"expected {_WORDS[kind]}, got {value!r:.80}")
            return None
        return value

    def members(self, document: dict[str, Any], where: str, kinds: dict[str, type]) -> None:
        for key, kind in kinds.items():
            self.typed(document, where, key, kind)

    def texts(self, document: dict[str, Any], where: str, key: str, kind: type) -> None:
        """A list of strings, or the strings of an object's values."""
        value = self.typed(document, where, key, kind)
        items = value.items() if isinstance(value, dict) else enumerate(value or [])
        for name, item in items:
            if not isinstance(item, str):
                place = f"{where}.{key}" if where else key
                self.wrong(f"{place}[{name}]", f"expected a string, got {item!r:.80}")

    def descriptor(self, value: object, where: str) -> Descriptor:
        if not isinstance(value, dict):
            self.wrong(where, f"expected a descriptor, got {value!r:.80}", spec="descriptor.md")
            return Descriptor("", "", 0)
        for key in ("mediaType", "digest", "size"):
            if value.get(key) is None:
                self.wrong(f"{where}.{key}", "is required", spec="descriptor.md#properties")
        self.members(value, where, _DESCRIPTOR)
        self.texts(value, where, "urls", list)
        self.texts(value, where, "annotations", dict)
        digest, size = value.get("digest"), value.get("size")
        if isinstance(digest, str) and not well_formed(digest):
            self.wrong(f"{where}.digest", f'"{digest:.100}" is not a digest', spec="descriptor.md#digests")
        if isinstance(size, int) and not 0 <= size < _SIZES:
            self.wrong(f"{where}.size", f"{size} is not a size in bytes", spec="descriptor.md#properties")
        rest = {key: item for key, item in value.items() if key not in ("mediaType", "digest", "size")}
        return Descriptor(str(value.get("mediaType")), str(digest), size if isinstance(size, int) else 0, rest)

    def descriptors(self, document: dict[str, Any], key: str) -> list[Descriptor]:
        values = self.typed(document, "", key, list) or []
        return [self.descriptor(value, f"{key}[{number}]") for number, value in enumerate(values)]


def parse_manifest(raw: bytes, media_type: str, name: str = "manifest") -> Manifest:
    """Read a manifest or an index. ``media_type`` is that of the descriptor or of the registry's response.

    A document that could be read as both (CVE-2021-41190), or whose type differs from ``media_type``, is refused.
    """
    reader = _DocumentReader(name)
    document = reader.read(raw)
    if document.get("schemaVersion") == 1 or media_type in media.SCHEMA_1:
        raise ImageError(f"{name}: a manifest of Docker's schema 1, without digests of the layers' content; push the"
                         " image again with a current tool", name)
    if document.get("schemaVersion") != 2:
        reader.wrong("schemaVersion", f"expected 2, got {document.get('schemaVersion')!r:.80}", spec="manifest.md")
    inside = reader.typed(document, "", "mediaType", str)
    if media_type not in media.INDEXES + media.MANIFESTS:   # some registries always answer "application/json"
        guess = media.OCI_INDEX if "manifests" in document else media.OCI_MANIFEST
        media_type = inside if inside in media.INDEXES + media.MANIFESTS else guess
    if inside and inside != media_type:
        reader.wrong("mediaType", f'"{inside}" does not match the announced type "{media_type}"', spec="manifest.md")
    manifest = Manifest(raw, media_type, document)
    mine, foreign = ("manifests", ("config", "layers")) if manifest.is_index else ("layers", ("manifests",))
    for key in foreign:
        if key in document:
            reader.wrong(key, f'must not be in a document of type "{media_type}": the document is ambiguous')
    if mine not in document:
        reader.wrong(mine, "is required")
    reader.texts(document, "", "annotations", dict)
    if manifest.is_index:
        manifest.manifests = reader.descriptors(document, "manifests")
    else:
        manifest.config = reader.descriptor(document.get("config"), "config")
        manifest.layers = reader.descriptors(document, "layers")
        if len(manifest.layers) > MAX_LAYERS:
            reader.wrong("layers", f"{len(manifest.layers)} layers; overlayfs takes at most {MAX_LAYERS}")
    reader.done()
    return manifest


def parse_config(raw: bytes, manifest: Manifest, name: str = "image configuration") -> ImageConfig:
    """Read an image configuration and check that it belongs to the manifest."""
    reader = _DocumentReader(name)
    document = reader.read(raw)
    reader.members(document, "", _CONFIG)
    rootfs = document.get("rootfs")
    if rootfs is None:
        reader.wrong("rootfs", "is required", spec="config.md#properties")
    elif isinstance(rootfs, dict):
        if rootfs.get("type") != "layers":
            reader.wrong("rootfs.type", f'expected "layers", got {rootfs.get("type")!r:.80}',
                         spec="config.md#properties")
        _check_diff_ids(reader, rootfs, manifest)
    for number, entry in enumerate(reader.typed(document, "", "history", list) or []):
        if not isinstance(entry, dict):
            reader.wrong(f"history[{number}]", f"expected an object, got {entry!r:.80}")
    _check_container(reader, document.get("config"))
    reader.done()
    return ImageConfig(raw, document)


def _check_diff_ids(reader: _DocumentReader, rootfs: dict[str, Any], manifest: Manifest) -> None:
    diff_ids = reader.typed(rootfs, "rootfs", "diff_ids", list) or []
    for number, diff_id in enumerate(diff_ids):
        if not isinstance(diff_id, str) or not well_formed(diff_id):
            reader.wrong(f"rootfs.diff_ids[{number}]", f"{diff_id!r:.100} is not a digest", spec="config.md#properties")
    if len(diff_ids) != len(manifest.layers):
        reader.wrong("rootfs.diff_ids", f"{len(diff_ids)} diff_ids, but the manifest has {len(manifest.layers)} layers")


def _check_container(reader: _DocumentReader, config: object) -> None:
    if not isinstance(config, dict):
        return
    reader.members(config, "config", _CONTAINER)
    for key, kind in _TEXTS.items():
        reader.texts(config, "config", key, kind)
    if isinstance(health := config.get("Healthcheck"), dict):
        reader.members(health, "config.Healthcheck", _HEALTH)
        reader.texts(health, "config.Healthcheck", "Test", list)
    for key in (*_CONTAINER, *_TEXTS):
        value = config.get(key)
        texts = [value] if isinstance(value, str) else [*value] if isinstance(value, (list, dict)) else []
        texts += value.values() if isinstance(value, dict) else []
        if any(isinstance(text, str) and "\0" in text for text in texts):   # C programs stop at it
            reader.wrong(f"config.{key}", f"{value!r:.80} contains a NUL character")
