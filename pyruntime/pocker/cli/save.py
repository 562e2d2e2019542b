"""``pocker save``."""

from __future__ import annotations

from pyruntime.images.cli import save as there
from pyruntime.pocker.cli.borrowed import as_there, borrowed

COMMAND = borrowed(there, "save", "save -o web.tar web")
run = as_there(there)
