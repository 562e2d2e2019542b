"""``pocker images``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.images.cli.ls import plain, rows_of
from pyruntime.images.cli.show import age, instant, is_before, short
from pyruntime.pocker.cli.filters import Filters
from pyruntime.pocker.cli.listing import FORMAT, NONE, Listing, label_texts, local_time
from pyruntime.pocker.cli.main import PockerContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

COMMAND = Command("images", "[options] [REPOSITORY[:TAG]]", "list images",
                  Flag("all", "bool", "accepted for compatibility; has no effect: there are no intermediate images",
                       short="a"),
                  Flag("digests", "bool", "print the digests of the manifests"),
                  Flag("filter", "list", "filter by before, dangling, label, reference, since or until", short="f",
                       value="KEY=VALUE"),
                  FORMAT,
                  Flag("no-trunc", "bool", "do not truncate IDs"),
                  Flag("quiet", "bool", "print only IDs", short="q"), most=1,
                  text="Example:\n  pocker images --format '{{.Repository}}:{{.Tag}} {{.ID}}'")


def _like(row: dict[str, Any], pattern: str) -> bool:
    """Whether a name matches a shell pattern; a pattern without a tag matches all tags."""
    from fnmatch import fnmatchcase  # lazy: only with a pattern

    names = [row["Name"], row["Familiar"], plain(row["Name"])]
    return any(fnmatchcase(name, pattern) or fnmatchcase(name.rpartition(":")[0], pattern) for name in names)


_UNKNOWN = "N/A"   # Docker's value for members that `images` does not compute
_LISTING = Listing(
    {"Repository": "", "Tag": "", "Digest": "", "ID": "IMAGE ID", "CreatedSince": "CREATED", "CreatedAt": "",
     "Size": "", "VirtualSize": "", "SharedSize": "", "UniqueSize": "", "Containers": ""},
    ("Repository", "Tag", "ID", "CreatedSince", "Size"))
_MATCH: dict[str, Callable[[dict[str, Any], str], bool]] = {
    "before": lambda row, value: is_before(row["Created"], value),
    "dangling": lambda row, value: (value in ("true", "1")) == (row["Repository"] == NONE),
    "label": lambda row, value: value in row["Labels"] or value in (f"{name}={text}" for name, text
                                                                    in row["Labels"].items()),
    "reference": _like,
    "since": lambda row, value: is_before(value, row["Created"]),
    "until": lambda row, value: is_before(row["Created"], value),
}


def run(context: PockerContext, parsed: Parsed) -> int:
    """Print one line for each name."""
    filters = _filters(context, parsed["filter"])
    rows = []
    for row in rows_of(context.images):
        row["Labels"] = row["Config"].get("Labels") or {}
        if filters.fit(row) and (not parsed.arguments or _named(row, parsed.arguments[0])):
            rows.append(row)
    rows.sort(key=lambda row: instant(row["Created"]) or 0.0, reverse=True)
    shorten = str if parsed["no-trunc"] else short
    if parsed["quiet"]:
        out("".join(f"{one}\n" for one in dict.fromkeys(shorten(row["Id"]) for row in rows)))
        return 0
    _LISTING.show(parsed["format"], [_texts(row, shorten) for row in rows],
                  ("Repository", "Tag", "Digest", *_LISTING.usual[2:]) if parsed["digests"] else ())
    return 0


def _filters(context: PockerContext, words: Sequence[str]) -> Filters:
    """The filters; before and since name an image, whose creation time is the limit."""
    from pyruntime.images.lookup import find  # lazy: only for images

    found = []
    for word in words:
        key, _, name = word.partition("=")
        if key in ("before", "since"):
            word = f"{key}={find(context.places.store, name).config.document.get('created', '')}"
        elif key == "until":
            from pyruntime.pocker.cli.times import moment  # lazy: only with a time

            word = f"until={moment(name, '--filter until')}"
        found.append(word)
    return Filters(found, _MATCH)


def _texts(row: dict[str, Any], shorten: Callable[[str], str]) -> dict[str, Any]:
    """The row as Docker shows it."""
    from pyruntime.images.progress import size  # lazy: only for printed sizes

    return {**row, **label_texts(row["Labels"]), "Repository": plain(row["Repository"]), "ID": shorten(row["Id"]),
            "CreatedAt": local_time(row["Created"]), "CreatedSince": age(row["Created"]), "Size": size(row["Size"]),
            "VirtualSize": size(row["Size"]), "SharedSize": _UNKNOWN, "UniqueSize": _UNKNOWN, "Containers": _UNKNOWN}


def _named(row: dict[str, Any], text: str) -> bool:
    from pyruntime.images.reference import Reference  # lazy: only for images

    wanted = Reference.parse(text)
    return bool(row["Repository"] == wanted.name and (not wanted.tag or row["Tag"] == wanted.tag))
