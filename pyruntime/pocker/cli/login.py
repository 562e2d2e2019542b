"""``pocker login REGISTRY``."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Parsed
from pyruntime.images.cli import login as there
from pyruntime.pocker.cli.borrowed import borrowed
from pyruntime.pocker.cli.main import Context

COMMAND = borrowed(there, "login", "login -u name registry.example")
COMMAND.text = COMMAND.text.replace("containers/auth.json of the user", "Docker's ~/.docker/config.json")


def run(context: Context, parsed: Parsed) -> int:
    """Try the login, and keep it in Docker's file: it is there after a reboot, too."""
    in_dockers_file(parsed)
    return there.run(context.images, parsed)


def in_dockers_file(parsed: Parsed) -> None:
    """Docker's file is meant where neither --authfile nor $REGISTRY_AUTH_FILE names another."""
    from pyruntime.images.registry.credentials import docker_file

    parsed.values["authfile"] = parsed["authfile"] or os.environ.get("REGISTRY_AUTH_FILE") or docker_file(os.environ)
