"""``pyruntime explain [BUNDLE]``, ``pyruntime explain --exec ID COMMAND``."""

from __future__ import annotations

from pyruntime.commandline.parse import Command, Flag, Parsed
from pyruntime.commandline.program import out
from pyruntime.errors import UsageError
from pyruntime.runtime.cli.main import RuntimeContext
from pyruntime.runtime.config.load import load_bundle
from pyruntime.runtime.lifecycle.create import Request, make_plan
from pyruntime.runtime.plan import explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.runtime.compiler.compile import Plan

COMMAND = Command(
    "explain", "[--json] [BUNDLE] | --exec ID COMMAND [ARGS]",
    "print the launch plan of a bundle or of `exec`",
    Flag("exec", "str", "print the plan of `exec` in the container ID; COMMAND's options follow --",
         value="ID"),
    Flag("json", "bool", "print the plan as JSON"),
    Flag("config", "str", "read FILE instead of the bundle's config.json", value="FILE"),
    Flag("id", "str", "container ID in the plan", default="ID"),
    Flag("no-pivot", "bool", "do not use pivot_root; for a root filesystem on a ramdisk"),
    Flag("preserve-fds", "int", "pass N additional file descriptors (3, 4, ...) to the container"),
    text="Each step is printed with its number, the process that performs the step (host: pyruntime itself; stub:\n"
         "before init exists; init: in the container's namespaces), the arguments, the system calls, and the place in\n"
         "config.json that the step comes from. Nothing is executed. No privileges are needed, except with --exec.")


def run(context: RuntimeContext, parsed: Parsed) -> int:
    """Print the plan."""
    plan = _exec_plan(context, parsed) if parsed["exec"] else _bundle_plan(context, parsed)
    out(explain.json(plan) if parsed["json"] else explain.text(plan))
    return 0


def _exec_plan(context: RuntimeContext, parsed: Parsed) -> Plan:
    from pyruntime.runtime.lifecycle.exec import ExecRequest, plan_of  # lazy: only for --process

    request = ExecRequest(parsed.arguments, preserve_fds=parsed["preserve-fds"], rootless=context.rootless)
    return plan_of(context.root, parsed["exec"], request)


def _bundle_plan(context: RuntimeContext, parsed: Parsed) -> Plan:
    if len(parsed.arguments) > 1:
        raise UsageError('pyruntime: "explain" requires a maximum of 1 argument(s)')
    config = load_bundle(parsed.arguments[0] if parsed.arguments else ".", file=parsed["config"])
    request = Request(pivot=not parsed["no-pivot"], preserve_fds=parsed["preserve-fds"], rootless=context.rootless,
                      cgroup_manager=context.cgroup_manager)
    return make_plan(config, parsed["id"], request)
