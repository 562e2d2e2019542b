"""``pyimage unpack``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.images.cli.limits import LIMITS, limits_of
from pyruntime.images.cli.main import Context

COMMAND = Command(
    "unpack", "[options] IMAGE BUNDLE [ARG...]", "unpack an image into a bundle",
    Flag("driver", "str", "storage driver for the rootfs: overlay, btrfs or copy (default: the best available)"),
    Flag("platform", "str", "platform to select from an index (default: the host's)", value="OS/ARCH[/VARIANT]"),
    Flag("entrypoint", "str", "override the image's entrypoint; the image's Cmd is not used", value="PROGRAM"),
    Flag("env", "list", "set an environment variable", short="e", value="NAME=VALUE"),
    Flag("user", "str", "override the image's user", short="u", value="USER[:GROUP]"),
    Flag("workdir", "str", "override the image's working directory", short="w", value="DIR"),
    Flag("hostname", "str", "set the hostname of the container", value="NAME"),
    Flag("tty", "bool", "allocate a terminal", short="t"),
    Flag("read-only", "bool", "make the container's root filesystem read-only"),
    Flag("host-network", "bool", "use the host's network namespace"),
    Flag("volumes", "str", "type of the image's volumes: bind (to the bundle), tmpfs or none",
         default="bind"),
    *LIMITS, least=2, stop_at_argument=True, text="""
Creates BUNDLE with a root filesystem and a config.json, ready for `pyruntime run`. ARGs replace the image's
Cmd. With the overlay driver, layers are not copied: the root filesystem is mounted, and `pyimage umount
BUNDLE` unmounts it. The image must be in the local store: download the image with `pyimage pull` first.""")


def run(context: Context, parsed: Parsed) -> int:
    """Unpack the image."""
    name, bundle, *args = parsed.arguments
    context.images.unpack(
        name, bundle, args=args, driver=parsed["driver"], platform=parsed["platform"], entrypoint=parsed["entrypoint"],
        env=parsed["env"], user=parsed["user"], workdir=parsed["workdir"], hostname=parsed["hostname"],
        terminal=parsed["tty"], readonly=parsed["read-only"], host_network=parsed["host-network"],
        volumes=parsed["volumes"], limits=limits_of(parsed))
    return 0
