"""The device list: v1 writes and the eBPF program, both compared with a matcher that is too simple to be wrong."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyruntime.errors import ConfigError, HostError
from pyruntime.runtime.cgroups import device_bpf, devices, resources
from pyruntime.runtime.cgroups.devices import DeviceRule
from pyruntime.runtime.cgroups.host import CgroupHost, Hierarchy
from pyruntime.runtime.config.node import Node

BITS = {"m": 1, "r": 2, "w": 4}


def allowed(rules: list[DeviceRule], kind: str, major: int, minor: int, access: str) -> bool:
    """The specification: for every requested access, the last matching rule decides."""
    for letter in access:
        verdict = False
        for rule in rules:
            if (rule.kind in ("a", kind) and rule.major in ("*", str(major)) and rule.minor in ("*", str(minor))
                    and letter in rule.access):
                verdict = rule.allow
        if not verdict:
            return False
    return True


def run_bpf(program: bytes, kind: str, major: int, minor: int, access: str) -> bool:
    """A small eBPF interpreter: the instructions that the compiler uses, with the kernel's 32-bit semantics."""
    context = struct.pack("<III", sum(BITS[letter] for letter in access) << 16 | {"b": 1, "c": 2}[kind], major, minor)
    code = list(struct.iter_unpack("<BBhi", program))
    registers: list[Any] = [None] * 11
    registers[1] = "context"
    at = 0
    for _step in range(len(code) + 1):
        op, packed, offset, imm = code[at]
        dst, src, imm = packed & 15, packed >> 4, imm & 0xFFFFFFFF
        at += 1
        if op == 0x61:
            assert registers[src] == "context"
            registers[dst] = struct.unpack_from("<I", context, offset)[0]
        elif op == 0xB4:
            registers[dst] = imm
        elif op == 0xBC:
            registers[dst] = registers[src]
        elif op == 0x54:
            registers[dst] &= imm
        elif op == 0x74:
            registers[dst] >>= imm
        elif op in (0x56, 0x16):
            if (registers[dst] == imm) == (op == 0x16):
                assert offset >= 0
                at += offset
        elif op == 0x95:
            assert registers[0] in (0, 1)
            return bool(registers[0] == 1)
        else:
            pytest.fail(f"unknown instruction {op:#x}")
    pytest.fail("the program does not end")


def reachable(program: bytes) -> bool:
    """Whether every instruction can be reached: the verifier refuses dead code."""
    code = list(struct.iter_unpack("<BBhi", program))
    seen, todo = set(), [0]
    while todo:
        at = todo.pop()
        if at in seen:
            continue
        seen.add(at)
        op, _packed, offset, _imm = code[at]
        if op != 0x95:
            todo.append(at + 1)
        if op in (0x56, 0x16):
            todo.append(at + 1 + offset)
    return seen == set(range(len(code)))


numbers = st.sampled_from(["*", "0", "1", "2", "4294967295"])
rule = st.builds(DeviceRule, st.booleans(), st.sampled_from("abc"), numbers, numbers,
                 st.sets(st.sampled_from("rwm"), min_size=1).map("".join))
request_ = st.tuples(st.sampled_from("bc"), st.sampled_from([0, 1, 2, 4294967295]),
                     st.sampled_from([0, 1, 2, 4294967295]), st.sets(st.sampled_from("rwm"), min_size=1).map("".join))


@given(st.lists(rule, max_size=8), st.lists(request_, min_size=1, max_size=8))
def test_the_program_agrees_with_the_list(rules: list[DeviceRule], requests: list[tuple[str, int, int, str]]) -> None:
    program = device_bpf.compile_rules([str(item) for item in rules])
    assert reachable(program)
    for wanted in requests:
        assert run_bpf(program, *wanted) == allowed(rules, *wanted), wanted


def v1_state(writes: list[tuple[str, str, str]]) -> tuple[bool, dict[tuple[str, str, str], set[str]]]:
    """The kernel's v1 controller (security/device_cgroup.c): a default and a list of exceptions."""
    default = True
    exceptions: dict[tuple[str, str, str], set[str]] = {}
    for file, line, _where in writes:
        allow = file == "devices.allow"
        if line == "a":
            default = allow
            exceptions.clear()
            continue
        kind, device, access = line.split(" ")
        major, _, minor = device.partition(":")
        key = (kind, major, minor)
        if allow == default:
            left = exceptions.get(key, set()) - set(access)
            exceptions.pop(key, None)
            if left:
                exceptions[key] = left
        else:
            exceptions[key] = exceptions.get(key, set()) | set(access)
    return default, exceptions


@given(st.lists(rule, max_size=6), st.lists(request_, min_size=1, max_size=8))
@example([DeviceRule(True, "c", "1", "*", "rwm"), DeviceRule(False, "a", "1", "*", "w")],
         [("c", 1, 0, "r"), ("c", 1, 0, "w")])
def test_the_v1_writes_agree_with_the_list(rules: list[DeviceRule], requests: list[tuple[str, int, int, str]]) -> None:
    rules = [DeviceRule(False, "a", "*", "*", "rwm"), *rules]
    try:
        default, exceptions = v1_state(list(devices.v1_writes(rules)))
    except HostError:
        return   # v1 cannot express the list: refused as intended
    for kind, major, minor, access in requests:
        for letter in access:
            found = any(key[0] == kind and key[1] in ("*", str(major)) and key[2] in ("*", str(minor))
                        and letter in letters for key, letters in exceptions.items())
            assert (default != found) == allowed(rules, kind, major, minor, letter)


def read(*entries: dict[str, Any]) -> list[DeviceRule]:
    return devices.read_rules(Node({"devices": list(entries)}, "linux.resources")["devices"])


DENY = {"allow": False, "access": "rwm"}


def test_the_usual_list() -> None:
    rules = read(DENY, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"})
    assert list(devices.v1_writes(rules)) == [
        ("devices.deny", "a", "linux.resources.devices[0]"),
        ("devices.allow", "c 10:229 rw", "linux.resources.devices[1]"),
        *(("devices.allow", text, "linux.resources.devices") for text in devices.DEFAULTS)]


def test_without_a_list_everything_else_is_denied() -> None:
    rules = devices.read_rules(Node(None, "linux.resources.devices"))
    assert allowed(rules, "c", 1, 3, "rwm")
    assert allowed(rules, "b", 8, 0, "m")
    assert not allowed(rules, "b", 8, 0, "r")
    assert not allowed(rules, "c", 5, 1, "r")   # the host's console


def test_the_defaults_survive_a_denial() -> None:
    rules = read({"allow": False, "type": "c", "major": 1, "minor": 3, "access": "rw"})
    assert allowed(rules, "c", 1, 3, "rwm")


def test_a_privileged_container_has_no_filter() -> None:
    rules = read({"allow": True, "access": "rwm"})
    assert devices.allows_everything(rules)
    assert list(devices.v1_writes(rules)) == [("devices.allow", "a", "linux.resources.devices[0]")]
    v2 = CgroupHost([], Hierarchy("", 2, (), "/cg"))
    config = Node({"linux": {"resources": {"devices": [{"allow": True, "access": "rwm"}]}}})
    steps = list(resources.emit(config, v2, resources.placement(config, v2, "c"), "c", rootless=False,
                                slot=iter(range(64)).__next__))
    assert [step.op.name for step in steps] == ["cgroup_create", "cgroup_join"]
    assert not devices.allows_everything(read({"allow": True, "access": "rwm"},
                                              {"allow": False, "type": "b", "access": "w"}))


def test_v2_carries_the_rules_in_the_plan() -> None:
    v2 = CgroupHost([], Hierarchy("", 2, (), "/cg"))
    place = resources.placement(Node({}), v2, "c")
    plan = resources.emit(Node({}), v2, place, "c", rootless=False, slot=iter(range(64)).__next__)
    [step] = [step for step in plan if step.op.name == "cgroup_devices"]
    assert step.args["rules"][0] == "deny a *:* rwm"
    assert step.args["rules"][1:] == ["allow " + text for text in devices.DEFAULTS]
    assert step.where == "linux.resources.devices"


def test_lists_that_v1_cannot_express() -> None:
    with pytest.raises(HostError, match=r'cannot deny "c 10:200" out of the "c 10:\*"') as caught:
        list(devices.v1_writes(read({"allow": True, "type": "c", "major": 10, "access": "rwm"},
                                    {"allow": False, "type": "c", "major": 10, "minor": 200, "access": "w"})))
    assert caught.value.where == "linux.resources.devices[1]"


def test_everything_but_some_with_the_defaults() -> None:
    rules = read({"allow": True, "access": "rwm"}, {"allow": False, "type": "c", "access": "w"})
    writes = list(devices.v1_writes(rules))
    assert writes[:3] == [("devices.deny", "a", "linux.resources.devices[0]"),
                          ("devices.allow", "b *:* rwm", "linux.resources.devices[0]"),
                          ("devices.allow", "c *:* rm", "linux.resources.devices[0]")]


def test_type_a_with_a_number_is_written_as_both_types() -> None:
    # The kernel treats "a 8:0 r" as "everything".
    writes = list(devices.v1_writes(read({"allow": True, "type": "a", "major": 8, "minor": 0, "access": "r"})))
    assert [line for _file, line, _where in writes][1:3] == ["b 8:0 r", "c 8:0 r"]


@pytest.mark.parametrize(("entry", "message"), [
    ({"allow": True, "type": "z", "access": "r"}, 'devices[0].type: invalid device type "z"'),
    ({"allow": True}, "devices[0].access: device access cannot be empty"),
    ({"allow": True, "access": "rx"}, 'devices[0].access: invalid device access "rx"'),
    ({"allow": True, "access": "r", "major": -2}, "devices[0].major: -2 is not a device number"),
    ({"allow": True, "access": "r", "minor": 1 << 32}, "devices[0].minor: 4294967296 is not a device number"),
])
def test_mistakes(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(entry)
    assert str(caught.value).startswith("config.json: linux.resources." + message)


@given(rule)
def test_rules_round_trip(item: DeviceRule) -> None:
    assert str(devices.parse_rule(str(item))) == str(item)


@pytest.mark.parametrize("text", ["", "allow c 1:3", "permit c 1:3 r", "allow z 1:3 r", "allow c x:3 r",
                                  "allow c 1:3 q", "allow c 1:4294967296 r"])
def test_bad_rules_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        device_bpf.compile_rules([text])
