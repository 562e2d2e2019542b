"""``pocker import``."""

from __future__ import annotations

from pyruntime.cli.image import import_ as there
from pyruntime.cli.pocker.borrowed import as_there, borrowed

COMMAND = borrowed(there, "import", "import --cmd sh rootfs.tar mine")
run = as_there(there)
