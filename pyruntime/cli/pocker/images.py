"""``pocker images``."""

from __future__ import annotations

from pyruntime.cli.image.ls import plain, rows_of
from pyruntime.cli.image.show import age, short, show
from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.pocker.filters import Filters
from pyruntime.cli.pocker.main import Context
from pyruntime.cli.program import out
from pyruntime.cli.table import columns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

COMMAND = Command("images", "[options] [REPOSITORY[:TAG]]", "list images",
                  Flag("all", "bool", "Docker's word for intermediate images, of which there are none", short="a"),
                  Flag("digests", "bool", "print the digests of the manifests too"),
                  Flag("filter", "list", "show only those that fit: dangling, label, reference", short="f",
                       value="KEY=VALUE"),
                  Flag("format", "str", "table, json, or a template such as '{{.Repository}}:{{.Tag}}'",
                       default="table"),
                  Flag("no-trunc", "bool", "print whole IDs"),
                  Flag("quiet", "bool", "print IDs alone", short="q"), most=1,
                  text="Example:\n  pocker images --format '{{.Repository}}:{{.Tag}} {{.ID}}'")


def _like(row: dict[str, Any], pattern: str) -> bool:
    """Whether a name fits a pattern of the shell; a pattern without a tag means all tags."""
    from fnmatch import fnmatchcase

    names = [row["Name"], row["Familiar"], plain(row["Name"])]
    return any(fnmatchcase(name, pattern) or fnmatchcase(name.rpartition(":")[0], pattern) for name in names)


_MATCH: dict[str, Callable[[dict[str, Any], str], bool]] = {
    "dangling": lambda row, value: (value in ("true", "1")) == (row["Repository"] == "<none>"),
    "label": lambda row, value: value in row["Labels"] or value in (f"{name}={text}" for name, text
                                                                    in row["Labels"].items()),
    "reference": _like,
}


def run(context: Context, parsed: Parsed) -> int:
    """Print them, one line a name."""
    from pyruntime.image.progress import size

    filters = Filters(parsed["filter"], _MATCH)
    rows = []
    for row in rows_of(context.images):
        row["Labels"] = row["Config"].get("Labels") or {}
        row["CreatedSince"] = age(row["Created"])
        if filters.fit(row) and (not parsed.arguments or _named(row, parsed.arguments[0])):
            rows.append(row)
    rows.sort(key=lambda row: str(row["Created"]), reverse=True)
    shorten = str if parsed["no-trunc"] else short
    if parsed["quiet"]:
        out("".join(f"{one}\n" for one in dict.fromkeys(shorten(row["Id"]) for row in rows)))
    elif not show(parsed["format"], rows):
        table = [["REPOSITORY", "TAG", *(["DIGEST"] if parsed["digests"] else []), "IMAGE ID", "CREATED", "SIZE"]]
        table += [[plain(row["Repository"]), row["Tag"], *([row["Digest"]] if parsed["digests"] else []),
                   shorten(row["Id"]), row["CreatedSince"], size(row["Size"])] for row in rows]
        out(columns(table))
    return 0


def _named(row: dict[str, Any], text: str) -> bool:
    from pyruntime.image.reference import Reference

    wanted = Reference.parse(text)
    return bool(row["Repository"] == wanted.name and (not wanted.tag or row["Tag"] == wanted.tag))
