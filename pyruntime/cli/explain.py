"""``pyruntime explain [BUNDLE]``."""

from __future__ import annotations

from pyruntime.cli.main import Context
from pyruntime.cli.parse import Command, Flag, Parsed
from pyruntime.cli.program import out
from pyruntime.config.load import load_bundle
from pyruntime.lifecycle.create import Request, make_plan
from pyruntime.plan import explain

COMMAND = Command(
    "explain", "[--json] [BUNDLE]", "print the launch plan of a bundle",
    Flag("json", "bool", "print one JSON document, for other tools"),
    Flag("config", "str", "as with create", value="FILE"),
    Flag("id", "str", "the container ID to plan for", default="ID"),
    Flag("no-pivot", "bool", "as with create"), Flag("preserve-fds", "int", "as with create"), most=1,
    text="Each step: its number, who performs it (host: pyruntime itself; stub: before init exists; init: in the\n"
         "container's namespaces), what is called with which arguments, and the place in config.json that asks for\n"
         "it.\n"
         "Nothing is done; no privileges are needed.")


def run(context: Context, parsed: Parsed) -> int:
    """Print the plan."""
    config = load_bundle(parsed.arguments[0] if parsed.arguments else ".", file=parsed["config"])
    request = Request(pivot=not parsed["no-pivot"], preserve_fds=parsed["preserve-fds"], rootless=context.rootless,
                      cgroup_manager=context.cgroup_manager)
    plan = make_plan(config, parsed["id"], request)
    out(explain.json(plan) if parsed["json"] else explain.text(plan))
    return 0
