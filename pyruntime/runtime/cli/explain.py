"""``pyruntime explain [BUNDLE]``, ``pyruntime explain --exec ID COMMAND``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import UsageError
from pyruntime.runtime.cli.main import Context
from pyruntime.runtime.config.load import load_bundle
from pyruntime.runtime.lifecycle.create import Request, make_plan
from pyruntime.runtime.plan import explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.runtime.compiler.compile import Plan

COMMAND = Command(
    "explain", "[--json] [BUNDLE] | --exec ID COMMAND [ARGS]",
    "print the launch plan of a bundle, or that of `exec`",
    Flag("exec", "str", "the plan by which COMMAND enters this container; options of COMMAND stand after --",
         value="ID"),
    Flag("json", "bool", "print one JSON document, for other tools"),
    Flag("config", "str", "as with create", value="FILE"),
    Flag("id", "str", "the container ID to plan for", default="ID"),
    Flag("no-pivot", "bool", "as with create"), Flag("preserve-fds", "int", "as with create"),
    text="Each step: its number, who performs it (host: pyruntime itself; stub: before init exists; init: in the\n"
         "container's namespaces), what is called with which arguments, and the place in config.json that asks for\n"
         "it.\n"
         "Nothing is done; no privileges are needed, except to look into a container.")


def run(context: Context, parsed: Parsed) -> int:
    """Print the plan."""
    plan = _exec_plan(context, parsed) if parsed["exec"] else _bundle_plan(context, parsed)
    out(explain.json(plan) if parsed["json"] else explain.text(plan))
    return 0


def _exec_plan(context: Context, parsed: Parsed) -> Plan:
    from pyruntime.runtime.lifecycle.exec import ExecRequest, plan_of

    request = ExecRequest(parsed.arguments, preserve_fds=parsed["preserve-fds"], rootless=context.rootless)
    return plan_of(context.root, parsed["exec"], request)


def _bundle_plan(context: Context, parsed: Parsed) -> Plan:
    if len(parsed.arguments) > 1:
        raise UsageError('pyruntime: "explain" requires a maximum of 1 argument(s)')
    config = load_bundle(parsed.arguments[0] if parsed.arguments else ".", file=parsed["config"])
    request = Request(pivot=not parsed["no-pivot"], preserve_fds=parsed["preserve-fds"], rootless=context.rootless,
                      cgroup_manager=context.cgroup_manager)
    return make_plan(config, parsed["id"], request)
