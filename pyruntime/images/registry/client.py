"""``Repository``: all operations on one repository, at its origin or its mirrors.

Spec: distribution-spec. Pulls try the mirrors in order and then the origin, whatever the failure; the endpoint that
served a manifest is tried first for its blobs. Everything else goes to the origin alone. Content is verified against
the requested digest; blobs are verified by the caller that stores them.
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

_NEWEST_OF = 6   # tags whose images are compared to find the newest


class Repository:
    """One repository, for several threads: each request has its own connection."""

    def __init__(self, transport: Transport, sessions: list[Session]) -> None:
        """``sessions``: mirrors, and the origin last. Callers use ``open``."""
        self.transport = transport
        self._sessions = sessions
        self._origin = sessions[-1]
        self._preferred: Session | None = None   # the endpoint that served the manifest

    @classmethod
    def open(cls, reference: Reference, *, settings: RegistrySettings, credentials: Credentials, push: bool = False,
             warn: Callable[[str], None] = nothing, debug: Callable[[str], None] = nothing,
             transport: Transport | None = None) -> Repository:
        """The repository of a reference, by the settings; nothing is connected yet.

        ``push``: whether it will be written to. ``transport``: shares connections and tokens with other repositories.
        Raises RegistryError if the registry is blocked.
        """
        transport = transport or Transport(settings, warn=warn, debug=debug)
        actions = "pull,push" if push else "pull"
        return cls(transport, [Session(transport, endpoint, credentials, actions)
                               for endpoint in settings.endpoints(reference, push=push)])

    def close(self) -> None:
        """Close the kept connections."""
        self.transport.close()

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def manifest(self, tag_or_digest: str) -> tuple[bytes, str, str]:
        """A manifest or index: its bytes, its media type, its digest.

        Raises RegistryError, and DigestError if the content does not match the requested digest.
        """
        by_digest = ":" in tag_or_digest
        if by_digest:
            digests.check(tag_or_digest)
        session, found = self._ask(lambda session: _manifest(session, tag_or_digest), by_digest)
        self._preferred = session
        return found

    def head(self, tag_or_digest: str) -> Descriptor | None:
        """The descriptor of a tag or digest, without the content, which registries do not count as a pull; None if it
        does not exist. Requests the content if the registry does not return its digest otherwise."""
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
        """The content of a blob, from an offset on if the server supports that; not verified."""
        def ask(session: Session) -> download.BlobBody:
            response = download.BlobSource(session, descriptor).open(offset)
            if response.status == 416:
                response.close()
                raise RegistryError(f'"{session.endpoint.name}": blob {descriptor.digest} has no byte {offset}', 416)
            return download.BlobBody(response, download.begins(response))

        return self._ask(ask, True)[1]

    def fetch_blob(self, descriptor: Descriptor, sink: download.BlobSink, progress: Callable[[int], None] = ignore,
                   verify: Callable[[], None] | None = None) -> None:
        """Write a blob to a sink, starting at ``sink.offset``, across interruptions, mirrors, and the ``urls`` of a
        non-distributable layer; URLs of other blobs could lead to any server that the host reaches.

        ``progress`` is called with the number of received bytes, negative for discarded ones. ``verify`` is called at
        the end; if it raises DigestError, the sink is restarted and the next source is tried. Raises RegistryError,
        DigestError.
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
        """Push a blob unless the registry has it: "exists", "mounted" or "pushed".

        ``open_at(offset)`` opens the content, as often as needed. ``mount_from``: another repository of the registry
        that has the blob. ``chunk`` in bytes; 0 pushes in one piece. Raises RegistryError.
        """
        if self.has_blob(descriptor.digest):
            return "exists"
        upload = Upload(self._origin, descriptor, open_at, chunk=chunk or descriptor.size, progress=progress)
        if mount_from and upload.mount(mount_from):
            return "mounted"
        upload.push()
        return "pushed"

    def push_manifest(self, raw: bytes, media_type: str, tag_or_digest: str) -> str:
        """Push a manifest, byte for byte, and return its digest. The referrers list of its subject is updated.

        Raises RegistryError, and DigestError if the registry has stored something else.
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
        """The tag to use if none was given and ``latest`` does not exist.

        The only tag, if there is one. Else the tag of the most recently created image, by ``created`` in its
        configuration, of at most six tags: the highest versions, and the last of the other names. Without creation
        times, or with equal ones, the highest version. Raises RegistryError if there is no tag.
        """
        choices = tags.worth_asking(self.tags(), _NEWEST_OF)
        if not choices:
            raise RegistryError(f'"{self._origin.endpoint.name}": the repository has no tag', 404)
        if len(choices) == 1:
            return choices[0]
        made: dict[str, float] = {}   # by digest: several tags often share an image
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
        """The creation time of an image, in seconds since 1970; 0 if it has none."""
        from datetime import datetime  # lazy: only without a tag

        from pyruntime.images.platform import Platform, is_image, select

        try:
            raw, media_type, _ = self.manifest(descriptor.digest)
            manifest = parse_manifest(raw, media_type)
            if manifest.is_index:
                images = [entry for entry in manifest.manifests if is_image(entry)]
                try:
                    images = [select(images, Platform.host())]
                except ImageError:   # none for the host: any other has the same age
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
        """The referrers of a manifest, with artifactType and annotations in ``extra``."""
        return referrers.listed(self._origin, digests.check(digest), artifact_type)

    def delete(self, digest_or_tag: str) -> None:
        """Delete a manifest, or a tag if the registry supports it. Raises RegistryError."""
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
        """The first endpoint that answers, and its response; raises the last one's error, with those of the others."""
        failed: list[str] = []
        sessions = self._pulling(by_digest)
        for session in sessions[:-1]:
            try:
                return session, question(session)
            except (RegistryError, ImageError) as error:
                say = self.transport.debug if getattr(error, "status", 0) == 404 else self.transport.warn
                say(f"{error}; trying the next endpoint")   # an incomplete mirror is usual
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
