"""``pyimage history``."""

from __future__ import annotations

from pyruntime.cli.image.main import Context
from pyruntime.cli.image.places import source_of
from pyruntime.cli.image.remote import REMOTE
from pyruntime.cli.image.show import FORMAT, age, show
from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.program import out
from pyruntime.cli.table import columns

COMMAND = Command("history", "[options] IMAGE", "show how an image was made", FORMAT,
                  Flag("no-trunc", "bool", "print whole commands"),
                  Flag("platform", "str", "which image of an index", value="OS/ARCH[/VARIANT]"), *REMOTE,
                  least=1, most=1)
_WIDTH = 60


def run(context: Context, parsed: Parsed) -> int:
    """Print the steps, the latest first."""
    from pyruntime.image.copy import image_of
    from pyruntime.image.platform import Platform
    from pyruntime.image.progress import size

    source = source_of(context, parsed, parsed.arguments[0])
    try:
        image = image_of(source, Platform.parse(parsed["platform"]) if parsed["platform"] else None)
    finally:
        source.close()
    layers = iter(image.manifest.layers)
    rows = []
    for entry in image.config.history or [{} for _ in image.manifest.layers]:
        layer = None if entry.get("empty_layer") else next(layers, None)
        rows.append({"Created": entry.get("created", ""), "CreatedBy": entry.get("created_by", ""),
                     "Size": layer.size if layer else 0, "Layer": layer.digest if layer else "",
                     "Comment": entry.get("comment", "")})
    rows.reverse()
    if not show(parsed["format"], rows):
        table = [["CREATED", "CREATED BY", "SIZE", "COMMENT"]]
        for row in rows:
            made = " ".join(str(row["CreatedBy"]).split())
            if len(made) > _WIDTH and not parsed["no-trunc"]:
                made = made[:_WIDTH - 3] + "..."
            table.append([age(str(row["Created"])), made, size(int(row["Size"])), str(row["Comment"])])
        out(columns(table))
    return 0
