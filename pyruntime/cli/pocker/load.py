"""``pocker load``."""

from __future__ import annotations

from pyruntime.cli.image import load as there
from pyruntime.cli.pocker.borrowed import as_there, borrowed

COMMAND = borrowed(there, "load", "load -i web.tar")
run = as_there(there)
