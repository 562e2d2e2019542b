"""``pyruntime run ID [BUNDLE]``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.runtime.cli.create import FLAGS, bundle_of, request_of
from pyruntime.runtime.cli.main import RuntimeContext
from pyruntime.runtime.lifecycle.run import run as run_container

COMMAND = Command(
    "run", "[options] ID [BUNDLE]", "create and start a container", *FLAGS,
    Flag("detach", "bool", "run in the background: return when the program has started", short="d"),
    Flag("keep", "bool", "do not delete the container after it exits"),
    Flag("no-subreaper", "bool", "do not become the parent of orphaned processes"),
    least=1, most=2,
    text="Without --detach, signals and the terminal are forwarded, and the container is deleted when its program\n"
         "exits. The exit status is that of the program: 128+N when signal N killed the program.")


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Run the container."""
    request = request_of(context, parsed)
    request.detached = parsed["detach"]
    return run_container(context.root, parsed.arguments[0], bundle_of(parsed), request, keep=parsed["keep"],
                         subreaper=not parsed["no-subreaper"], before=context.before)
