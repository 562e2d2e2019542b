"""Where caches are, as people write it for --cache-from and --cache-to (the words are BuildKit's).

    REFERENCE, type=registry,ref=REFERENCE             an artifact in a registry
    /DIR, ./DIR, type=local,src=DIR (dest=DIR)         an image layout in a directory
    type=inline                                        in the configuration of the image itself; --cache-to only

mode=min writes the layers of the result and knows all other steps by name only; mode=max writes every layer.
"""

from __future__ import annotations

from pyruntime.errors import UsageError

_SERVICES = ("azblob", "gha", "s3")
_COMMON = {"type", "mode", "compression", "ignore-error"}
_READ = {"registry": {"type", "ref"}, "local": {"type", "src", "tag", "digest"}}
_WRITE = {"registry": _COMMON | {"ref", "image-manifest", "oci-mediatypes"},
          "local": _COMMON | {"dest", "tag", "image-manifest", "oci-mediatypes"}, "inline": {"type"}}
_COMPRESSIONS = {"": "gzip", "gzip": "gzip", "zstd": "zstd", "none": "none", "uncompressed": "none"}
_TRUTH = {"": False, "true": True, "1": True, "false": False, "0": False}


class CachePlace:
    """One value of a flag.

    ``kind``    registry, local or inline         ``where``        the reference or the directory
    ``name``    of the cache in a layout          ``full``         mode=max
    ``compression`` of new layers                 ``may_fail``     ignore-error: a failure is a warning
    """

    __slots__ = ("compression", "full", "kind", "may_fail", "name", "text", "where")

    def __init__(self, text: str, kind: str, where: str, name: str = "") -> None:
        self.text = text
        self.kind = kind
        self.where = where
        self.name = name or "latest"
        self.full = False
        self.compression = "gzip"
        self.may_fail = False

    def __str__(self) -> str:
        return self.where or self.kind


def readable(text: str) -> list[CachePlace]:
    """A value of --cache-from: one place, or references with commas. Raises UsageError."""
    if "=" in text or text.startswith(("/", ".")):
        return [_readable(text)]
    return [_readable(name) for name in text.split(",")]


def _readable(text: str) -> CachePlace:
    values = _values(text, "cache-from", _READ, "src")
    name = f"@{values['digest']}" if values.get("digest") else values.get("tag", "")
    return CachePlace(text, values["type"], values["ref" if values["type"] == "registry" else "src"], name)


def writable(text: str) -> CachePlace:
    """A value of --cache-to. Raises UsageError."""
    values = _values(text, "cache-to", _WRITE, "dest")
    place = CachePlace(text, values["type"], values.get("ref") or values.get("dest") or "", values.get("tag", ""))
    for name, known in (("mode", ("", "min", "max")), ("compression", _COMPRESSIONS), ("ignore-error", _TRUTH),
                        ("image-manifest", ("", "true", "1")), ("oci-mediatypes", ("", "true", "1"))):
        if values.get(name, "") not in known:   # of the last two: nothing else is ever written
            raise UsageError(f'--cache-to "{text}": {name} "{values[name]}": write {", ".join(filter(None, known))}')
    place.full = values.get("mode") == "max"
    place.compression = _COMPRESSIONS[values.get("compression", "")]
    place.may_fail = _TRUTH[values.get("ignore-error", "")]
    return place


def _values(text: str, flag: str, kinds: dict[str, set[str]], member: str) -> dict[str, str]:
    values = _short(text, member) if "=" not in text else dict(part.partition("=")[::2] for part in text.split(","))
    kind = values.get("type", "")
    if kind in _SERVICES:
        raise UsageError(f'--{flag} "{text}": the service "{kind}" is not known here: write type=registry,ref=REFERENCE'
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
        from pyruntime.images.reference import Reference
        Reference.parse(values["ref"])
    return values


def _short(text: str, member: str) -> dict[str, str]:
    """By its form alone: what lies about in the current directory must not decide it."""
    if text == "inline":
        return {"type": "inline"}
    return {"type": "local", member: text} if text.startswith(("/", ".")) else {"type": "registry", "ref": text}
