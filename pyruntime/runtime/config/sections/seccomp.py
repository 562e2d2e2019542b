"""linux.seccomp: combinations of members.

Spec:  config-linux.md#seccomp
"""

from __future__ import annotations

from pyruntime.errors import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyruntime.runtime.config.node import Node

_SPEC = "config-linux.md#seccomp"
_LARGEST = {"SCMP_ACT_ERRNO": 4095, "SCMP_ACT_TRACE": 65535}  # MAX_ERRNO, and 16 bits of SECCOMP_RET_DATA


def problems(seccomp: Node) -> Iterator[Problem]:
    if not seccomp:
        return
    value: dict[str, Any] = seccomp.value
    where = seccomp.where
    default = value["defaultAction"]
    yield from _errno(value.get("defaultErrnoRet"), default, f"{where}.defaultErrnoRet")
    if default == "SCMP_ACT_NOTIFY":
        what = "SCMP_ACT_NOTIFY cannot be used as default action"
        yield Problem(f"{where}.defaultAction", what, "name the system calls that the agent handles", _SPEC)
    for index, entry in enumerate(value.get("syscalls") or ()):
        yield from _entry(entry, f"{where}.syscalls[{index}]")
    yield from _listener(seccomp, value)


def _entry(entry: dict[str, Any], where: str) -> Iterator[Problem]:
    action = entry["action"]
    if entry.get("errnoRet") is not None:
        yield from _errno(entry["errnoRet"], action, f"{where}.errnoRet")
    names = entry["names"]
    if action == "SCMP_ACT_NOTIFY" and "write" in names:
        what = "SCMP_ACT_NOTIFY cannot be used for the write syscall"
        remedy = "remove it: the runtime itself must write before the agent listens"
        yield Problem(f"{where}.names[{names.index('write')}]", what, remedy, _SPEC)
    if "" in names:
        yield Problem(f"{where}.names[{names.index('')}]", "must not be empty", "name a system call", _SPEC)


def _errno(number: int | None, action: str, where: str) -> Iterator[Problem]:
    if number is None:
        return
    most = _LARGEST.get(action)
    if most is None:
        what = f'action "{action}" does not return an errno'
        yield Problem(where, what, 'remove it, or write the action "SCMP_ACT_ERRNO"', _SPEC)
    elif number > most:
        yield Problem(where, f"{number} is above {most}", "write a number from errno(3)", _SPEC)


def uses(value: dict[str, Any], action: str) -> bool:
    """Whether any rule of the profile has this action."""
    return any(entry["action"] == action for entry in value.get("syscalls") or ())


def _listener(seccomp: Node, value: dict[str, Any]) -> Iterator[Problem]:
    path = value.get("listenerPath") or ""
    notifies = uses(value, "SCMP_ACT_NOTIFY")
    if notifies and not path:
        what = "is missing, but SCMP_ACT_NOTIFY requires it"
        yield Problem(seccomp["listenerPath"].where, what, "write the path of the agent's socket", _SPEC)
    if notifies and len(path.encode()) > 107:
        what = f"has {len(path.encode())} bytes, but the path of a socket has at most 107"
        yield Problem(seccomp["listenerPath"].where, what, "write a shorter path", _SPEC)
    if value.get("listenerMetadata") and not path:
        yield Problem(seccomp["listenerMetadata"].where, "requires a listenerPath", "set listenerPath, or remove this",
                      _SPEC)
    for flag in seccomp["flags"].each():
        if flag.value == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" and not notifies:
            what = f'"{flag.value}" requires a rule with SCMP_ACT_NOTIFY'
            yield Problem(flag.where, what, "remove the flag", _SPEC)


def warnings(seccomp: Node) -> Iterator[Problem]:
    if not seccomp:
        return
    value: dict[str, Any] = seccomp.value
    entries = value.get("syscalls") or ()
    default = value["defaultAction"]
    if not entries and default not in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY"):
        what = f'action "{default}" without syscalls applies to the first system call of the container'
        yield Problem(seccomp["defaultAction"].where, what, "name the system calls to allow", _SPEC)
    for index, entry in enumerate(entries):
        for number, condition in enumerate(entry.get("args") or ()):
            second = condition.get("valueTwo") or 0
            where = f"{seccomp.where}.syscalls[{index}].args[{number}].valueTwo"
            if condition["op"] == "SCMP_CMP_MASKED_EQ":
                if second & ~condition["value"]:
                    what = f"{second} has bits outside the mask, {condition['value']}: the rule never matches"
                    yield Problem(where, what, "write the mask in value and the expected bits in valueTwo", _SPEC)
            elif second:
                what = f'op "{condition["op"]}" does not use valueTwo'
                yield Problem(where, what, "remove it", _SPEC)
    if value.get("listenerPath") and not uses(value, "SCMP_ACT_NOTIFY"):
        what = "ignored, because no rule has SCMP_ACT_NOTIFY"
        yield Problem(seccomp["listenerPath"].where, what, "remove it", _SPEC)
