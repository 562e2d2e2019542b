"""``pocker search TERM``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.errors import UsageError
from pyruntime.images.cli.remote import REMOTE, registries_of
from pyruntime.pocker.cli.filters import Filters
from pyruntime.pocker.cli.listing import FORMAT, Listing
from pyruntime.pocker.cli.main import PockerContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

COMMAND = Command("search", "[options] [REGISTRY/]TERM", "search Docker Hub or another registry for images",
                  Flag("filter", "list", "filter by is-official=true or stars=N", short="f",
                       value="KEY=VALUE"),
                  FORMAT, Flag("limit", "int", "maximum number of results", default=25),
                  Flag("no-trunc", "bool", "do not truncate descriptions"), *REMOTE, least=1, most=1,
                  text="Example:\n  pocker search --filter is-official=true debian")
_LISTING = Listing({"Name": "", "Description": "", "StarCount": "STARS", "IsOfficial": "OFFICIAL"},
                   ("Name", "Description", "StarCount", "IsOfficial"))
_WIDTH = 45   # of a description


def _stars(row: dict[str, Any], value: str) -> bool:
    if not value.isdecimal():
        raise UsageError(f'--filter "stars={value}": write a number')
    return int(row["StarCount"]) >= int(value)


_MATCH: dict[str, Callable[[dict[str, Any], str], bool]] = {
    "is-official": lambda row, value: bool(row["IsOfficial"]) == (value in ("true", "1")), "stars": _stars}


def run(context: PockerContext, parsed: Parsed) -> int:
    """Print the repositories that the registry finds."""
    from pyruntime.images.registry.search import search  # lazy: after the flags are checked

    if not 1 <= parsed["limit"] <= 100:
        raise UsageError(f"--limit {parsed['limit']}: write a number from 1 to 100")
    filters = Filters(parsed["filter"], _MATCH)
    domain, slash, term = parsed.arguments[0].partition("/")
    if not slash or not set(".:") & set(domain):
        domain, term = "docker.io", parsed.arguments[0]
    registries = registries_of(context.images, parsed)
    rows = [{"Name": one.name, "Description": _cut(one.description, whole=parsed["no-trunc"]),
             "StarCount": str(one.stars), "IsOfficial": "[OK]" if one.official else ""}
            for one in search(term, domain, parsed["limit"], settings=registries.settings,
                              credentials=registries.credentials)]
    _LISTING.show(parsed["format"], [row for row in rows if filters.fit(row)])
    return 0


def _cut(text: str, *, whole: bool) -> str:
    return text if whole or len(text) <= _WIDTH else text[:_WIDTH - 1] + "…"
