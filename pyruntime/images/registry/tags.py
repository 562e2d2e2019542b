"""Lists of a registry: pages of tags, and the newest tag.

Spec: distribution-spec, "Listing Tags"; RFC 8288 (Link).
"""

from __future__ import annotations

from pyruntime.errors import RegistryError
from pyruntime.images.document import MAX_DOCUMENT
from pyruntime.images.reference import is_tag
from pyruntime.images.registry.url import Url
from pyruntime.system.json import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.images.registry.http import Response
    from pyruntime.images.registry.session import Session

_MAX_PAGES = 10000
_SIGNATURES = (".sig", ".att", ".sbom")   # tags of cosign's signatures


def next_page(response: Response) -> Url | None:
    """The URL of the next page in a Link header, possibly relative; None on the last page."""
    for value in response.headers("Link"):
        for link in value.split(",<") if ",<" in value else value.split(", <"):
            target, _, parameters = link.strip().lstrip("<").partition(">")
            relations = [parameter.partition("=")[2].strip().strip('"').lower() for parameter in parameters.split(";")
                         if parameter.partition("=")[0].strip().lower() == "rel"]
            if any("next" in relation.split() for relation in relations):
                return Url(target, response.url)
    return None


def pages(session: Session, url: Url, what: str, *, good: tuple[int, ...] = (200,)) -> Iterator[tuple[Response, bytes]]:
    """Response and body of each page. Raises RegistryError, also if the pages form a cycle."""
    seen: set[str] = set()
    here: Url | None = url
    while here is not None:
        if str(here) in seen or len(seen) >= _MAX_PAGES:
            raise RegistryError(f'"{session.endpoint.name}": {what}: the pages never end')
        seen.add(str(here))
        response = session.request("GET", here, what, good=good)
        raw = response.document(MAX_DOCUMENT)
        yield response, raw
        here = next_page(response)


def listed(session: Session) -> list[str]:
    """All tags of a session's repository, in the registry's order; invalid tags are skipped."""
    found: dict[str, None] = {}
    what = "list of tags"
    for _, raw in pages(session, session.url("tags", "list"), what):
        document = decode(raw, f"{session.endpoint.name}: {what}")
        tags = document.get("tags") if isinstance(document, dict) else None
        if tags is not None and not isinstance(tags, list):
            raise RegistryError(f'"{session.endpoint.name}": {what}: "tags" is not a list')
        found.update(dict.fromkeys(tag for tag in tags or [] if isinstance(tag, str) and is_tag(tag)))
    return list(found)


def version(tag: str) -> tuple[tuple[int, int, str], ...]:
    """The sort key of a tag, by which 1.10 follows 1.9, and 1.10 follows 1.10-rc1."""
    parts: list[tuple[int, int, str]] = []
    word = ""
    for character in [*tag.removeprefix("v"), ""]:
        if word and (not character or character.isdigit() != word[-1].isdigit() or not character.isalnum()):
            # A word sorts before the end, the end before a number: 1-rc < 1 < 1.1
            parts.append((2, int(word[:18]), "") if word[0].isdigit() else (0, 0, word.lower()))
            word = ""
        if character.isascii() and character.isalnum():
            word += character
    return (*parts, (1, 0, ""))


def worth_asking(tags: list[str], most: int) -> list[str]:
    """At most ``most`` tags to search for the newest image, without tags of referrers and signatures: one half are the
    highest versions, one half the last of the others."""
    plain = [tag for tag in tags
             if not tag.endswith(_SIGNATURES) and not tag.startswith(("sha256-", "sha512-"))]
    versions = sorted((tag for tag in plain if tag.removeprefix("v")[:1].isdigit()), key=version, reverse=True)
    names = sorted((tag for tag in plain if tag not in set(versions)), key=version, reverse=True)
    half = max(most // 2, most - len(versions))
    return [*versions[:most - min(len(names), half)], *names[:half]][:most]
