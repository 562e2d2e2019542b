"""The values of --cache-from and --cache-to, in BuildKit's words.

    REFERENCE, type=registry,ref=REFERENCE             an artifact in a registry
    /DIR, ./DIR, type=local,src=DIR (dest=DIR)         an image layout in a directory
    type=inline                                        in the configuration of the image; --cache-to only

mode=min exports the layers of the result, and only the keys of all other steps; mode=max exports every layer.
"""

from __future__ import annotations

from pyruntime.builder.cache.locations import CachePlace
from pyruntime.errors import UsageError
from pyruntime.images.reference import Reference

_SERVICES = ("azblob", "gha", "s3")
_COMMON = {"type", "mode", "compression", "ignore-error"}
_READ = {"registry": {"type", "ref"}, "local": {"type", "src", "tag", "digest"}}
_WRITE = {"registry": _COMMON | {"ref", "image-manifest", "oci-mediatypes"},
          "local": _COMMON | {"dest", "tag", "image-manifest", "oci-mediatypes"}, "inline": {"type"}}
_COMPRESSIONS = {"": "gzip", "gzip": "gzip", "zstd": "zstd", "none": "none", "uncompressed": "none"}
_TRUTH = {"": False, "true": True, "1": True, "false": False, "0": False}


def readable(text: str) -> list[CachePlace]:
    """The caches of one --cache-from: one place, or references with commas. Raises UsageError."""
    if "=" in text or text.startswith(("/", ".")):
        return [_readable(text)]
    return [_readable(name) for name in text.split(",")]


def _readable(text: str) -> CachePlace:
    values = _values(text, "cache-from", _READ, "src")
    name = f"@{values['digest']}" if values.get("digest") else values.get("tag", "")
    return CachePlace(text, values["type"], values["ref" if values["type"] == "registry" else "src"], name)


def writable(text: str) -> CachePlace:
    """The cache of one --cache-to. Raises UsageError."""
    values = _values(text, "cache-to", _WRITE, "dest")
    place = CachePlace(text, values["type"], values.get("ref") or values.get("dest") or "", values.get("tag", ""))
    for name, known in (("mode", ("", "min", "max")), ("compression", _COMPRESSIONS), ("ignore-error", _TRUTH),
                        ("image-manifest", ("", "true", "1")), ("oci-mediatypes", ("", "true", "1"))):
        if values.get(name, "") not in known:   # the last two: an image manifest of OCI media types is always written
            raise UsageError(f'--cache-to "{text}": {name} "{values[name]}": write {", ".join(filter(None, known))}')
    place.full = values.get("mode") == "max"
    place.compression = _COMPRESSIONS[values.get("compression", "")]
    place.may_fail = _TRUTH[values.get("ignore-error", "")]
    return place


def _values(text: str, flag: str, kinds: dict[str, set[str]], member: str) -> dict[str, str]:
    values = _short(text, member) if "=" not in text else dict(part.partition("=")[::2] for part in text.split(","))
    kind = values.get("type", "")
    if kind in _SERVICES:
        raise UsageError(f'--{flag} "{text}": the service "{kind}" is not supported: write type=registry,ref=REFERENCE'
                         f" or type=local,{member}=DIR")
    if kind not in kinds:
        raise UsageError(f'--{flag} "{text}": write type={"|".join(kinds)}, a reference, or a directory that begins'
                         ' with "/" or "."')
    if unknown := sorted(set(values) - kinds[kind]):
        raise UsageError(f'--{flag} "{text}": type={kind} has no "{unknown[0]}": there are'
                         f" {', '.join(sorted(kinds[kind] - {'type'})) or 'none'}")
    needed = {"registry": "ref", "local": member}.get(kind)
    if needed and not values.get(needed):
        raise UsageError(f'--{flag} "{text}": write type={kind},{needed}={"REFERENCE" if needed == "ref" else "DIR"}')
    if kind == "registry":
        Reference.parse(values["ref"])
    return values


def _short(text: str, member: str) -> dict[str, str]:
    """A value without "=", by its form alone: files in the current directory must not decide what it means."""
    if text == "inline":
        return {"type": "inline"}
    return {"type": "local", member: text} if text.startswith(("/", ".")) else {"type": "registry", "ref": text}
