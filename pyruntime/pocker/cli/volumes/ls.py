"""``pocker volume ls``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.pocker.cli.filters import Filters
from pyruntime.pocker.cli.listing import FORMAT, Listing, label_texts
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.cli.pruning import label_fits
from pyruntime.pocker.volumes import describe, every, sweep, users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

COMMAND = Command("ls", "[options]", "list volumes",
                  Flag("filter", "list", "filter by dangling, driver, label or name", short="f",
                       value="KEY=VALUE"),
                  FORMAT,
                  Flag("quiet", "bool", "print only names", short="q"), most=0,
                  text="Example:\n  pocker volume ls --filter dangling=true")


_UNKNOWN = "N/A"   # Docker's value for members that only `system df -v` computes
_LISTING = Listing({"Driver": "", "Name": "VOLUME NAME", "Labels": "", "Links": "", "Mountpoint": "", "Scope": "",
                    "Size": ""}, ("Driver", "Name"))
_MATCH: dict[str, Callable[[dict[str, Any], str], bool]] = {
    "dangling": lambda row, value: (not row["Containers"]) == (value.lower() in ("true", "1")),
    "driver": lambda row, value: row["Driver"] == value,
    "label": lambda row, value: label_fits(row["Labels"], value),
    "name": lambda row, value: value in row["Name"],
}


def run(context: PockerContext, parsed: Parsed) -> int:
    """List them."""
    sweep(context.places)
    filters = Filters(parsed["filter"], _MATCH)
    using = users(context.places)
    rows = [{**describe(context.places, volume), "Containers": using.get(volume.name, [])}
            for volume in every(context.places)]
    rows = [row for row in rows if filters.fit(row)]
    if parsed["quiet"]:
        out("".join(f"{row['Name']}\n" for row in rows))
    else:
        _LISTING.show(parsed["format"], [{**row, **label_texts(row["Labels"]), "Links": _UNKNOWN, "Size": _UNKNOWN}
                                         for row in rows])
    return 0
