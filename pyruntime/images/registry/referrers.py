"""Referrers: manifests with another manifest as subject, from a list that the registry or its clients keep.

Spec: distribution-spec, "Listing Referrers", "Pushing Manifests with Subject", "Referrers Tag Schema". For a registry
without the API, clients that push or delete a manifest update the list under a tag derived from the digest.
"""

from __future__ import annotations

from pyruntime.errors import ConfigError, ImageError, RegistryError
from pyruntime.images import media
from pyruntime.images.digest import of
from pyruntime.images.document import MAX_DOCUMENT, Descriptor, parse_manifest
from pyruntime.images.registry.tags import pages
from pyruntime.images.registry.url import Url
from pyruntime.system.json import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.images.registry.session import Session

_TAG = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def tag_of(digest: str) -> str:
    """The tag of the list that clients keep."""
    algorithm, _, encoded = digest.partition(":")
    text = f"{algorithm[:32]}-{encoded[:64]}"
    return "".join(character if character in _TAG else "-" for character in text)


def subject_of(raw: bytes) -> str:
    """The digest of a manifest's subject; empty if it has none."""
    try:
        document = decode(raw, "manifest")
    except ConfigError:   # not JSON: no subject
        return ""
    subject = document.get("subject") if isinstance(document, dict) else None
    digest = subject.get("digest") if isinstance(subject, dict) else None
    return digest if isinstance(digest, str) else ""


def described(raw: bytes, media_type: str) -> Descriptor:
    """The descriptor of a manifest for the list: with artifactType (or the configuration's type) and annotations."""
    document: Any = decode(raw, "manifest")
    extra: dict[str, Any] = {}
    config = document.get("config")
    kind = document.get("artifactType") or (config.get("mediaType") if isinstance(config, dict) else "")
    if kind:
        extra["artifactType"] = kind
    if document.get("annotations"):
        extra["annotations"] = document["annotations"]
    return Descriptor(media_type, of(raw), len(raw), extra)


def listed(session: Session, digest: str, artifact_type: str = "") -> list[Descriptor]:
    """The referrers of a digest, optionally of one artifactType."""
    found = by_api(session, digest, artifact_type)
    if found is None:
        found = by_tag(session, digest) or []
    return [entry for entry in found if not artifact_type or entry.extra.get("artifactType") == artifact_type]


def by_api(session: Session, digest: str, artifact_type: str = "") -> list[Descriptor] | None:
    """The registry's list; None if it keeps none."""
    from urllib.parse import urlencode  # lazy: only with artifacts

    what = f"referrers of {digest}"
    url = session.url("referrers", digest)
    if artifact_type:
        url = Url(f"{url}?{urlencode({'artifactType': artifact_type})}")
    found: list[Descriptor] = []
    for response, raw in pages(session, url, what, good=(200, 404)):
        # Some registries serve other content for unknown paths.
        if response.status == 404 or response.media_type != media.OCI_INDEX:
            return None
        found += parse_manifest(raw, media.OCI_INDEX, f"{session.endpoint.name}: {what}").manifests
    return found


def by_tag(session: Session, digest: str) -> list[Descriptor] | None:
    """The list under the tag; None if the tag does not exist. Raises RegistryError if it is something else."""
    tag = tag_of(digest)
    response = session.request("GET", session.url("manifests", tag), f'manifest "{tag}"', good=(200, 404),
                               headers={"Accept": media.ACCEPT})
    raw = response.document(MAX_DOCUMENT)
    if response.status == 404:
        return None
    try:
        manifest = parse_manifest(raw, response.media_type, tag)
    except (ConfigError, ImageError):
        manifest = None
    if manifest is None or not manifest.is_index:
        raise RegistryError(f'"{session.endpoint.name}": the tag "{tag}" is not a list of referrers')
    return manifest.manifests


def add(session: Session, subject: str, entry: Descriptor) -> None:
    """Add a pushed manifest to the list of its subject."""
    known = by_tag(session, subject) or []
    if entry.digest not in [other.digest for other in known]:
        _put(session, subject, [*known, entry])


def remove(session: Session, subject: str, digest: str) -> None:
    """Remove a deleted manifest from the list of its subject."""
    known = by_tag(session, subject)
    if known is not None and digest in [entry.digest for entry in known]:
        _put(session, subject, [entry for entry in known if entry.digest != digest])


def _put(session: Session, subject: str, entries: list[Descriptor]) -> None:
    raw = encode({"schemaVersion": 2, "mediaType": media.OCI_INDEX,
                  "manifests": [entry.json() for entry in entries]}).encode()
    tag = tag_of(subject)
    session.request("PUT", session.url("manifests", tag), f'push of the referrers "{tag}"', good=(201, 200, 202),
                    headers={"Content-Type": media.OCI_INDEX}, body=raw).close()
