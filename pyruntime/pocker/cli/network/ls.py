"""``pocker network ls``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import UsageError
from pyruntime.networks import definitions as networks
from pyruntime.networks.definitions import DEFAULT, Network
from pyruntime.networks.present import HOST, NONE
from pyruntime.pocker.cli.listing import FORMAT, Listing, label_texts, local_time
from pyruntime.pocker.cli.main import PockerContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command("ls", "[options]", "list networks",
                  Flag("filter", "list", "filter by name=PART or label=NAME[=VALUE]", short="f", value="FILTER"),
                  FORMAT,
                  Flag("no-trunc", "bool", "do not truncate IDs"),
                  Flag("quiet", "bool", "print only IDs", short="q"), most=0,
                  text="Example:\n  pocker network ls --filter label=stage=test")
_LISTING = Listing({"ID": "NETWORK ID", "Name": "", "Driver": "", "Scope": "", "CreatedAt": "", "IPv4": "", "IPv6": "",
                    "Internal": "", "Labels": ""}, ("ID", "Name", "Driver", "Scope"))


def run(context: PockerContext, parsed: Parsed) -> int:
    """List them."""
    site = context.places.networks
    with networks.lock(site):
        networks.find(site, DEFAULT)   # the default network is listed even before its first use
        found = [network for network in networks.every(site) if _fits(network, parsed["filter"])]
    rows = [_texts(network, whole=parsed["no-trunc"]) for network in found]
    if not parsed["filter"]:
        rows += [{**_texts(Network(name=name), whole=False), "Driver": driver} for name, driver in ((HOST, "host"),
                                                                                                   (NONE, "null"))]
    if parsed["quiet"]:
        out("".join(f"{row['ID']}\n" for row in rows if row["ID"]))
    else:
        _LISTING.show(parsed["format"], rows)
    return 0


def _texts(network: Network, *, whole: bool) -> dict[str, Any]:
    """A network as Docker shows it, with its subnets and its bridge for templates."""
    return {**label_texts(network.labels), "ID": network.id if whole else network.id[:12], "Name": network.name,
            "Driver": "bridge", "Scope": "local", "Internal": str(network.internal).lower(),
            "IPv4": str(network.subnet(4) is not None).lower(), "IPv6": str(network.subnet(6) is not None).lower(),
            "CreatedAt": local_time(network.created), "Interface": network.interface,
            "Subnet": ", ".join(entry["subnet"] for entry in network.subnets)}


def _fits(network: Network, filters: list[str]) -> bool:
    return all(_fits_one(network, text) for text in filters)


def _fits_one(network: Network, text: str) -> bool:
    kind, _, value = text.partition("=")
    if kind == "name":
        return value in network.name
    if kind == "label":
        name, equals, wanted = value.partition("=")
        return name in network.labels and (not equals or network.labels[name] == wanted)
    raise UsageError(f'--filter "{text}": write name=PART or label=NAME[=VALUE]')
