"""hooks: programs of the caller that run at points of the lifecycle; here those within a plan.

Spec:   config.md#posix-platform-hooks, runtime.md#lifecycle
Emits:  host_hook, run_hook   (phases HOOKS, START)
Absent: poststart and poststop are not part of a plan; lifecycle/hooks.py runs them.
"""

from __future__ import annotations

from pyruntime.runtime.plan.steps import step
from pyruntime.system.environment import last_of_each
from pyruntime.system.json import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.runtime.compiler.setup import Setup
    from pyruntime.runtime.config.node import Node
    from pyruntime.runtime.plan.steps import Step


def emit(setup: Setup) -> Iterator[Step]:
    """The hooks of `create` and the startContainer hooks, in the specification's order."""
    hooks = setup.config["hooks"]
    # prestart hooks are older than the state `creating`; existing hooks expect `created`.
    for kind, status in (("prestart", "created"), ("createRuntime", "creating")):
        for node in hooks[kind].each():
            yield step("hooks", "host_hook", node.where, label=node.get("path"), path=node.get("path"),
                       args=node.get("args", []) or [node.get("path")], env=last_of_each(node.get("env", [])),
                       timeout=node.get("timeout", 0), inherit_env=int(not node["env"]), status=status)
    for node in hooks["createContainer"].each():
        yield _inside(setup, node, "hooks", "creating", [])
    for node in hooks["startContainer"].each():
        yield _inside(setup, node, "start", "created", setup.config.get("process.env", []))


def _inside(setup: Setup, node: Node, phase: str, status: str, env: list[str]) -> Step:
    # The pid is that of the container's pid namespace (runtime.md#state), so the stub fills it in.
    head, mark, tail = encode(setup.state(status, pid=0)).partition('"pid":0')
    assert mark
    return step(phase, "run_hook", node.where, label=node.get("path"), path=node.get("path"),
                args=node.get("args", []) or [node.get("path")], env=last_of_each(node.get("env", env)),
                timeout=node.get("timeout", 0), home=int(phase == "start" and not node["env"]),
                state_head=head + '"pid":', state_tail=tail)
