"""``Repository``: everything that is asked of one repository, at its origin or at its mirrors.

Spec: distribution-spec. Pulls ask the mirrors in their order and then the origin, whatever the mirror's failure was;
the endpoint that gave a manifest is asked first for its blobs. Everything else concerns the origin alone. Content is
verified against the digest that it was asked by; a blob's digest by whoever stores it.
"""

from __future__ import annotations

from pyruntime.errors import ConfigError, DigestError, ImageError, RegistryError
from pyruntime.images import digest as digests
from pyruntime.images import media
from pyruntime.images.document import MAX_DOCUMENT, Descriptor, parse_manifest
from pyruntime.images.registry import download, referrers, tags
from pyruntime.images.registry.http import Transport, nothing
from pyruntime.images.registry.session import Session
from pyruntime.images.registry.upload import CHUNK, Upload, ignore, is_there
from pyruntime.images.registry.url import printable
from pyruntime.system.json import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from pyruntime.images.reference import Reference
    from pyruntime.images.registry.credentials import Credentials
    from pyruntime.images.registry.http import Readable, Response
    from pyruntime.images.registry.settings import RegistrySettings

    Answer = TypeVar("Answer")

# Imports in functions: start-up (decision 0007).

_NEWEST_OF = 6   # tags that are asked for when the newest image is looked for


class Repository:
    """One repository. May be used by several threads at once: each request has a connection of its own."""

    def __init__(self, transport: Transport, sessions: list[Session]) -> None:
        """``sessions``: mirrors, and the origin as the last. People use ``open``."""
        self.transport = transport
        self._sessions = sessions
        self._origin = sessions[-1]
        self._preferred: Session | None = None   # which gave the manifest

    @classmethod
    def open(cls, reference: Reference, *, settings: RegistrySettings, credentials: Credentials, push: bool = False,
             warn: Callable[[str], None] = nothing, debug: Callable[[str], None] = nothing,
             transport: Transport | None = None) -> Repository:
        """The repository that a reference names, by the settings; nothing is connected yet.

        ``push``: whether it will be written to. ``transport``: shares connections and tokens with other repositories.
        Raises RegistryError where the registry is blocked.
        """
        transport = transport or Transport(settings, warn=warn, debug=debug)
        actions = "pull,push" if push else "pull"
        return cls(transport, [Session(transport, endpoint, credentials, actions)
                               for endpoint in settings.endpoints(reference, push=push)])

    def close(self) -> None:
        """Close connections that are kept open."""
        self.transport.close()

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def manifest(self, tag_or_digest: str) -> tuple[bytes, str, str]:
        """A manifest or index: its bytes as they came, its media type, its digest.

        Raises RegistryError, DigestError where the bytes are not what was asked for.
        """
        by_digest = ":" in tag_or_digest
        if by_digest:
            digests.check(tag_or_digest)
        session, found = self._ask(lambda session: _manifest(session, tag_or_digest), by_digest)
        self._preferred = session
        return found

    def head(self, tag_or_digest: str) -> Descriptor | None:
        """What a tag or digest stands for, without its content, which registries do not count as a pull; None where
        there is no such thing. Asks for the content where a registry does not give its digest otherwise."""
        def ask(session: Session) -> Descriptor | None:
            what = f'manifest "{tag_or_digest}"'
            response = session.request("HEAD", session.url("manifests", tag_or_digest), what, good=(200, 404, 405),
                                       headers={"Accept": media.ACCEPT})
            response.close()
            digest = response.header("Docker-Content-Digest")
            if response.status == 404:
                if session is not self._origin:
                    raise RegistryError(f'"{session.endpoint.name}": {what}: HTTP 404', 404)
                return None
            _refuse_schema_1(response, session, what)
            known = response.media_type in media.INDEXES + media.MANIFESTS
            if response.status == 405 or not digests.well_formed(digest) or not known or response.length < 0:
                raw, media_type, digest = _manifest(session, tag_or_digest)
                return Descriptor(media_type, digest, len(raw))
            if ":" in tag_or_digest and digest.partition(":")[0] == tag_or_digest.partition(":")[0] \
                    and digest != tag_or_digest:
                raise DigestError(f'"{session.endpoint.name}": {what}: the registry has {digest} instead')
            return Descriptor(response.media_type, digest, response.length)

        try:
            return self._ask(ask, ":" in tag_or_digest)[1]
        except RegistryError as error:
            if error.status != 404:
                raise
            return None

    def blob(self, descriptor: Descriptor, offset: int = 0) -> download.BlobBody:
        """A blob's content as it comes, from an offset on if the server can; nothing verifies it here."""
        def ask(session: Session) -> download.BlobBody:
            response = download.BlobSource(session, descriptor).open(offset)
            if response.status == 416:
                response.close()
                raise RegistryError(f'"{session.endpoint.name}": blob {descriptor.digest} has no byte {offset}', 416)
            return download.BlobBody(response, download.begins(response))

        return self._ask(ask, True)[1]

    def fetch_blob(self, descriptor: Descriptor, sink: download.BlobSink, progress: Callable[[int], None] = ignore,
                   verify: Callable[[], None] | None = None) -> None:
        """Bring a blob into a sink, from ``sink.offset`` on, over cuts, mirrors, and the ``urls`` of a layer that is
        not to be distributed; of another blob they could lead to anything that this machine reaches.

        ``progress`` is told of bytes that came, and, less than 0, of those that are dropped. ``verify`` is called when
        all is there; where it raises DigestError, the sink is restarted, and the next place is tried. Raises
        RegistryError, DigestError.
        """
        sources = [download.BlobSource(session, descriptor) for session in self._pulling(True)]
        sources += [download.BlobSource(self._origin, descriptor, url) for url in descriptor.urls
                    if media.is_foreign(descriptor.media_type) and url.startswith(("https://", "http://"))]
        download.fetch(sources, descriptor, sink, self.transport, progress=progress, verify=verify)

    def has_blob(self, digest: str) -> bool:
        """Whether the origin has a blob."""
        return is_there(self._origin, digests.check(digest))

    def push_blob(self, descriptor: Descriptor, open_at: Callable[[int], Readable], mount_from: str = "",
                  chunk: int = CHUNK, progress: Callable[[int], None] = ignore) -> str:
        """Push a blob unless it is there: "exists", "mounted" or "pushed".

        ``open_at(offset)`` opens the content anew, as often as it is needed. ``mount_from``: a repository of the same
        registry that has the blob. ``chunk`` in bytes; 0 pushes in one piece. Raises RegistryError.
        """
        if self.has_blob(descriptor.digest):
            return "exists"
        upload = Upload(self._origin, descriptor, open_at, chunk=chunk or descriptor.size, progress=progress)
        if mount_from and upload.mount(mount_from):
            return "mounted"
        upload.push()
        return "pushed"

    def push_manifest(self, raw: bytes, media_type: str, tag_or_digest: str) -> str:
        """Push a manifest, byte for byte, and return its digest. Its subject's list of referrers is kept up to date.

        Raises RegistryError, DigestError where the registry has made something else of it.
        """
        what = f'push of manifest "{tag_or_digest}"'
        algorithm = tag_or_digest.partition(":")[0] if ":" in tag_or_digest else "sha256"
        digest = digests.of(raw, algorithm)
        if ":" in tag_or_digest and digest != tag_or_digest:
            raise DigestError(f"{what}: its content is {digest}")
        response = self._origin.request("PUT", self._origin.url("manifests", tag_or_digest), what, good=(201, 200, 202),
                                        headers={"Content-Type": media_type}, body=raw)
        response.close()
        answered = response.header("Docker-Content-Digest")
        if answered.partition(":")[0] == algorithm and answered != digest:
            raise DigestError(f'"{self._origin.endpoint.name}": {what}: the registry stored {printable(answered)}'
                              f" instead of {digest}")
        subject = referrers.subject_of(raw)
        if subject and not response.header("OCI-Subject"):
            referrers.add(self._origin, subject, referrers.described(raw, media_type))
        return digest

    def tags(self) -> list[str]:
        """Every tag, in the registry's order. Raises RegistryError."""
        return self._ask(tags.listed, False)[1]

    def newest_tag(self) -> str:
        """The tag to take where none was named and there is no ``latest``.

        The only tag, if there is one. Else the one whose image was made last, by ``created`` of its configuration,
        of at most six: the highest versions, and the last of the other names. Where images do not say when they
        were made, or equally late, the highest version. Raises RegistryError where there is no tag at all.
        """
        choices = tags.worth_asking(self.tags(), _NEWEST_OF)
        if not choices:
            raise RegistryError(f'"{self._origin.endpoint.name}": the repository has no tag', 404)
        if len(choices) == 1:
            return choices[0]
        made: dict[str, float] = {}   # by digest: several tags often name one image
        best = 0.0, choices[0]
        for tag in choices:
            found = self.head(tag)
            if found is None:
                continue
            if found.digest not in made:
                made[found.digest] = self._created(found)
            if made[found.digest] > best[0]:
                best = made[found.digest], tag
        return best[1]

    def _created(self, descriptor: Descriptor, depth: int = 2) -> float:
        """When an image was made, in seconds since 1970; 0 where it does not say."""
        from datetime import datetime

        from pyruntime.images.platform import Platform, is_image, select

        try:
            raw, media_type, _ = self.manifest(descriptor.digest)
            manifest = parse_manifest(raw, media_type)
            if manifest.is_index:
                images = [entry for entry in manifest.manifests if is_image(entry)]
                try:
                    images = [select(images, Platform.host())]
                except ImageError:   # none for this machine: any of them was made with the others
                    images = images[:1]
                return self._created(images[0], depth - 1) if images and depth else 0
            if manifest.config is None or manifest.config.size > MAX_DOCUMENT:
                return 0
            body = self.blob(manifest.config)
            try:
                config = body.read(manifest.config.size + 1)
            finally:
                body.close()
            digests.verify(config, manifest.config.digest, manifest.config.size)
            document = decode(config, "image configuration")
            created = document.get("created") if isinstance(document, dict) else None
            return datetime.fromisoformat(created).timestamp() if isinstance(created, str) else 0
        except (ImageError, ConfigError, ValueError, OverflowError) as error:
            self.transport.debug(f"{descriptor.digest}: {error}")
            return 0

    def referrers(self, digest: str, artifact_type: str = "") -> list[Descriptor]:
        """What refers to a manifest as its subject, with artifactType and annotations in ``extra``."""
        return referrers.listed(self._origin, digests.check(digest), artifact_type)

    def delete(self, digest_or_tag: str) -> None:
        """Delete a manifest, or a tag where the registry can. Raises RegistryError."""
        origin = self._origin
        what = f'deletion of "{digest_or_tag}"'
        subject = ""
        if ":" in digest_or_tag:
            subject = referrers.subject_of(_manifest(origin, digest_or_tag)[0])
        try:
            origin.request("DELETE", origin.url("manifests", digest_or_tag), what, good=(202, 200, 204),
                           scopes=[f"repository:{origin.endpoint.path}:delete"]).close()
        except RegistryError as error:
            if error.status in (400, 405):
                error.args = (f"{error.args[0]}; the registry does not allow it"
                              + ("" if ":" in digest_or_tag else ", or only by digest"),)
            raise
        if subject and referrers.by_api(origin, subject) is None:
            referrers.remove(origin, subject, digest_or_tag)

    def _pulling(self, by_digest: bool) -> list[Session]:
        allowed = [session for session in self._sessions
                   if session is self._preferred or session.endpoint.serves(by_digest=by_digest)]
        return sorted(allowed, key=lambda session: session is not self._preferred)   # the others keep their order

    def _ask(self, question: Callable[[Session], Answer], by_digest: bool) -> tuple[Session, Answer]:
        """The first endpoint that answers, and its answer; raises the last one's error, with those of the others."""
        failed: list[str] = []
        sessions = self._pulling(by_digest)
        for session in sessions[:-1]:
            try:
                return session, question(session)
            except (RegistryError, ImageError) as error:
                say = self.transport.debug if getattr(error, "status", 0) == 404 else self.transport.warn
                say(f"{error}; trying the next place")   # that a mirror has not everything is no news
                failed.append(f"before that: {error.args[0]}")
        try:
            return sessions[-1], question(sessions[-1])
        except (RegistryError, ImageError) as error:
            error.args = ("; ".join([str(error.args[0]), *failed]),)
            raise


def _manifest(session: Session, tag_or_digest: str) -> tuple[bytes, str, str]:
    what = f'manifest "{tag_or_digest}"'
    response = session.request("GET", session.url("manifests", tag_or_digest), what, headers={"Accept": media.ACCEPT})
    left = response.header("RateLimit-Remaining")
    if left:
        session.transport.debug(f'"{session.endpoint.name}": {printable(left, 40)} pulls remain')
    raw = response.document(MAX_DOCUMENT)
    _refuse_schema_1(response, session, what)
    digest = tag_or_digest
    answered = response.header("Docker-Content-Digest")
    if ":" not in tag_or_digest:
        algorithm = answered.partition(":")[0]
        digest = digests.of(raw, algorithm if algorithm in ("sha256", "sha512") else "sha256")
    for expected in dict.fromkeys((digest, answered)):
        if expected.startswith(("sha256:", "sha512:")):
            try:
                digests.verify(raw, expected)
            except DigestError as error:
                raise DigestError(f'"{session.endpoint.name}": {what}: {error}') from None
    return raw, response.media_type, digest


def _refuse_schema_1(response: Response, session: Session, what: str) -> None:
    if response.media_type in media.SCHEMA_1:
        response.close()
        raise RegistryError(f'"{session.endpoint.name}": {what}: a manifest of Docker\'s schema 1, without digests of'
                            " the layers' content; push the image again with a current tool", response.status)
