"""``pocker logout``."""

from __future__ import annotations

from pyruntime.cli.image import logout as there
from pyruntime.cli.pocker.borrowed import as_there, borrowed

COMMAND = borrowed(there, "logout", "logout registry.example")
run = as_there(there)
