"""``pocker network connect NETWORK CONTAINER``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.pocker.settings import NetworkAttachment

COMMAND = Command(
    "connect", "[options] NETWORK CONTAINER", "connect a container to a network",
    Flag("alias", "list", "network-scoped alias of the container", value="NAME"),
    Flag("ip", "str", "IPv4 address of the container", value="ADDRESS"),
    Flag("ip6", "str", "IPv6 address of the container", value="ADDRESS"),
    least=2, most=2,
    text="A running container gets the interface at once. The connection is kept for the next starts.\n\n"
         "Example:\n  pocker network connect --alias db backend postgres1")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Connect the container."""
    network, container = parsed.arguments
    context.engine.connect(container, NetworkAttachment(name=network, ip=parsed["ip"], ip6=parsed["ip6"],
                                                        aliases=parsed["alias"]))
    return 0
