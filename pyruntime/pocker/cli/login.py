"""``pocker login REGISTRY``."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Parsed
from pyruntime.images.cli import login as there
from pyruntime.pocker.cli.borrowed import borrowed
from pyruntime.pocker.cli.main import PockerContext

COMMAND = borrowed(there, "login", "login -u name registry.example")
COMMAND.text = COMMAND.text.replace("containers/auth.json of the user", "Docker's ~/.docker/config.json")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Log in, and save the credentials in Docker's file, which survives a reboot."""
    in_dockers_file(parsed)
    return there.run(context.images, parsed)


def in_dockers_file(parsed: Parsed) -> None:
    """Use Docker's file unless --authfile or $REGISTRY_AUTH_FILE names another."""
    from pyruntime.images.registry.credentials import docker_file  # lazy: only if the credentials are stored

    parsed.values["authfile"] = parsed["authfile"] or os.environ.get("REGISTRY_AUTH_FILE") or docker_file(os.environ)
