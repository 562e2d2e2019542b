"""``pyimage build CONTEXT``."""

from __future__ import annotations

from pyruntime.builder.cli.build import FLAGS, TEXT, build
from pyruntime.commandline.parse import Command, Parsed
from pyruntime.images.cli.main import Context
from pyruntime.networks.directories import open_site, root_directory, run_directory
from pyruntime.runtime.cgroups import scope

COMMAND = Command("build", "[options] [CONTEXT]", "build an image from a Dockerfile", *FLAGS, most=1,
                  text=TEXT + "pyimage build -t app .")


def run(context: Context, parsed: Parsed) -> int:
    """Build the image."""
    # Before context.store enters a user namespace, where every user is root: root's directories are others.
    root, run_root = root_directory(), run_directory()
    site = open_site(root, run_root, lambda pid: scope.move("pocker-names", pid))
    return build(context, parsed, site)
