"""``pocker tag``."""

from __future__ import annotations

from pyruntime.cli.image import tag as there
from pyruntime.cli.pocker.borrowed import as_there, borrowed

COMMAND = borrowed(there, "tag", "tag web registry.example/team/web:1.2")
run = as_there(there, "tag")
