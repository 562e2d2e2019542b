"""``pocker logout REGISTRY``."""

from __future__ import annotations

from pyruntime.cli.image import logout as there
from pyruntime.cli.parse import Parsed
from pyruntime.cli.pocker.borrowed import borrowed
from pyruntime.cli.pocker.login import in_dockers_file
from pyruntime.cli.pocker.main import Context

COMMAND = borrowed(there, "logout", "logout registry.example")


def run(context: Context, parsed: Parsed) -> int:
    """Remove the credentials from where login keeps them."""
    in_dockers_file(parsed)
    return there.run(context.images, parsed)
