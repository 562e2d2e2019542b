"""``pyimage history``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.commandline.table import columns
from pyruntime.images.cli.main import Context
from pyruntime.images.cli.remote import REMOTE, image_store
from pyruntime.images.cli.show import FORMAT, age, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command("history", "[options] IMAGE", "show the history of an image", FORMAT,
                  Flag("no-trunc", "bool", "do not truncate commands"),
                  Flag("platform", "str", "platform to select from an index (default: the host's)",
                       value="OS/ARCH[/VARIANT]"), *REMOTE,
                  least=1, most=1)
_WIDTH = 60


def made_by(row: dict[str, Any], *, whole: bool) -> str:
    """The command of a step on one line, truncated if it is long."""
    made = " ".join(str(row["CreatedBy"]).split())
    return made if whole or len(made) <= _WIDTH else made[:_WIDTH - 3] + "..."


def rows_of(context: Context, parsed: Parsed) -> list[dict[str, Any]]:
    """The steps as documents, the latest first; the first one has the image's ID. ``parsed``: COMMAND's flags."""
    image = image_store(context, parsed).inspect(parsed.arguments[0], platform=parsed["platform"])
    layers = iter(image.manifest.layers)
    rows = []
    for entry in image.config.history or [{} for _ in image.manifest.layers]:
        layer = None if entry.get("empty_layer") else next(layers, None)
        rows.append({"Created": entry.get("created", ""), "CreatedBy": entry.get("created_by", ""),
                     "Size": layer.size if layer else 0, "Layer": layer.digest if layer else "",
                     "Comment": entry.get("comment", "")})
    rows.reverse()
    for number, row in enumerate(rows):
        row["Id"] = "" if number else image.id
    return rows


def run(context: Context, parsed: Parsed) -> int:
    """Print the steps, the latest first."""
    from pyruntime.images.progress import size  # lazy: only when the command runs

    rows = rows_of(context, parsed)
    if not show(parsed["format"], rows):
        table = [["CREATED", "CREATED BY", "SIZE", "COMMENT"]]
        for row in rows:
            table.append([age(str(row["Created"])), made_by(row, whole=parsed["no-trunc"]), size(int(row["Size"])),
                          str(row["Comment"])])
        out(columns(table))
    return 0
