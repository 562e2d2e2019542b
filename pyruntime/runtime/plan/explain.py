"""Print a plan: as text, or as JSON."""

from __future__ import annotations

import errno
import os

from pyruntime.runtime.plan.phases import PHASES
from pyruntime.runtime.plan.steps import NO_SLOT, STRS
from pyruntime.system.json import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.runtime.compiler.compile import Plan
    from pyruntime.runtime.plan.steps import Step


_SLOTS = ("slot", "hold", "listener", "cgroup")


def _value(name: str, value: Any) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes" if len(value) > 16 else (value.hex() or "empty")
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(_value("", item) for item in value) + "]"
    if isinstance(value, int):
        hexadecimal = ("attr", "rec_", "flags", "keep", "mask", "effective", "permitted", "inheritable", "propagation",
                       "kind")
        if name.startswith(hexadecimal) and value > 9:
            return hex(value)
        return oct(value) if name == "mode" and value > 7 else str(value)
    return f'"{value}"' if not value or any(c in ' "' for c in value) else str(value)


def arguments(step: Step) -> dict[str, Any]:
    """The arguments of a step, without zeros, empty strings and absent slots."""
    return {name: value for name, value in step.args.items()
            if (value not in (0, "", b"", []) and not (name in _SLOTS and value == NO_SLOT))
            or (name in ("uid", "gid", "minor", "major", "pid") and step.op.fields[name] != STRS)}


def text(plan: Plan) -> str:
    """The whole plan as text; each phase is preceded by the reason for its position."""
    lines = [f"warning: {warning}" for warning in plan.warnings]
    phase, inside = "", False
    for number, step in enumerate(plan.steps, 1):
        if step.phase != phase:
            phase = step.phase
            lines.append(f"\n{phase}: {PHASES[phase]}")
        who = "host" if step.op.actor == "host" else "init" if inside else "stub"
        inside = inside or step.op.name == "clone_init"
        args = " ".join(f"{name}={_value(name, value)}" for name, value in arguments(step).items())
        tolerate = " ".join(errno.errorcode[number] for number in step.tolerate)
        line = f"{number:4} {who:4}  {step.op.name:16} {args}"
        lines.append(line.rstrip() + (f"  (skipped if {tolerate})" if tolerate else ""))
        lines.append(f"{'':28}{step.op.calls}  <- {step.where or 'config.json'}")
    return "\n".join(lines).lstrip("\n") + "\n"


def json(plan: Plan) -> str:
    """The whole plan as one JSON document, for other tools."""
    steps = []
    inside = False
    for number, step in enumerate(plan.steps, 1):
        steps.append({
            "number": number, "actor": "host" if step.op.actor == "host" else "init" if inside else "stub",
            "phase": step.phase, "step": step.op.name, "calls": step.op.calls, "path": step.where, "about": step.label,
            "arguments": {name: value.hex() if isinstance(value, bytes) else value
                          for name, value in step.args.items()},
            "skippedIf": [errno.errorcode[number] for number in step.tolerate]})
        inside = inside or step.op.name == "clone_init"
    return encode({"steps": steps, "warnings": plan.warnings, "cgroup": plan.cgroup_paths}, 2) + os.linesep
