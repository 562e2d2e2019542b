"""``pocker network create NAME``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import HostError, UsageError
from pyruntime.networks import definitions as networks
from pyruntime.networks.attach import NEED_ROOT
from pyruntime.pocker.cli.main import PockerContext
from pyruntime.system.user_namespace import privileged

COMMAND = Command(
    "create", "[options] NAME", "create a network",
    Flag("driver", "str", "network driver: bridge is the only one", short="d", default="bridge", value="DRIVER"),
    Flag("gateway", "list", "gateway: the host's address in the network (default: the first of the subnet)",
         value="ADDRESS"),
    Flag("internal", "bool", "restrict external access to and from the network"),
    Flag("ip-range", "list", "range to allocate container addresses from (default: the whole subnet)", value="SUBNET"),
    Flag("ipv6", "bool", "enable IPv6: add an IPv6 subnet"),
    Flag("label", "list", "set a label on the network", value="NAME[=VALUE]"),
    Flag("opt", "list", "driver option: mtu=BYTES", short="o", value="NAME=VALUE"),
    Flag("subnet", "list", "subnet in CIDR format, at most one for IPv4 and one for IPv6 (default: a free subnet)",
         value="SUBNET"),
    least=1, most=1,
    text="Containers of the same network reach each other by name. Containers of different\n"
         "networks do not reach each other.\n\n"
         "Example:\n  pocker network create backend\n  pocker network create --subnet 10.7.0.0/24 --ipv6 both")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Create the network and print its ID."""
    if parsed["driver"] != "bridge":
        raise UsageError(f'--driver "{parsed["driver"]}" is not supported: write bridge')
    labels = dict(_named(text) for text in parsed["label"])
    options = dict(_named(text) for text in parsed["opt"])
    site = context.places.networks   # enters a user namespace, where this process is root
    with networks.lock(site):
        if not privileged():
            raise HostError(f'network "{parsed.arguments[0]}": {NEED_ROOT}')
        network = networks.make(site, parsed.arguments[0], subnets=parsed["subnet"],
                                gateways=parsed["gateway"], ranges=parsed["ip-range"], ipv6=parsed["ipv6"],
                                internal=parsed["internal"], labels=labels, options=options)
    out(f"{network.id}\n")
    return 0


def _named(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value
