"""``pocker port CONTAINER [PORT[/PROTOCOL]]``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import StateError
from pyruntime.networks import endpoints
from pyruntime.networks.inspect import host_port
from pyruntime.pocker.cli.each import LATEST_FLAG
from pyruntime.pocker.cli.main import PockerContext

COMMAND = Command("port", "CONTAINER [PORT[/PROTOCOL]]", "list the published ports of a container",
                  LATEST_FLAG, least=1, most=2, text="Example:\n  pocker port web\n  pocker port web 80/tcp")


def run(context: PockerContext, parsed: Parsed) -> int:
    """Show them."""
    container = context.find(parsed.arguments[0])
    endpoint = endpoints.read(context.places.networks, container.id)
    ports = endpoint.ports if endpoint else []
    if len(parsed.arguments) == 1:
        out("".join(f"{port['to']}/{port['protocol']} -> {host_port(port)}\n" for port in ports))
        return 0
    number, _, protocol = parsed.arguments[1].partition("/")
    found = [port for port in ports if (str(port["to"]), port["protocol"]) == (number, protocol or "tcp")]
    if not found:
        raise StateError(f'container "{parsed.arguments[0]}" publishes no port {number}/{protocol or "tcp"}')
    out("".join(f"{host_port(port)}\n" for port in found))
    return 0
