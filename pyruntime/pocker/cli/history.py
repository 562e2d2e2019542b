"""``pocker history``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.images.cli import history as there
from pyruntime.images.cli.show import age, short
from pyruntime.pocker.cli.borrowed import borrowed
from pyruntime.pocker.cli.listing import FORMAT, Listing
from pyruntime.pocker.cli.main import PockerContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_IT = borrowed(there, "history", "history --no-trunc debian", without=("format",))
COMMAND = Command(
    "history", _IT.usage, _IT.about, *_IT.flags, FORMAT,
    Flag("human", "bool", "print sizes and times in human-readable form; --human=false: bytes and RFC 3339", short="H",
         default=True),
    Flag("quiet", "bool", "print only IDs", short="q"), least=1, most=1, text=_IT.text)
_MISSING = "<missing>"   # Docker's value for a step that is not an image
_LISTING = Listing(
    {"ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "", "CreatedBy": "", "Size": "", "Comment": ""},
    ("ID", "CreatedSince", "CreatedBy", "Size", "Comment"))


def run(context: PockerContext, parsed: Parsed) -> int:
    """Print the steps, latest first; only the latest step has the ID of an image."""
    rows = [_texts(row, whole=parsed["no-trunc"], human=parsed["human"])
            for row in there.rows_of(context.images, parsed)]
    if parsed["quiet"]:
        out("".join(f"{row['ID']}\n" for row in rows))
    else:
        _LISTING.show(parsed["format"], rows)
    return 0


def _texts(row: dict[str, Any], *, whole: bool, human: bool) -> dict[str, Any]:
    from pyruntime.images.progress import size  # lazy: only for printed sizes

    created = str(row["Created"])
    return {"ID": (row["Id"] if whole else short(row["Id"])) or _MISSING, "CreatedAt": created,
            "CreatedSince": age(created) if human else created, "CreatedBy": there.made_by(row, whole=whole),
            "Size": size(int(row["Size"])) if human else str(row["Size"]), "Comment": str(row["Comment"])}
