"""``pyimage unpack``."""

from __future__ import annotations

import os

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.images.cli.limits import LIMITS, limits_of
from pyruntime.images.cli.main import Context

COMMAND = Command(
    "unpack", "[options] IMAGE BUNDLE [ARG...]", "make a bundle of an image",
    Flag("driver", "str", "of the root filesystem: overlay, btrfs or copy; default: the best that can be used"),
    Flag("platform", "str", "which image of an index; default: this machine's", value="OS/ARCH[/VARIANT]"),
    Flag("entrypoint", "str", "instead of the image's; its Cmd is left out then", value="PROGRAM"),
    Flag("env", "list", "another environment variable", short="e", value="NAME=VALUE"),
    Flag("user", "str", "instead of the image's", short="u", value="USER[:GROUP]"),
    Flag("workdir", "str", "instead of the image's", short="w", value="DIR"),
    Flag("hostname", "str", "of the container", value="NAME"),
    Flag("tty", "bool", "give the process a terminal", short="t"),
    Flag("read-only", "bool", "a root filesystem that the container cannot write to"),
    Flag("host-network", "bool", "leave the container in the host's network namespace"),
    Flag("volumes", "str", "what the image's volumes are: bind (directories of the bundle), tmpfs, or none",
         default="bind"),
    *LIMITS, least=2, stop_at_argument=True, text="""
BUNDLE is made: rootfs and a config.json that `pyruntime run` takes as it is. ARGs take the place of the image's Cmd.
With the overlay driver the layers are not copied: the root filesystem is mounted, and `pyimage umount BUNDLE` unmounts
it. An image that is not in the store is pulled first with `pyimage pull`.""")


def run(context: Context, parsed: Parsed) -> int:
    """Make the bundle."""
    from pyruntime.images.bundle import unpack
    from pyruntime.images.lookup import find
    from pyruntime.images.platform import Platform
    from pyruntime.images.runtime_config import Wishes
    from pyruntime.images.store.extract import Talk

    rootless = os.geteuid() != 0
    store = context.store
    image = find(store, parsed.arguments[0], Platform.parse(parsed["platform"]) if parsed["platform"] else None)
    wishes = Wishes(args=parsed.arguments[2:], entrypoint=[parsed["entrypoint"]] if parsed["entrypoint"] else None,
                    env=parsed["env"], user=parsed["user"], workdir=parsed["workdir"], hostname=parsed["hostname"],
                    terminal=parsed["tty"], readonly=parsed["read-only"], host_network=parsed["host-network"],
                    rootless=rootless)
    unpack(store, image, parsed.arguments[1], driver=parsed["driver"], wishes=wishes, volumes=parsed["volumes"],
           talk=Talk(warn=context.warn), limits=limits_of(parsed))
    return 0
