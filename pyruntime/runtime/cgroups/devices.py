"""linux.resources.devices: the allowed devices, as rules for both cgroup versions.

Spec:  config-linux.md#allowed-device-list
Rules: applied in the listed order, so the last matching rule decides; everything is denied before the list, and the
       default devices of every container are allowed after it (config-linux.md#default-devices).

A rule is written in the format of the v1 controller, preceded by its verdict: ``allow c 1:3 rwm``, ``deny a *:* rwm``.
"""

from __future__ import annotations

from pyruntime.errors import ConfigError, HostError, Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyruntime.runtime.config.node import Node

    Exceptions = dict[tuple[str, str, str], tuple[frozenset[str], str]]

SPEC = "config-linux.md#allowed-device-list"
EVERYTHING = "a *:* rwm"

# The devices of config-linux.md#default-devices, and those that the set-up of a container needs. Creating any node is
# allowed because a node alone gives no access: opening it is checked again. /dev/console is a pseudoterminal (136:*);
# 5:1 would be the host's console.
DEFAULTS = (
    "c *:* m", "b *:* m",
    "c 1:3 rwm",      # null
    "c 1:5 rwm",      # zero
    "c 1:7 rwm",      # full
    "c 1:8 rwm",      # random
    "c 1:9 rwm",      # urandom
    "c 5:0 rwm",      # tty
    "c 5:2 rwm",      # ptmx
    "c 136:* rwm",    # pts/*
)


class DeviceRule:
    """One entry: ``kind`` is ``b`` or ``c`` (``a``: both); ``major`` and ``minor`` are ``*`` or decimal numbers;
    ``access`` is a set of ``r``, ``w``, ``m``; ``where`` is its place in config.json."""

    __slots__ = ("access", "allow", "kind", "major", "minor", "where")

    def __init__(self, allow: bool, kind: str, major: str, minor: str, access: str, *, where: str = "") -> None:
        self.allow = allow
        self.kind = kind
        self.major = major
        self.minor = minor
        self.access = frozenset(access)
        self.where = where

    def total(self) -> bool:
        """Whether the rule covers every access to every device."""
        return self.kind == "a" and self.major == self.minor == "*" and len(self.access) == 3

    def __str__(self) -> str:
        letters = "".join(letter for letter in "rwm" if letter in self.access)
        return f"{'allow' if self.allow else 'deny'} {self.kind} {self.major}:{self.minor} {letters}"


def parse_rule(text: str) -> DeviceRule:
    """Parse the output of `Rule.__str__`. Raises ValueError."""
    verdict, kind, numbers, access = text.split(" ")
    major, minor = numbers.split(":")
    if verdict not in ("allow", "deny") or kind not in ("a", "b", "c") or not set(access) <= set("rwm"):
        raise ValueError(text)
    for number in (major, minor):
        if number != "*" and not 0 <= int(number) < 1 << 32:
            raise ValueError(text)
    return DeviceRule(verdict == "allow", kind, major, minor, access)


def _mistake(node: Node, what: str, remedy: str) -> ConfigError:
    return ConfigError("config.json", [Problem(node.where, what, remedy, SPEC)])


def _number(entry: Node, name: str) -> str:
    value: Any = entry.get(name, -1)
    if value < -1 or value >= 1 << 32:
        raise _mistake(entry[name], f"{value} is not a device number", "leave it out to match all numbers")
    return "*" if value == -1 else str(value)


def read_rules(devices: Node) -> list[DeviceRule]:
    """The rules of ``linux.resources.devices``, preceded by a denial of everything, followed by the default devices.

    Raises ConfigError for an unknown type or access. An entry without access is an error, not "all": a rule must not
    allow more than it says.
    """
    rules = [DeviceRule(False, "a", "*", "*", "rwm", where=devices.where)]
    for entry in devices.each():
        kind = entry.get("type", "") or "a"
        access = entry.get("access", "")
        if kind not in ("a", "b", "c"):
            raise _mistake(entry["type"], f'invalid device type "{kind}"', 'write "a", "b" or "c"')
        if not access:
            raise _mistake(entry["access"], "device access cannot be empty", 'write some of "r", "w", "m"')
        if not set(access) <= set("rwm"):
            raise _mistake(entry["access"], f'invalid device access "{access}"', 'write some of "r", "w", "m"')
        rule = DeviceRule(bool(entry.get("allow", False)), kind, _number(entry, "major"), _number(entry, "minor"),
                          access, where=entry.where)
        if rule.total():
            rules.clear()   # the rules before it no longer have an effect
        rules.append(rule)
    for text in DEFAULTS:
        rules.append(parse_rule("allow " + text))
        rules[-1].where = devices.where
    return rules


def allows_everything(rules: list[DeviceRule]) -> bool:
    """Whether no access is denied, so that no filter is needed."""
    return rules[0].total() and rules[0].allow and all(rule.allow for rule in rules)


def v1_writes(rules: list[DeviceRule]) -> Iterator[tuple[str, str, str]]:
    """The rules as (``devices.allow`` or ``devices.deny``, line, where) for a v1 cgroup.

    A v1 cgroup has a default and one list of exceptions. Writing the opposite of an exception removes it only if it is
    written in exactly the same form, and has no effect otherwise. So the final list is computed here.

    Raises HostError for a rule that covers only a part of an exception.
    """
    try:
        default, where, exceptions = _work_out(rules, everything_is_default=True)
    except HostError:
        # "Everything, but no character device may be written, but null may" can be expressed only if "everything" is a
        # list of exceptions.
        default, where, exceptions = _work_out(rules, everything_is_default=False)
    yield ("devices.allow" if default else "devices.deny", "a", where)
    file = "devices.deny" if default else "devices.allow"
    for (kind, major, minor), (access, place) in exceptions.items():
        letters = "".join(letter for letter in "rwm" if letter in access)
        yield (file, f"{kind} {major}:{minor} {letters}", place)


def _work_out(rules: list[DeviceRule], *, everything_is_default: bool) -> tuple[bool, str, Exceptions]:
    default = False
    exceptions: Exceptions = {}
    where = rules[0].where
    for rule in rules:
        if rule.total() and (everything_is_default or not rule.allow):
            default, where = rule.allow, rule.where
            exceptions.clear()
            continue
        for kind in "bc" if rule.kind == "a" else rule.kind:
            key = (kind, rule.major, rule.minor)
            if rule.allow != default:
                access, place = exceptions.get(key, (frozenset(), rule.where))
                exceptions[key] = (access | rule.access, place)
            else:
                _withdraw(exceptions, key, rule)
    return default, where, exceptions


def _withdraw(exceptions: Exceptions, key: tuple[str, str, str], rule: DeviceRule) -> None:
    # Removes the rule's accesses from the exceptions that it covers.
    kind, major, minor = key
    for other, (access, place) in list(exceptions.items()):
        if other[0] != kind or not access & rule.access:
            continue
        if major in ("*", other[1]) and minor in ("*", other[2]):
            if access - rule.access:
                exceptions[other] = (access - rule.access, place)
            else:
                del exceptions[other]
        elif (major == other[1] or "*" in (major, other[1])) and (minor == other[2] or "*" in (minor, other[2])):
            raise HostError(
                f'cgroup v1 cannot {"allow" if rule.allow else "deny"} "{kind} {major}:{minor}" out of the '
                f'"{kind} {other[1]}:{other[2]}" that {place} {"denies" if rule.allow else "allows"}', rule.where)
