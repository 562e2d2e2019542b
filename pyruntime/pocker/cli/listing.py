"""Lists in Docker's three forms: a table, one JSON object per line, a template; all with the same values.

A command names its columns by Docker's members (docs.docker.com, "Format the output" of each command), and gives a row
of texts for each object: what a table shows, ``jq`` finds and a template prints is the same text. A row may hold more
members, for templates alone, and functions: ``{{.Label "name"}}`` calls the member ``Label``.
"""

from __future__ import annotations

from datetime import UTC, datetime

from pyruntime.commandline.parse import Flag
from pyruntime.commandline.program import out
from pyruntime.errors import UsageError
from pyruntime.images.cli.show import by_template
from pyruntime.system.json import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

FORMAT = Flag("format", "str", "output format: table, json (one object per line), or a template such as '{{.Name}}'"
              " or 'table {{.Name}}'", default="table")
NONE = "<none>"


class Listing:
    """The columns of a list.

    ``members``  Docker's member -> heading of its column; "" where the heading is the member's own name
    ``usual``    the columns of the table
    """

    def __init__(self, members: Mapping[str, str], usual: Sequence[str]) -> None:
        self._members = members
        self.usual = usual

    def show(self, form: str, rows: Sequence[dict[str, Any]], usual: Sequence[str] = ()) -> None:
        """Print the rows; ``usual``: other columns for the table. Raises UsageError for an unknown form."""
        out(self.text(form, rows, usual))

    def text(self, form: str, rows: Sequence[dict[str, Any]], usual: Sequence[str] = ()) -> str:
        """What ``show`` prints."""
        headings = {name: heading for name, heading in self._members.items() if heading}
        if form in ("table", ""):
            form = "table " + "\t".join(f"{{{{.{name}}}}}" for name in usual or self.usual)
        if form == "json":
            return "".join(encode({name: row[name] for name in sorted(self._members)}) + "\n" for row in rows)
        if "{{" not in form:
            raise UsageError(f'--format "{form}": write table, json, or a template such as \'{{{{.'
                             f"{next(iter(self._members))}}}}}'")
        return by_template(form, rows, headings)


def label_texts(labels: Mapping[str, str]) -> dict[str, Any]:
    """The members ``Labels`` and ``Label`` of a row."""
    return {"Labels": ",".join(f"{name}={text}" for name, text in sorted(labels.items())),
            "Label": lambda name: labels.get(name, "")}


def local_time(stamp: str) -> str:
    """A time of RFC 3339 as Docker lists it: ``2026-01-31 12:00:00 +0000 UTC``; "" for a malformed time."""
    try:
        when = datetime.fromisoformat(stamp)
    except ValueError:
        return ""
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone().strftime("%Y-%m-%d %H:%M:%S %z %Z")
