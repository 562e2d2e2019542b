"""``pocker push``."""

from __future__ import annotations

from pyruntime.cli.image import push as there
from pyruntime.cli.pocker.borrowed import as_there, borrowed

COMMAND = borrowed(there, "push", "push registry.example/team/web:1.2")
run = as_there(there, "push")
