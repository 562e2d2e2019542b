"""``pocker login``."""

from __future__ import annotations

from pyruntime.cli.image import login as there
from pyruntime.cli.pocker.borrowed import as_there, borrowed

COMMAND = borrowed(there, "login", "login -u name registry.example")
run = as_there(there)
