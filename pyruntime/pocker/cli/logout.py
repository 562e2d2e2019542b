"""``pocker logout REGISTRY``."""

from __future__ import annotations

from pyruntime.commandline.parse import Parsed
from pyruntime.images.cli import logout as there
from pyruntime.pocker.cli.borrowed import borrowed
from pyruntime.pocker.cli.login import in_dockers_file
from pyruntime.pocker.cli.main import PockerContext

COMMAND = borrowed(there, "logout", "logout registry.example")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Remove the credentials from the file in which `login` saves them."""
    in_dockers_file(parsed)
    return there.run(context.images, parsed)
