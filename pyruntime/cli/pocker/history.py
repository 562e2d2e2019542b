"""``pocker history``."""

from __future__ import annotations

from pyruntime.cli.image import history as there
from pyruntime.cli.image.show import age, short, show
from pyruntime.cli.parse import Parsed
from pyruntime.cli.pocker.borrowed import borrowed
from pyruntime.cli.pocker.main import Context
from pyruntime.cli.program import out
from pyruntime.cli.table import columns

COMMAND = borrowed(there, "history", "history --no-trunc debian")


def run(context: Context, parsed: Parsed) -> int:
    """Print the steps, the latest first; only the last one is an image that has an ID."""
    from pyruntime.image.progress import size

    rows = there.rows_of(context.images, parsed)
    if not show(parsed["format"], rows):
        whole = parsed["no-trunc"]
        table = [["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"]]
        table += [[(row["Id"] if whole else short(row["Id"])) or "<missing>", age(str(row["Created"])),
                   there.made_by(row, whole=whole), size(int(row["Size"])), str(row["Comment"])] for row in rows]
        out(columns(table))
    return 0
