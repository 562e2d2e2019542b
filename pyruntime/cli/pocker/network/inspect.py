"""``pocker network inspect NETWORK...``."""

from __future__ import annotations

from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.pocker.main import Context
from pyruntime.cli.program import out
from pyruntime.config.decode import encode
from pyruntime.engine.network import networks
from pyruntime.engine.network.picture import picture

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command("inspect", "[options] NETWORK...", "show all about networks, as JSON",
                  Flag("format", "str", "json, or a template such as {{.Name}}", short="f", value="FORMAT"), least=1,
                  text="Example:\n  pocker network inspect bridge")


def run(context: Context, parsed: Parsed) -> int:
    """Show them."""
    found: list[Any] = []
    for name in parsed.arguments:
        with networks.lock(context.places):
            network = networks.find(context.places, name)
        found.append(picture(context.places, network))
    if parsed["format"] not in ("", "json"):
        from pyruntime.cli.template import render

        out("".join(render(parsed["format"], value) + "\n" for value in found))
    elif parsed["format"]:
        out(encode(found) + "\n")
    else:
        import json

        out(json.dumps(found, indent=4) + "\n")
    return 0
