"""``pocker save``."""

from __future__ import annotations

from pyruntime.cli.image import save as there
from pyruntime.cli.pocker.borrowed import as_there, borrowed

COMMAND = borrowed(there, "save", "save -o web.tar web")
run = as_there(there)
