"""``pocker tag``."""

from __future__ import annotations

from pyruntime.images.cli import tag as there
from pyruntime.pocker.cli.borrowed import as_there, borrowed

COMMAND = borrowed(there, "tag", "tag web registry.example/team/web:1.2")
run = as_there(there, "tag")
