"""linux.resources: the writes and their order, and the place that an error names."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from pyruntime.errors import ConfigError, HostError
from pyruntime.runtime.cgroups import resources, values
from pyruntime.runtime.cgroups.host import CgroupHost, Hierarchy
from pyruntime.runtime.config.node import Node
from pyruntime.runtime.plan.steps import Step

NAMES = ("blkio", "cpu,cpuacct", "cpuset", "devices", "freezer", "hugetlb", "memory", "net_cls,net_prio", "pids",
         "rdma")
V1 = CgroupHost([Hierarchy(name, 1, name.split(","), f"/cg/{name}") for name in NAMES], None)
V2 = CgroupHost([], Hierarchy("", 2, ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma"), "/cg", own="/x/y"))
BARE_V2 = CgroupHost([], Hierarchy("", 2, ("cpu",), "/cg"))
HYBRID = CgroupHost([Hierarchy(name, 1, (name,), f"/cg/{name}") for name in ("cpu", "devices", "memory")],
                    Hierarchy("", 2, ("hugetlb",), "/cg/unified"))


def emit(host: CgroupHost, limits: dict[str, Any] | None, *, rootless: bool = False, **linux: Any) -> list[Step]:
    if limits is not None:
        linux["resources"] = limits
    config = Node({"linux": linux})
    place = resources.placement(config, host, "c1")
    return list(resources.emit(config, host, place, "c1", rootless=rootless, slot=iter(range(64)).__next__))


def written(host: CgroupHost, **limits: Any) -> list[tuple[str, str, str]]:
    """(file, data, where below linux.resources) of every limit."""
    return [(step.args["file"], step.args["data"], step.where.removeprefix("linux.resources."))
            for step in emit(host, limits)
            if step.op.name == "cgroup_write" and not step.args["file"].startswith(("devices.", "cgroup.subtree"))]


V1_CASES: list[tuple[dict[str, Any], list[tuple[str, str, str]]]] = [
    ({"memory": {"limit": 100}}, [("memory.limit_in_bytes", "100", "memory.limit")]),
    ({"memory": {"limit": 100, "swap": 200}},
     [("memory.limit_in_bytes+memory.memsw.limit_in_bytes", "100+200", "memory.limit")]),
    ({"memory": {"limit": -1}},
     [("memory.limit_in_bytes+memory.memsw.limit_in_bytes?", "-1+-1", "memory.limit")]),
    ({"memory": {"swap": 200}}, [("memory.memsw.limit_in_bytes", "200", "memory.swap")]),
    ({"memory": {"limit": 0, "swap": 0, "reservation": 0, "kernel": 0, "disableOOMKiller": False}}, []),
    ({"memory": {"reservation": 5, "kernel": 6, "kernelTCP": 7, "swappiness": 0, "disableOOMKiller": True,
                 "useHierarchy": True}},
     [("memory.soft_limit_in_bytes", "5", "memory.reservation"),
      ("memory.kmem.limit_in_bytes?", "6", "memory.kernel"), ("memory.kmem.tcp.limit_in_bytes?", "7",
                                                              "memory.kernelTCP"),
      ("memory.swappiness", "0", "memory.swappiness"), ("memory.oom_control", "1", "memory.disableOOMKiller"),
      ("memory.use_hierarchy", "1", "memory.useHierarchy")]),
    ({"cpu": {"shares": 1024, "quota": 5000, "period": 10000, "burst": 1}},
     [("cpu.shares", "1024", "cpu.shares"),
      ("cpu.cfs_period_us+cpu.cfs_quota_us+cpu.cfs_burst_us", "10000+5000+1", "cpu.quota")]),
    ({"cpu": {"shares": 0, "quota": -1}}, [("cpu.cfs_quota_us", "-1", "cpu.quota")]),
    ({"cpu": {"burst": 0}}, [("cpu.cfs_burst_us", "0", "cpu.burst")]),
    ({"cpu": {"idle": 1, "shares": 2}}, [("cpu.shares+cpu.idle", "2+1", "cpu.shares")]),
    ({"cpu": {"idle": 0}}, [("cpu.idle", "0", "cpu.idle")]),
    ({"cpu": {"realtimeRuntime": 95, "realtimePeriod": 100, "cpus": "0-1", "mems": "0"}},
     [("cpuset.cpus", "0-1", "cpu.cpus"), ("cpuset.mems", "0", "cpu.mems"),
      ("cpu.rt_period_us+cpu.rt_runtime_us", "100+95", "cpu.realtimeRuntime")]),
    ({"pids": {"limit": -1}}, [("pids.max", "max", "pids.limit")]),
    ({"pids": {"limit": 0}}, [("pids.max", "1", "pids.limit")]),
    ({"pids": {"limit": 7}}, [("pids.max", "7", "pids.limit")]),
    ({"blockIO": {"weight": 10, "leafWeight": 20, "weightDevice": [{"major": 8, "minor": 0, "weight": 5,
                                                                    "leafWeight": 6}]}},
     [("blkio.weight|blkio.bfq.weight", "10", "blockIO.weight"), ("blkio.leaf_weight", "20", "blockIO.leafWeight"),
      ("blkio.weight_device|blkio.bfq.weight_device", "8:0 5", "blockIO.weightDevice[0].weight"),
      ("blkio.leaf_weight_device", "8:0 6", "blockIO.weightDevice[0].leafWeight")]),
    ({"blockIO": {"weight": 0}}, []),
    ({"blockIO": {name: [{"major": 8, "minor": 1, "rate": 9}] for name in (
        "throttleReadBpsDevice", "throttleWriteBpsDevice", "throttleReadIOPSDevice", "throttleWriteIOPSDevice")}},
     [("blkio.throttle.read_bps_device", "8:1 9", "blockIO.throttleReadBpsDevice[0]"),
      ("blkio.throttle.write_bps_device", "8:1 9", "blockIO.throttleWriteBpsDevice[0]"),
      ("blkio.throttle.read_iops_device", "8:1 9", "blockIO.throttleReadIOPSDevice[0]"),
      ("blkio.throttle.write_iops_device", "8:1 9", "blockIO.throttleWriteIOPSDevice[0]")]),
    ({"hugepageLimits": [{"pageSize": "2MB", "limit": 4}]},
     [("hugetlb.2MB.limit_in_bytes", "4", "hugepageLimits[0]"),
      ("hugetlb.2MB.rsvd.limit_in_bytes?", "4", "hugepageLimits[0]")]),
    ({"network": {"classID": 1048577, "priorities": [{"name": "lo", "priority": 3}]}},
     [("net_cls.classid", "1048577", "network.classID"), ("net_prio.ifpriomap", "lo 3", "network.priorities[0]")]),
    ({"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 100}}},
     [("rdma.max", "mlx5_1 hca_handle=3 hca_object=100", "rdma.mlx5_1")]),
]


@pytest.mark.parametrize(("limits", "expected"), V1_CASES)
def test_v1(limits: dict[str, Any], expected: list[tuple[str, str, str]]) -> None:
    assert written(V1, **limits) == expected


V2_CASES: list[tuple[dict[str, Any], list[tuple[str, str, str]]]] = [
    ({"memory": {"limit": 100}}, [("memory.max", "100", "memory.limit")]),
    ({"memory": {"limit": 100, "swap": 150, "reservation": 50}},
     [("memory.swap.max", "50", "memory.swap"), ("memory.max", "100", "memory.limit"),
      ("memory.low", "50", "memory.reservation")]),
    ({"memory": {"limit": 100, "swap": 100}},
     [("memory.swap.max?", "0", "memory.swap"), ("memory.max", "100", "memory.limit")]),
    ({"memory": {"limit": -1}}, [("memory.swap.max?", "max", "memory.limit"), ("memory.max", "max", "memory.limit")]),
    ({"memory": {"limit": 100, "swap": -1, "checkBeforeUpdate": True}},
     [("memory.swap.max?", "max", "memory.swap"), ("memory.max>memory.current", "100", "memory.limit")]),
    ({"memory": {"limit": 100, "swap": 300, "checkBeforeUpdate": True}},
     [("memory.swap.max>memory.swap.current", "200", "memory.swap"),
      ("memory.max>memory.current", "100", "memory.limit")]),
    ({"memory": {"kernel": -1, "disableOOMKiller": False, "useHierarchy": True}}, []),
    ({"cpu": {"shares": 1024}}, [("cpu.weight", "100", "cpu.shares")]),
    ({"cpu": {"shares": 512, "idle": 1}}, [("cpu.weight+cpu.idle", "59+1", "cpu.shares")]),
    ({"cpu": {"quota": 5000, "period": 10000, "burst": 10}},
     [("cpu.max+cpu.max.burst", "5000 10000+10", "cpu.quota")]),
    ({"cpu": {"quota": 5000}}, [("cpu.max", "5000", "cpu.quota")]),
    ({"cpu": {"quota": -1, "period": 10000}}, [("cpu.max", "max 10000", "cpu.quota")]),
    ({"cpu": {"period": 10000}}, [("cpu.max", "- 10000", "cpu.period")]),
    ({"cpu": {"cpus": "0", "mems": "0"}}, [("cpuset.cpus", "0", "cpu.cpus"), ("cpuset.mems", "0", "cpu.mems")]),
    ({"pids": {"limit": -1}}, [("pids.max", "max", "pids.limit")]),
    ({"blockIO": {"weight": 1000, "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
                  "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 7}],
                  "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 0}]}},
     [("io.bfq.weight|io.weight", "1000|10000", "blockIO.weight"),
      ("io.bfq.weight|io.weight", "8:0 10|8:0 1", "blockIO.weightDevice[0].weight"),
      ("io.max", "8:0 rbps=7", "blockIO.throttleReadBpsDevice[0]"),
      ("io.max", "8:0 wiops=max", "blockIO.throttleWriteIOPSDevice[0]")]),
    ({"hugepageLimits": [{"pageSize": "1GB", "limit": 4}]},
     [("hugetlb.1GB.max", "4", "hugepageLimits[0]"), ("hugetlb.1GB.rsvd.max?", "4", "hugepageLimits[0]")]),
    ({"rdma": {"a": {"hcaObjects": 0}}}, [("rdma.max", "a hca_object=0", "rdma.a")]),
    ({"network": {"classID": 0}}, []),
    ({"unified": {"memory.high": "7", "cgroup.max.depth": "2"}},
     [("memory.high", "7", 'unified["memory.high"]'), ("cgroup.max.depth", "2", 'unified["cgroup.max.depth"]')]),
]


@pytest.mark.parametrize(("limits", "expected"), V2_CASES)
def test_v2(limits: dict[str, Any], expected: list[tuple[str, str, str]]) -> None:
    assert written(V2, **limits) == expected


HOST_LACKS = [
    (V2, {"memory": {"kernel": 5}}, "memory.kernel"), (V2, {"memory": {"kernelTCP": 5}}, "memory.kernelTCP"),
    (V2, {"memory": {"swappiness": 0}}, "memory.swappiness"),
    (V2, {"memory": {"disableOOMKiller": True}}, "memory.disableOOMKiller"),
    (V2, {"memory": {"useHierarchy": False}}, "memory.useHierarchy"),
    (V2, {"cpu": {"realtimeRuntime": 5}}, "cpu.realtimeRuntime"), (V2, {"blockIO": {"leafWeight": 5}},
                                                                   "blockIO.leafWeight"),
    (V2, {"network": {"classID": 5}}, "network.classID"),
    (V2, {"network": {"priorities": [{"name": "lo", "priority": 1}]}}, "network.priorities"),
    (V2, {"unified": {"misc.max": "1"}}, 'unified["misc.max"]'),
    (V2, {"unified": {"../x": "1"}}, 'unified["../x"]'), (V2, {"unified": {"a|b": "1"}}, 'unified["a|b"]'),
    (V1, {"unified": {"memory.high": "1"}}, 'unified["memory.high"]'),
    (HYBRID, {"unified": {"memory.high": "1"}}, 'unified["memory.high"]'),
    (BARE_V2, {"memory": {"limit": 1}}, "memory.limit"), (BARE_V2, {"blockIO": {"weight": 100}}, "blockIO.weight"),
    (HYBRID, {"pids": {"limit": 1}}, "pids.limit"), (HYBRID, {"cpu": {"cpus": "0"}}, "cpu.cpus"),
    (HYBRID, {"network": {"classID": 1}}, "network.classID"),
]


@pytest.mark.parametrize(("host", "limits", "where"), HOST_LACKS)
def test_missing_controllers_are_named(host: CgroupHost, limits: dict[str, Any], where: str) -> None:
    with pytest.raises(HostError) as caught:
        emit(host, limits)
    assert caught.value.where == "linux.resources." + where


MISTAKES = [
    ({"memory": {"limit": 100, "swap": 50}}, 'memory.swap: memory+swap limit should be >= memory limit'),
    ({"memory": {"limit": -2}}, "memory.limit: invalid memory value: -2"),
    ({"memory": {"swappiness": 101}}, "memory.swappiness: invalid memory swappiness value: 101"),
    ({"cpu": {"shares": 1}}, "cpu.shares: 1: the minimum allowed cpu-shares is 2"),
    ({"cpu": {"shares": 262145}}, "cpu.shares: 262145: the maximum allowed cpu-shares is 262144"),
    ({"cpu": {"quota": 10, "burst": 11}}, "cpu.burst: 11 is larger than the quota 10"),
    ({"pids": {"limit": -2}}, "pids.limit: invalid pids limit -2"),
    ({"hugepageLimits": [{"pageSize": "2M", "limit": 1}]}, 'hugepageLimits[0].pageSize: invalid page size "2M"'),
    ({"hugepageLimits": [{"pageSize": "../2MB", "limit": 1}]}, 'hugepageLimits[0].pageSize: invalid page size'),
    ({"rdma": {"a b": {"hcaHandles": 1}}}, 'rdma["a b"]: "a b" cannot be the name'),
    ({"rdma": {"a": {}}}, "rdma.a: neither"),
]


@pytest.mark.parametrize(("limits", "message"), MISTAKES)
def test_mistakes_name_their_place(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        emit(V1, limits)
    assert str(caught.value).startswith("config.json: linux.resources." + message)


@pytest.mark.parametrize("memory", [{"swap": 5}, {"limit": -1, "swap": 5}])
def test_v2_cannot_limit_swap_without_a_memory_limit(memory: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="unable to set swap limit with"):
        emit(V2, {"memory": memory})


def test_weights_are_converted_monotonically_at_the_limits_and_the_default() -> None:
    assert [values.shares_to_weight(shares) for shares in (1, 2, 1024, 262144, 300000)] == [1, 1, 100, 10000, 10000]
    weights = [values.shares_to_weight(shares) for shares in range(2, 262145, 97)]
    assert weights == sorted(weights)
    assert [values.blkio_to_io_weight(weight) for weight in (1, 10, 500, 1000, 65535)] == [1, 1, 4950, 10000, 10000]


# --- the shape of the plan -------------------------------------------------------------------------------------------

def test_a_cgroup_is_created_and_joined_in_every_hierarchy() -> None:
    steps = emit(V1, None)
    made = [step.args["path"] for step in steps if step.op.name == "cgroup_create"]
    assert made == [f"/cg/{name}/c1" for name in NAMES]
    opened = [step for step in steps if step.op.name == "open_file"]
    assert [step.args["path"] for step in opened] == [f"{path}/tasks" for path in made]
    [join] = [step for step in steps if step.op.name == "join_cgroup_self"]
    assert (join.phase, list(join.args["slots"]), join.tolerate) == (
        "join", [step.args["slot"] for step in opened], ())
    assert {step.phase for step in steps} == {"cgroup", "enter", "join"}


def test_v2_enables_controllers_from_the_root_down() -> None:
    steps = [step for step in emit(V2, {"memory": {"limit": 1}, "pids": {"limit": 1}}, cgroupsPath="/a/b")
             if step.args.get("file") == "cgroup.subtree_control"]
    assert [(step.args["path"], step.args["data"]) for step in steps if not step.tolerate] == [
        ("/cg", "+memory +pids"), ("/cg/a", "+memory +pids")]
    assert [(step.args["path"], step.args["data"]) for step in steps if step.tolerate] == [
        ("/cg", "+cpuset +cpu +io +hugetlb +rdma"), ("/cg/a", "+cpuset +cpu +io +hugetlb +rdma")]
    assert {step.where for step in steps if not step.tolerate} == {"linux.resources"}


def test_a_required_controller_names_its_place() -> None:
    steps = emit(V2, {"memory": {"limit": 1}})
    assert [step.where for step in steps if step.args.get("data") == "+memory"] == ["linux.resources.memory.limit"] * 2


def test_hybrid_uses_the_hierarchy_of_each_controller() -> None:
    steps = emit(HYBRID, {"memory": {"limit": 1}, "hugepageLimits": [{"pageSize": "2MB", "limit": 0}]})
    paths = [(step.args["path"], step.args["file"]) for step in steps if step.op.name == "cgroup_write"
             and not step.args["file"].startswith("devices.")]
    assert paths == [("/cg/unified", "cgroup.subtree_control"), ("/cg/memory/c1", "memory.limit_in_bytes"),
                     ("/cg/unified/c1", "hugetlb.2MB.max"), ("/cg/unified/c1", "hugetlb.2MB.rsvd.max?")]


def test_writes_come_after_the_directories() -> None:
    names = [step.op.name for step in emit(V2, {"memory": {"limit": 1}})]
    assert names.index("cgroup_write") > max(i for i, name in enumerate(names) if name == "cgroup_create")
    assert names[-1] == "cgroup_join"


def test_rootless_leaves_out_hierarchies_that_are_not_writable() -> None:
    steps = emit(V1, {"pids": {"limit": 5}}, rootless=True)
    create = {step.args["path"]: step.tolerate for step in steps if step.op.name == "cgroup_create"}
    assert create.pop("/cg/pids/c1") == ()
    [pids] = [step for step in steps if step.op.name == "cgroup_create" and "pids" in step.args["path"]]
    assert pids.where == "linux.resources.pids.limit"
    assert all(errno.EACCES in tolerate and errno.EROFS in tolerate for tolerate in create.values())
    opened = {step.args["path"]: step for step in steps if step.op.name == "open_file"}
    joined = {number: bool(step.tolerate) for step in steps if step.op.name == "join_cgroup_self"
              for number in step.args["slots"]}
    for name, lenient in (("pids", False), ("memory", True)):
        step = opened[f"/cg/{name}/c1/tasks"]
        assert (bool(step.tolerate), joined[step.args["slot"]]) == (lenient, lenient)
    assert all(step.tolerate for step in steps if step.args.get("file", "").startswith("devices."))


def test_rootless_with_a_path_requires_that_path() -> None:
    steps = emit(V1, None, rootless=True, cgroupsPath="/a")
    assert not any(step.tolerate for step in steps if step.op.name in ("cgroup_create", "cgroup_join"))


def test_no_cgroups_at_all() -> None:
    nothing = CgroupHost([], None)
    with pytest.raises(HostError, match="no cgroup filesystem is mounted"):
        emit(nothing, None)
    assert emit(nothing, None, rootless=True) == []
    with pytest.raises(HostError) as caught:
        emit(nothing, {"memory": {"limit": 1}}, rootless=True)
    assert caught.value.where == "linux.resources.memory.limit"


def test_update_writes_only_limits() -> None:
    steps = list(resources.update(Node({"memory": {"limit": 5}, "devices": [{"allow": True, "access": "rwm"}]}, ""),
                                  V1, {"memory": "/cg/memory/c1"}))
    assert [(step.args["path"], step.args["file"]) for step in steps] == [("/cg/memory/c1", "memory.limit_in_bytes")]
    with pytest.raises(HostError):
        list(resources.update(Node({"pids": {"limit": 5}}, ""), V1, {"memory": "/cg/memory/c1"}))
