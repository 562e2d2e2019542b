"""Scopes for systemd: names, slices, properties, and the plan. integration/test_systemd tests the D-Bus calls."""

from __future__ import annotations

from typing import Any

import pytest

from pyruntime.errors import ConfigError, HostError
from pyruntime.runtime.cgroups import devices, gvariant, resources, systemd
from pyruntime.runtime.cgroups.host import CgroupHost, Hierarchy
from pyruntime.runtime.config.node import Node
from pyruntime.runtime.plan.steps import Step

MANAGER = systemd.Systemd(252)
USER = systemd.Systemd(252, "/user.slice/user-1000.slice/user@1000.service", user=True)
V2 = CgroupHost([], Hierarchy("", 2, ("cpuset", "cpu", "io", "memory", "hugetlb", "pids"), "/cg"))
HYBRID = CgroupHost([Hierarchy(name, 1, () if "=" in name else (name,), f"/cg/{name}")
                     for name in ("cpu", "devices", "freezer", "memory", "name=systemd", "pids")],
                    Hierarchy("", 2, ("hugetlb",), "/cg/unified"))
M = 1 << 20
NONE = f"uint64 {systemd.INFINITY}"


@pytest.mark.parametrize(("name", "place"), [
    ("system.slice", "/system.slice"), ("a-b.slice", "/a.slice/a-b.slice"),
    ("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"), ("-.slice", ""),
    ("user-1000.slice", "/user.slice/user-1000.slice"),
])
def test_slices_expand(name: str, place: str) -> None:
    assert systemd.expand_slice(name) == place


@pytest.mark.parametrize("name", ["", "-", "a", ".slice", "a--b.slice", "-a.slice", "a-.slice", "a/b.slice",
                                  "a b.slice", "a.slice/b.slice"])
def test_invalid_slices(name: str) -> None:
    with pytest.raises(ValueError, match="invalid slice name"):
        systemd.expand_slice(name)


@pytest.mark.parametrize(("path", "manager", "unit", "slice_name", "place"), [
    ("", MANAGER, "pyruntime-c1.scope", "system.slice", "/system.slice/pyruntime-c1.scope"),
    ("a-b.slice:docker:x", MANAGER, "docker-x.scope", "a-b.slice", "/a.slice/a-b.slice/docker-x.scope"),
    (":p:x", MANAGER, "p-x.scope", "system.slice", "/system.slice/p-x.scope"),
    ("-:p:x", MANAGER, "p-x.scope", "-.slice", "/p-x.scope"),
    ("machine.slice::x", MANAGER, "x.scope", "machine.slice", "/machine.slice/x.scope"),
    ("", USER, "pyruntime-c1.scope", "user.slice", USER.root + "/user.slice/pyruntime-c1.scope"),
    ("user.slice:libpod:x", USER, "libpod-x.scope", "user.slice", USER.root + "/user.slice/libpod-x.scope"),
    (":p:a+b", MANAGER, r"p-a\x2bb.scope", "system.slice", r"/system.slice/p-a\x2bb.scope"),
])
def test_places(path: str, manager: systemd.Systemd, unit: str, slice_name: str, place: str) -> None:
    scope = systemd.locate(path, "c1", manager)
    assert (scope.unit, scope.slice, scope.path) == (unit, slice_name, place)


@pytest.mark.parametrize(("path", "message"), [
    ("/a/b", 'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups'),
    ("a:b", "slice:prefix:name"),
    ("a:b:c:d", "slice:prefix:name"), ("nosuffix:b:c", "invalid slice name"), ("a/b.slice:p:n", "invalid slice name"),
    ("a.slice:p:", "needs a scope"), ("a.slice:p:b.slice", "needs a scope"), (":p:" + "x" * 300, "255"),
])
def test_invalid_cgroups_paths(path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        systemd.locate(path, "c1", MANAGER)
    assert caught.value.where == "linux.cgroupsPath"


def props(limits: dict[str, Any], *, modern: bool = True, version: int = 252, **more: Any) -> dict[str, str]:
    return systemd.resource_properties(Node(limits), systemd.Systemd(version), modern=modern, **more)


CASES: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"memory": {"limit": 64 * M, "reservation": M, "swap": 96 * M}},
     {"MemoryMax": f"uint64 {64 * M}", "MemoryLow": f"uint64 {M}", "MemorySwapMax": f"uint64 {32 * M}"}),
    ({"memory": {"limit": -1}}, {"MemoryMax": NONE, "MemorySwapMax": NONE}),
    ({"cpu": {"shares": 1024}}, {"CPUWeight": "uint64 100"}),
    ({"cpu": {"quota": 50000, "period": 100000}},
     {"CPUQuotaPerSecUSec": "uint64 500000", "CPUQuotaPeriodUSec": "uint64 100000"}),
    ({"cpu": {"quota": 33333}}, {"CPUQuotaPerSecUSec": "uint64 340000", "CPUQuotaPeriodUSec": "uint64 100000"}),
    ({"cpu": {"quota": -1}}, {"CPUQuotaPerSecUSec": NONE, "CPUQuotaPeriodUSec": "uint64 100000"}),
    ({"cpu": {"cpus": "0-2,9", "mems": "0"}},
     {"AllowedCPUs": "[byte 0x07, byte 0x02]", "AllowedMemoryNodes": "[byte 0x01]"}),
    ({"pids": {"limit": 7}}, {"TasksMax": "uint64 7"}), ({"pids": {"limit": 0}}, {"TasksMax": "uint64 1"}),
    ({"pids": {"limit": -1}}, {"TasksMax": NONE}),
    ({"blockIO": {"weight": 10}}, {"IOWeight": "uint64 1"}),
    ({"blockIO": {"weight": 1000}}, {"IOWeight": "uint64 10000"}),
    ({"unified": {"memory.high": "5", "memory.min": "max", "cpu.max": "max 5000", "cpu.weight": "3", "pids.max": "max",
                  "cpuset.cpus": "1", "io.max": "8:0 rbps=1", "memory.oom.group": "1"}},
     {"MemoryHigh": "uint64 5", "MemoryMin": NONE, "CPUWeight": "uint64 3",
      "CPUQuotaPerSecUSec": NONE, "CPUQuotaPeriodUSec": "uint64 5000",
      "TasksMax": NONE, "AllowedCPUs": "[byte 0x02]"}),
    ({}, {}), ({"memory": {"limit": 0}, "cpu": {"shares": 0, "quota": 0}, "blockIO": {"weight": 0}}, {}),
]


@pytest.mark.parametrize(("limits", "expected"), CASES)
def test_properties(limits: dict[str, Any], expected: dict[str, str]) -> None:
    found = props(limits)
    assert found == expected
    for value in found.values():
        gvariant.parse(value)


def test_properties_of_v1() -> None:
    assert props({"memory": {"limit": M, "swap": 2 * M}, "cpu": {"shares": 7}, "blockIO": {"weight": 20},
                  "unified": {"memory.high": "5"}}, modern=False) == {
        "MemoryLimit": f"uint64 {M}", "CPUShares": "uint64 7", "BlockIOWeight": "uint64 20"}


def test_an_old_systemd_gets_only_properties_that_it_supports() -> None:
    limits = {"cpu": {"quota": 5000, "cpus": "0"}}
    assert list(props(limits, version=241)) == ["CPUQuotaPerSecUSec"]
    assert list(props(limits, version=243)) == ["CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec"]
    assert systemd.device_properties(devices.read_rules(Node({})["x"]), systemd.Systemd(239)) == {}


def test_an_update_of_the_period_alone_keeps_the_quota() -> None:
    assert props({"cpu": {"period": 900000}}, cpu_max=(450000, 900000)) == {
        "CPUQuotaPerSecUSec": "uint64 500000", "CPUQuotaPeriodUSec": "uint64 900000"}


def test_devices() -> None:
    rules = devices.read_rules(Node({"d": [{"allow": True, "type": "b", "major": 8, "minor": 1, "access": "r"},
                                           {"allow": True, "type": "c", "major": 10, "access": "rw"}]})["d"])
    found = systemd.device_properties(rules, MANAGER)
    assert found["DevicePolicy"] == "'strict'"
    kind, entries = gvariant.parse(found["DeviceAllow"])
    assert kind == "a(ss)"
    assert entries[:2] == [("/dev/block/8:1", "r"), ("char-10", "rw")]
    assert ("/dev/char/1:3", "rwm") in entries and ("char-136", "rwm") in entries and ("char-*", "m") in entries


@pytest.mark.parametrize("entries", [
    [{"allow": True, "access": "rwm"}],
    [{"allow": True, "type": "c", "access": "rw"}, {"allow": False, "type": "c", "major": 10, "access": "w"}],
    [{"allow": True, "type": "c", "minor": 3, "access": "rw"}],
])
def test_lists_of_devices_that_systemd_cannot_express(entries: list[dict[str, Any]]) -> None:
    assert systemd.device_properties(devices.read_rules(Node({"d": entries})["d"]), MANAGER) == {}


def annotated(**values: str) -> dict[str, str]:
    return systemd.annotated(Node({systemd.ANNOTATION + name: value for name, value in values.items()}))


def test_annotations() -> None:
    assert systemd.annotated(Node({"other": "x"})) == {}
    assert annotated(TimeoutStopUSec="uint64 5000", CollectMode="'inactive-or-failed'") == {
        "TimeoutStopUSec": "uint64 5000", "CollectMode": "'inactive-or-failed'"}
    assert annotated(TimeoutStopSec="7") == {"TimeoutStopUSec": "uint64 7000000"}
    assert annotated(RuntimeMaxSec="1.5") == {"RuntimeMaxUSec": "uint64 1500000"}


@pytest.mark.parametrize(("name", "value", "message"), [
    ("TimeoutStopUSec", "5x", "not a GVariant value"), ("TimeoutStopSec", "'7'", "not a number of seconds"),
    ("TimeoutStopSec", "-1", "not a number of seconds"), ("A_b", "1", "cannot be the name"), ("X", "1", "cannot be"),
    ("Slice", "'x.slice'", "set by the runtime"), ("PIDs", "[uint32 1]", "set by the runtime"),
    ("Delegate", "false", "set by the runtime"),
])
def test_wrong_annotations(name: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        annotated(**{name: value})
    assert caught.value.where == f'annotations["{systemd.ANNOTATION}{name}"]'


def emit(host: CgroupHost, manager: systemd.Systemd, **linux: Any) -> list[Step]:
    config = Node({"linux": linux})
    place = resources.placement(config, host, "c1", manager)
    return list(resources.emit(config, host, place, "c1", rootless=manager.user, slot=iter(range(64)).__next__))


def test_a_plan() -> None:
    steps = emit(V2, MANAGER, resources={"pids": {"limit": 7}, "hugepageLimits": [{"pageSize": "2MB", "limit": 0}]},
                 cgroupsPath="a-b.slice:p:x")
    path = "/cg/a.slice/a-b.slice/p-x.scope"
    names = [step.op.name for step in steps]
    assert names[0] == "cgroup_scope" and names[-2:] == ["cgroup_join", "cgroup_release"]
    assert "cgroup_create" not in names and "cgroup_devices" in names
    assert steps[0].args["unit"] == "p-x.scope" and steps[0].args["paths"] == [path] and not steps[0].args["user"]
    assert {"Slice='a-b.slice'", "Delegate=true", "DefaultDependencies=false", "TasksMax=uint64 7",
            "MemoryAccounting=true"} <= set(steps[0].args["properties"])
    # Controllers that systemd delegates are not enabled by the runtime; systemd does not support huge pages.
    enabled = [(step.args["path"], step.args["data"]) for step in steps
               if step.args.get("file") == "cgroup.subtree_control"]
    assert enabled == [("/cg", "+hugetlb"), ("/cg/a.slice", "+hugetlb"), ("/cg/a.slice/a-b.slice", "+hugetlb")]
    assert (path, "pids.max", "7") in [(step.args["path"], step.args["file"], step.args["data"]) for step in steps
                                       if step.op.name == "cgroup_write"]


def test_a_plan_of_a_user() -> None:
    steps = emit(V2, USER)
    names = [step.op.name for step in steps]
    assert names[0] == "cgroup_scope" and names[-2:] == ["cgroup_attach", "cgroup_release"] and steps[0].args["user"]
    assert not any(value.startswith("Device") for value in steps[0].args["properties"])


def test_a_plan_of_a_hybrid_host() -> None:
    steps = emit(HYBRID, MANAGER)
    assert "/cg/freezer/system.slice/pyruntime-c1.scope" in steps[0].args["paths"]
    assert "/cg/unified/system.slice/pyruntime-c1.scope" in steps[0].args["paths"]
    assert "BlockIOAccounting=true" in steps[0].args["properties"]
    assert not systemd.managed("freezer") and systemd.managed("cpu,cpuacct") and systemd.managed("")
    user = emit(HYBRID, USER)
    assert user[0].args["paths"] == ["/cg/unified" + USER.root + "/user.slice/pyruntime-c1.scope"]
    with pytest.raises(HostError, match="cannot delegate"):
        emit(HYBRID, USER, resources={"memory": {"limit": M}})


def test_limits_without_a_cgroup() -> None:
    resources.refuse_limits(Node({"linux": {"resources": {"devices": [{"allow": False, "access": "rwm"}]}}}), V2)
    with pytest.raises(HostError, match="disabled") as caught:
        resources.refuse_limits(Node({"linux": {"resources": {"pids": {"limit": 5}}}}), V2)
    assert caught.value.where == "linux.resources.pids.limit"
