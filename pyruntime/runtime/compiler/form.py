"""A plan with blanks: compiled and encoded once, then filled in for each container, or each process of a container,
that differs from the others only in names. Only the steps with blanks are encoded anew.
"""

from __future__ import annotations

from pyruntime.runtime.compiler.compile import Plan
from pyruntime.runtime.plan.encode import RECORD, STUB, records
from pyruntime.runtime.plan.steps import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


ID_MARK = "+pyruntime.id+"   # stands for a container's ID: it is valid as such, and found nowhere else


class Form:
    """A compiled plan in which each of ``marks`` stands for a text that `fill` is given."""

    def __init__(self, plan: Plan, marks: Sequence[str]) -> None:
        self._plan = plan
        self._marked = {number for number, step in enumerate(plan.steps)
                        if any(mark in text for mark in marks for text in _texts(step.args))}
        self._records = [record for _, record in records(plan.steps, {})]
        self._places = {RECORD.unpack_from(record)[1]: place for place, record in enumerate(self._records)}

    def fill(self, texts: Mapping[str, str], fields: Mapping[str, Mapping[str, Any]], label: str = "") -> Plan:
        """The plan with a text for each mark, and with other fields for some operations, whose subject in messages is
        ``label``."""
        steps, encoded = list(self._plan.steps), list(self._records)
        for number, step in enumerate(steps):
            if step.op.name in fields:
                step = steps[number] = _changed(step, {**step.args, **fields[step.op.name]}, label or step.label)
            elif number in self._marked:
                step = steps[number] = _changed(step, {name: _replaced(value, texts)
                                                       for name, value in step.args.items()}, step.label)
            else:
                continue
            if step.op.actor == "stub":
                encoded[self._places[number]] = STUB.record(number, step.op.name, step.args, step.where, step.tolerate)
        plan = Plan(steps, self._plan.slots, {key: _replaced(path, texts)
                                              for key, path in self._plan.cgroup_paths.items()},
                    self._plan.warnings, self._plan.document)
        plan.encoded = STUB.frame(encoded)
        return plan


def _texts(args: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for value in args.values():
        found += [value] if isinstance(value, str) else value if isinstance(value, (list, tuple)) else []
    return found


def _replaced(value: Any, texts: Mapping[str, str]) -> Any:
    if isinstance(value, (list, tuple)):
        return [_replaced(item, texts) for item in value]
    if isinstance(value, str):
        for mark, text in texts.items():
            value = value.replace(mark, text)
    return value


def _changed(step: Step, args: dict[str, Any], label: str) -> Step:
    return Step(step.phase, step.op.name, step.where, args, label, step.tolerate)
