"""Locations of images on the command line: ``docker://alpine``, ``oci:DIR:NAME``, ``oci-archive:FILE``,
``docker-archive:FILE:REFERENCE``, ``dir:DIR``; anything else is a name in the local store."""

from __future__ import annotations

import os

from pyruntime.errors import ImageError, UsageError
from pyruntime.images.document import parse_manifest
from pyruntime.images.transports.base import Source, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyruntime.images.transports.files import NamedFiles

KINDS = ("docker", "oci", "oci-archive", "docker-archive", "dir")


class Location:
    """``kind`` is one of KINDS or "store"; ``path`` a file, directory or reference; ``name`` selects an image in it."""

    __slots__ = ("kind", "name", "path")

    def __init__(self, kind: str, path: str, name: str = "") -> None:
        self.kind = kind
        self.path = path
        self.name = name

    @classmethod
    def parse(cls, text: str) -> Location:
        """Read a location; raises UsageError for an empty one."""
        kind, colon, rest = text.partition(":")
        if not colon or kind not in KINDS or (kind == "docker" and not rest.startswith("//")):
            return cls("store", text)
        if kind == "docker":
            return cls(kind, rest[2:])
        path, name = _split(rest) if kind != "dir" else (rest, "")
        if not path:
            raise UsageError(f'"{text}" names no file or directory: write {kind}:PATH')
        return cls(kind, path, name)


def _split(text: str) -> tuple[str, str]:
    """PATH[:NAME] or PATH@DIGEST; an existing path may contain colons."""
    if os.path.exists(text):
        return text, ""
    if "@sha" in text:
        path, _, digest = text.rpartition("@")
        return path, "@" + digest
    path, _, name = text.partition(":")
    return path, name


def files_of(location: Location, scratch: str) -> NamedFiles:
    """The files of a layout or an archive."""
    from pyruntime.images.transports.files import DirectoryFiles  # lazy: only for this transport

    if location.kind == "oci":
        if not os.path.isdir(location.path):
            raise ImageError(f'"{location.path}" is not a directory; for an archive write oci-archive:FILE')
        return DirectoryFiles(location.path)
    from pyruntime.images.transports.members import Archive  # lazy: only for this transport
    return Archive(location.path, scratch)


def sources(location: Location, scratch: str) -> list[Source]:
    """The images of a layout, an archive or a directory: all, or the one that the location names.

    ``scratch`` is a directory for the content of compressed archives.
    """
    # lazy: only for this transport
    from pyruntime.images.transports.archive import docker_names, is_legacy, legacy_sources
    from pyruntime.images.transports.layout import LayoutSource, choose, entries

    if location.kind == "dir":
        from pyruntime.images.transports.directory import DirectorySource  # lazy: only for this transport
        return [DirectorySource(location.path)]
    files = files_of(location, scratch)
    try:
        # Not for a directory: its manifest.json could name any file of the host.
        if location.kind != "oci" and is_legacy(files):
            legacy = legacy_sources(files)
            return [_named(legacy, location)] if location.name else list(legacy)
        found = entries(files)
        if location.name:
            found = [choose(found, location.name, files.label)]
        images = [LayoutSource(files, entry) for entry in found]
        for digest, names in (docker_names(files) if location.kind == "docker-archive" else {}).items():
            for image in images:
                if not any("/" in name for name in image.names) and _config(image) == digest:
                    image.names = names
        return list(images)
    except BaseException:
        files.close()
        raise


def _config(source: Source) -> str:
    raw, media_type = source.root()
    manifest = parse_manifest(raw, media_type, source.label)
    return manifest.config.digest if manifest.config else ""


def _named(found: Sequence[Source], location: Location) -> Source:
    for matches in (lambda name: name == location.name, lambda name: name.endswith("/" + location.name)):
        for source in found:   # first the exact name, then docker.io/library/NAME
            if any(map(matches, source.names)):
                return source
    there = ", ".join(f'"{name}"' for source in found for name in source.names) or "images without names"
    raise ImageError(f'{location.path}: no image "{location.name}"; it has {there}')


def only(location: Location, scratch: str) -> Source:
    """The single image of a location; raises ImageError if there are several."""
    found = sources(location, scratch)
    if len(found) == 1:
        return found[0]
    there = ", ".join(name for source in found for name in source.names[:1])
    raise ImageError(f"{location.path}: {len(found)} images" + (f"; select one by :NAME: {there}" if found else ""))


def target(location: Location) -> Target:
    """The target to write to: a layout, an archive or a directory."""
    from pyruntime.images.transports.archive import ArchiveTarget  # lazy: only for this transport
    from pyruntime.images.transports.directory import DirectoryTarget
    from pyruntime.images.transports.layout import LayoutTarget

    if location.kind == "oci":
        return LayoutTarget(location.path, location.name)
    if location.kind == "dir":
        return DirectoryTarget(location.path)
    return ArchiveTarget(location.path, location.name, docker=location.kind == "docker-archive")
