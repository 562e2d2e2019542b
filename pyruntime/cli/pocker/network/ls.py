"""``pocker network ls``."""

from __future__ import annotations

from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.pocker.main import Context
from pyruntime.cli.program import out
from pyruntime.cli.table import columns
from pyruntime.engine.network import networks
from pyruntime.engine.network.networks import DEFAULT
from pyruntime.engine.network.present import HOST, NONE
from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.engine.network.networks import Network

COMMAND = Command("ls", "[options]", "list networks",
                  Flag("filter", "list", "name=PART or label=NAME[=VALUE]", short="f", value="FILTER"),
                  Flag("format", "str", "json, or a template such as {{.Name}}", value="FORMAT"),
                  Flag("no-trunc", "bool", "whole IDs"), Flag("quiet", "bool", "print IDs only", short="q"), most=0,
                  text="Example:\n  pocker network ls --filter label=stage=test")


def run(context: Context, parsed: Parsed) -> int:
    """List them."""
    with networks.lock(context.places):
        networks.find(context.places, DEFAULT)   # it is there, whether it has been used or not
        found = [network for network in networks.every(context.places) if _fits(network, parsed["filter"])]
    rows = [{"ID": network.id if parsed["no-trunc"] else network.id[:12], "Name": network.name, "Driver": "bridge",
             "Subnet": ", ".join(entry["subnet"] for entry in network.subnets), "Interface": network.interface,
             "Internal": network.internal, "Labels": network.labels} for network in found]
    if not parsed["filter"]:
        rows += [{"ID": "", "Name": name, "Driver": driver, "Subnet": "", "Interface": "", "Internal": False,
                  "Labels": {}} for name, driver in ((HOST, "host"), (NONE, "null"))]
    if parsed["quiet"]:
        out("".join(f"{row['ID']}\n" for row in rows if row["ID"]))
    elif parsed["format"] == "json":
        from pyruntime.config.decode import encode

        out("".join(encode(row) + "\n" for row in rows))
    elif parsed["format"]:
        from pyruntime.cli.image.show import by_template

        out(by_template(parsed["format"], rows, {"ID": "NETWORK ID"}))
    else:
        out(columns([["NETWORK ID", "NAME", "DRIVER", "SUBNET"],
                     *([str(row[key]) for key in ("ID", "Name", "Driver", "Subnet")] for row in rows)]))
    return 0


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
