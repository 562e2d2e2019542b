"""``pocker network create NAME``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import HostError, UsageError
from pyruntime.images.rootless import privileged
from pyruntime.networks import definitions as networks
from pyruntime.networks.attach import NEED_ROOT
from pyruntime.pocker.cli.main import Context

COMMAND = Command(
    "create", "[options] NAME", "make a network",
    Flag("driver", "str", "kind of network: there is bridge", short="d", default="bridge", value="DRIVER"),
    Flag("gateway", "list", "address of this host in it; default: the subnet's first", value="ADDRESS"),
    Flag("internal", "bool", "nothing goes out of it or comes in"),
    Flag("ip-range", "list", "where addresses are taken from; default: the whole subnet", value="SUBNET"),
    Flag("ipv6", "bool", "give it a subnet of IPv6 too"),
    Flag("label", "list", "give it a label", value="NAME[=VALUE]"),
    Flag("opt", "list", "mtu=BYTES", short="o", value="NAME=VALUE"),
    Flag("subnet", "list", "its addresses, one of IPv4 and one of IPv6; default: any that is free", value="SUBNET"),
    least=1, most=1,
    text="Containers of a network reach one another by name. Those of different networks do not reach one another.\n\n"
         "Example:\n  pocker network create backend\n  pocker network create --subnet 10.7.0.0/24 --ipv6 both")


def run(context: Context, parsed: Parsed) -> int:
    """Make it, and print its ID."""
    if parsed["driver"] != "bridge":
        raise UsageError(f'--driver "{parsed["driver"]}" is not known: there is bridge')
    labels = dict(_named(text) for text in parsed["label"])
    options = dict(_named(text) for text in parsed["opt"])
    site = context.places.networks   # which makes us root where we are not
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
