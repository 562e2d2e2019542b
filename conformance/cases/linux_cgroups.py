"""config-linux.md#control-groups: the path, the controllers, and the files for resources in cgroup v1 and v2."""

from __future__ import annotations

import os
from pathlib import Path

from conformance.lib.bundle import Config, add_namespace, mount, use_user_namespace
from conformance.lib.container import Container, RuntimeHangs
from conformance.lib.host import cgroup_mounts
from conformance.lib.requirement import requirement
from conformance.lib.trial import Trial

PATHS = "config-linux.md#cgroups-path"
OWNERSHIP = "config-linux.md#cgroup-ownership"
DEVICES = "config-linux.md#allowed-device-list"
MEMORY = "config-linux.md#memory"
CPU = "config-linux.md#cpu"
BLOCK = "config-linux.md#block-io"
HUGE = "config-linux.md#huge-page-limits"
NETWORK = "config-linux.md#network"
PIDS = "config-linux.md#pids"
RDMA = "config-linux.md#rdma"
UNIFIED = "config-linux.md#unified"
MIB = 2**20


def with_resources(t: Trial, script: str = "", **resources: object) -> Config:
    config = t.config(script) if script else t.sleeper()
    config["linux"]["cgroupsPath"] = f"/{t.new_id()}"
    config["linux"]["resources"] |= resources
    return config


# -- the path ----------------------------------------------------------------------------------------------------------


@requirement(PATHS, "an absolute cgroupsPath is relative to the mount point of the hierarchy")
def absolute_path(t: Trial) -> None:
    t.need_controller("pids")
    config = t.sleeper()
    config["linux"]["cgroupsPath"] = f"/{t.new_id()}/inner"
    container = t.start(config)
    top = cgroup_mounts()["" if t.host.cgroup == "v2" else "pids"]
    expected = top / config["linux"]["cgroupsPath"].lstrip("/")
    seen = t.cgroup(container, "pids")
    # crun puts the process into a sub-cgroup "container" on v2: the configured cgroup is still the container's.
    t.check(expected in (seen, seen.parent), f"cgroup: expected {expected}, got {seen}")


@requirement(PATHS, "the same cgroupsPath always refers to the same cgroup, absolute or relative")
def same_place(t: Trial) -> None:
    t.need_controller("pids")
    for path in (f"/{t.new_id()}", f"{t.new_id()}/relative"):
        seen = []
        for _ in range(2):
            config = t.sleeper()
            config["linux"]["cgroupsPath"] = path
            container = t.start(config)
            seen.append(t.cgroup(container, "pids"))
            t.succeed(container.kill(), "kill")
            container.wait()
            t.succeed(container.delete(), "delete")
        t.equal(seen[0], seen[1], f"cgroups of two containers with the cgroupsPath {path}")


@requirement(PATHS, "a cgroupsPath cannot leave the hierarchy", level="MUST NOT")
def climbing_path(t: Trial) -> None:
    name = t.new_id()
    config = t.sleeper()
    config["linux"]["cgroupsPath"] = f"/../../../{name}"
    container = t.container(config)
    if container.create().status == 0:
        t.check(not Path(f"/{name}").exists(), "a directory was created outside the cgroup hierarchy")
        t.check(not Path(f"/sys/{name}").exists(), "a directory was created outside the cgroup hierarchy")


@requirement(PATHS, "two containers without a cgroupsPath do not share a cgroup")
def default_paths_differ(t: Trial) -> None:
    t.need_controller("pids")
    one, two = t.start(t.sleeper()), t.start(t.sleeper())
    t.check(t.cgroup(one, "pids") != t.cgroup(two, "pids"), "both containers are in one cgroup")


@requirement(PATHS, "the container process is in its cgroup before the program runs")
def in_cgroup_before_start(t: Trial) -> None:
    t.need_controller("pids")
    container = t.create(with_resources(t))
    name = container.config["linux"]["cgroupsPath"].strip("/")
    t.check(name in t.cgroup(container, "pids").parts, "the created process is not in the container's cgroup")


@requirement(
    "config-linux.md#control-groups", "a refused frozen cgroup generates an error and is not changed"
)
def frozen_cgroup(t: Trial) -> None:
    t.need_v2()
    folder = cgroup_mounts()[""] / t.new_id()
    folder.mkdir()
    try:
        (folder / "cgroup.freeze").write_text("1")
        config = t.sleeper()
        config["linux"]["cgroupsPath"] = f"/{folder.name}"
        container = t.container(config)
        try:
            done = container.create()
        except RuntimeHangs:
            t.skip("the runtime does not check, which is permitted, and waits for the cgroup to be thawed")
        if done.status:
            t.check(done.said, "the error has no message")
    finally:
        (folder / "cgroup.freeze").write_text("0")


# -- ownership ---------------------------------------------------------------------------------------------------------


def _ownership(name: str, rule: str, options: tuple[str, ...], namespace: bool, mapped: bool) -> None:
    @requirement(OWNERSHIP, rule, level="SHOULD" if mapped else "SHOULD NOT", name=f"ownership_{name}")
    def case(t: Trial) -> None:
        t.need_v2()
        config = t.sleeper()
        use_user_namespace(config)
        if namespace:
            add_namespace(config, "cgroup")
        if options:
            config["mounts"].append(mount("/sys/fs/cgroup", "cgroup", "cgroup", *options))
        folder = t.cgroup(t.start(config), "")
        expected = 100000 if mapped else 0
        t.equal(folder.stat().st_uid, expected, f"owner of {folder}")
        t.equal((folder / "cgroup.procs").stat().st_uid, expected, "owner of cgroup.procs")
        t.equal((folder / "memory.max").stat().st_uid, 0, "owner of memory.max")


_ownership("writable", "a writable cgroup mount: the cgroup belongs to the container's user", ("rw",), True, True)
_ownership("readonly", "a read-only cgroup mount: the owner of the cgroup is not changed", ("ro",), True, False)
_ownership("no_mount", "no cgroup mount: the owner of the cgroup is not changed", (), True, False)


@requirement(OWNERSHIP, "in cgroup v1 the owner of the cgroup is not changed", level="SHOULD NOT")
def ownership_v1(t: Trial) -> None:
    t.need_v1()
    config = t.sleeper()
    use_user_namespace(config)
    add_namespace(config, "cgroup")
    config["mounts"].append(mount("/sys/fs/cgroup", "cgroup", "cgroup", "rw"))
    t.equal(t.cgroup(t.start(config), "pids").stat().st_uid, 0, "owner of the cgroup")


# -- devices -----------------------------------------------------------------------------------------------------------


def _device_rules(t: Trial, *rules: Config) -> list[str]:
    """The access to a device without a driver (10:250) under these rules: "not permitted" comes from the cgroup.

    mknod is not tried: runtimes allow it, and the default devices, in addition to any list.
    """
    config = t.config(
        "(exec 3</dev/conf) 2>&1 | grep -q 'not permitted' || echo read; "
        "(exec 3>/dev/conf) 2>&1 | grep -q 'not permitted' || echo write; "
        "echo end"
    )
    config["linux"]["devices"] = [{"type": "c", "path": "/dev/conf", "major": 10, "minor": 250, "fileMode": 0o666}]
    config["linux"]["resources"]["devices"] = list(rules)
    return t.output(config).split()[:-1]


_DENY = {"allow": False, "access": "rwm"}


def _rule(allow: bool, access: str, **numbers: object) -> Config:
    return {"allow": allow, "access": access, "type": "c"} | numbers


_CASES: dict[str, tuple[str, list[Config], list[str]]] = {
    "deny_all": ("a rule that denies everything", [_DENY], []),
    "read": ("allowing read only", [_DENY, _rule(True, "r", major=10, minor=250)], ["read"]),
    "write": ("allowing write only", [_DENY, _rule(True, "w", major=10, minor=250)], ["write"]),
    "read_write": ("allowing read and write", [_DENY, _rule(True, "rw", major=10, minor=250)], ["read", "write"]),
    "all_three": (
        "allowing read, write and mknod allows read and write",
        [_DENY, _rule(True, "rwm", major=10, minor=250)],
        ["read", "write"],
    ),
    "any_minor": ("an unset minor means all", [_DENY, _rule(True, "rw", major=10)], ["read", "write"]),
    "other_minor": ("a rule for another minor has no effect", [_DENY, _rule(True, "rwm", major=10, minor=251)], []),
    "block_is_not_char": (
        "a rule for block devices has no effect on character devices",
        [_DENY, {"allow": True, "type": "b", "major": 10, "minor": 250, "access": "rwm"}],
        [],
    ),
    "order_deny_last": (
        "rules are applied in the listed order: a denial after a permission",
        [_DENY, _rule(True, "rw", major=10, minor=250), _rule(False, "w", major=10, minor=250)],
        ["read"],
    ),
    "order_deny_all_last": (
        "rules are applied in the listed order: denying everything last",
        [_rule(True, "rw", major=10, minor=250), _DENY],
        [],
    ),
    "order_allow_all_last": (
        "rules are applied in the listed order: allowing everything last",
        [_DENY, {"allow": True, "access": "rwm"}],
        ["read", "write"],
    ),
}


def _allowed(name: str, rule: str, rules: list[Config], expected: list[str]) -> None:
    @requirement(DEVICES, rule, name=f"devices_{name}")
    def case(t: Trial) -> None:
        if t.host.cgroup != "v2":
            t.need_controller("devices")
        t.equal(_device_rules(t, *rules), expected, "allowed access")


for _name, (_rule_text, _rules, _expected) in _CASES.items():
    _allowed(_name, _rule_text, _rules, _expected)


@requirement(DEVICES, "an unknown device type in a rule generates an error")
def devices_unknown_type(t: Trial) -> None:
    t.refused(with_resources(t, devices=[{"allow": True, "type": "z", "access": "r"}]), 'a device rule of type "z"')


@requirement(DEVICES, "an unknown letter in a rule's access generates an error, or a warning")
def devices_unknown_access(t: Trial) -> None:
    rules = [{"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rx"}]
    config = with_resources(t, devices=rules)
    t.refused_or_named(config, 'a device rule with the access "rx"', "devices[0].access")


# -- values ------------------------------------------------------------------------------------------------------------


def _value(
    name: str, section: str, rule: str, controller: str, resources: Config, *, v1: tuple[str, str], v2: tuple[str, str]
) -> None:
    """One property: the control file and the expected text, in each version; an empty file name: no such file.

    " or " separates alternatives: shares have an old, linear conversion to v2 and a newer conversion.
    """

    @requirement(section, rule, name=name)
    def case(t: Trial) -> None:
        unified = t.host.cgroup == "v2"
        file, expected = v2 if unified else v1
        kind = "v2" if unified else "v1"
        t.skip_unless(file, f"cgroup {kind} has no counterpart of this property")
        t.need_controller(controller)
        top = cgroup_mounts()["" if unified else controller]
        probe = next(iter(sorted(path for path in top.iterdir() if (path / file).exists())), None)
        known = (top / file).exists() or probe is not None or _in_fresh_cgroup(top, t.new_id(), file)
        t.skip_unless(known, f'the kernel\'s {controller} controller has no "{file}"')
        container = t.start(with_resources(t, **resources))
        seen = _configured_value(t, container, controller, file)
        t.check(seen in expected.split(" or "), f"{file}: expected {expected}, got {seen}")


def _in_fresh_cgroup(top: Path, name: str, file: str) -> bool:
    folder = top / name
    folder.mkdir()
    try:
        return (folder / file).exists()
    finally:
        folder.rmdir()


def _configured_value(t: Trial, container: Container, controller: str, file: str) -> str:
    """Limits are set on the configured cgroup; the process may be in a cgroup below it."""
    folder = t.cgroup(container, controller)
    name = container.config["linux"]["cgroupsPath"].strip("/")
    while folder.name != name and name in folder.parts:
        folder = folder.parent
    return (folder / file).read_text().strip()


_value(
    "memory_limit", MEMORY, "memory.limit", "memory", {"memory": {"limit": 64 * MIB}},
    v1=("memory.limit_in_bytes", str(64 * MIB)), v2=("memory.max", str(64 * MIB)),
)  # fmt: skip
_value(
    "memory_reservation", MEMORY, "memory.reservation", "memory", {"memory": {"reservation": 32 * MIB}},
    v1=("memory.soft_limit_in_bytes", str(32 * MIB)), v2=("memory.low", str(32 * MIB)),
)  # fmt: skip
_value(
    "memory_swap", MEMORY, "memory.swap is the sum of memory and swap", "memory",
    {"memory": {"limit": 64 * MIB, "swap": 96 * MIB}},
    v1=("memory.memsw.limit_in_bytes", str(96 * MIB)), v2=("memory.swap.max", str(32 * MIB)),
)  # fmt: skip
_value(
    "memory_unlimited", MEMORY, "memory.limit -1 means no limit", "memory", {"memory": {"limit": -1}},
    v1=("memory.limit_in_bytes", "9223372036854771712"), v2=("memory.max", "max"),
)  # fmt: skip
_value(
    "memory_swap_unlimited", MEMORY, "memory.swap -1 means no limit", "memory",
    {"memory": {"limit": 64 * MIB, "swap": -1}},
    v1=("memory.memsw.limit_in_bytes", "9223372036854771712"), v2=("memory.swap.max", "max"),
)  # fmt: skip
_value(
    "memory_kernel_tcp", MEMORY, "memory.kernelTCP", "memory", {"memory": {"kernelTCP": 64 * MIB}},
    v1=("memory.kmem.tcp.limit_in_bytes", str(64 * MIB)), v2=("", ""),
)  # fmt: skip
_value(
    "memory_swappiness", MEMORY, "memory.swappiness", "memory", {"memory": {"swappiness": 42}},
    v1=("memory.swappiness", "42"), v2=("", ""),
)  # fmt: skip
_value(
    "memory_swappiness_0", MEMORY, "memory.swappiness 0 is a value", "memory", {"memory": {"swappiness": 0}},
    v1=("memory.swappiness", "0"), v2=("", ""),
)  # fmt: skip
_value(
    "cpu_shares", CPU, "cpu.shares", "cpu", {"cpu": {"shares": 512}},
    v1=("cpu.shares", "512"), v2=("cpu.weight", "20 or 59"),
)  # fmt: skip
_value(
    "cpu_quota", CPU, "cpu.quota and cpu.period: the quota", "cpu", {"cpu": {"quota": 50000, "period": 200000}},
    v1=("cpu.cfs_quota_us", "50000"), v2=("cpu.max", "50000 200000"),
)  # fmt: skip
_value(
    "cpu_period", CPU, "cpu.quota and cpu.period: the period", "cpu", {"cpu": {"quota": 50000, "period": 200000}},
    v1=("cpu.cfs_period_us", "200000"), v2=("cpu.max", "50000 200000"),
)  # fmt: skip
_value(
    "cpu_quota_unlimited", CPU, "cpu.quota -1 means no limit", "cpu", {"cpu": {"quota": -1, "period": 200000}},
    v1=("cpu.cfs_quota_us", "-1"), v2=("cpu.max", "max 200000"),
)  # fmt: skip
_value(
    "cpu_burst", CPU, "cpu.burst", "cpu", {"cpu": {"quota": 100000, "period": 100000, "burst": 50000}},
    v1=("cpu.cfs_burst_us", "50000"), v2=("cpu.max.burst", "50000"),
)  # fmt: skip
_value(
    "cpu_idle", CPU, "cpu.idle", "cpu", {"cpu": {"idle": 1}},
    v1=("cpu.idle", "1"), v2=("cpu.idle", "1"),
)  # fmt: skip
_value(
    "cpuset_cpus", CPU, "cpu.cpus", "cpuset", {"cpu": {"cpus": "0"}},
    v1=("cpuset.cpus", "0"), v2=("cpuset.cpus", "0"),
)  # fmt: skip
_value(
    "cpuset_mems", CPU, "cpu.mems", "cpuset", {"cpu": {"mems": "0"}},
    v1=("cpuset.mems", "0"), v2=("cpuset.mems", "0"),
)  # fmt: skip
_value(
    "pids_limit", PIDS, "pids.limit", "pids", {"pids": {"limit": 77}},
    v1=("pids.max", "77"), v2=("pids.max", "77"),
)  # fmt: skip
_value(
    "pids_unlimited", PIDS, "pids.limit -1 means no limit", "pids", {"pids": {"limit": -1}},
    v1=("pids.max", "max"), v2=("pids.max", "max"),
)  # fmt: skip
_value(
    "hugepage_limit", HUGE, "hugepageLimits: the limit of a page size", "hugetlb",
    {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]},
    v1=("hugetlb.2MB.limit_in_bytes", str(4 * MIB)), v2=("hugetlb.2MB.max", str(4 * MIB)),
)  # fmt: skip
_value(
    "hugepage_reservation", HUGE, "hugepageLimits limit the reservation too, if the kernel supports it", "hugetlb",
    {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]},
    v1=("hugetlb.2MB.rsvd.limit_in_bytes", str(4 * MIB)), v2=("hugetlb.2MB.rsvd.max", str(4 * MIB)),
)  # fmt: skip
_value(
    "network_class", NETWORK, "network.classID", "net_cls", {"network": {"classID": 1048577}},
    v1=("net_cls.classid", "1048577"), v2=("", ""),
)  # fmt: skip
_value(
    "block_weight", BLOCK, "blockIO.weight", "blkio", {"blockIO": {"weight": 500}},
    v1=("blkio.bfq.weight", "500"), v2=("", ""),
)  # fmt: skip
_value(
    "block_weight_v2", BLOCK, "blockIO.weight (v2)", "io", {"blockIO": {"weight": 500}},
    v1=("", ""), v2=("io.bfq.weight", "default 500"),
)  # fmt: skip


def _disk() -> tuple[int, int] | None:
    """A whole disk of the host."""
    for entry in sorted(Path("/sys/block").iterdir()):
        if entry.name.startswith(("vd", "sd", "nvme", "xvd")):
            major, minor = (entry / "dev").read_text().strip().split(":")
            return int(major), int(minor)
    return None


def _throttle(key: str, v1: str, v2: str) -> None:
    @requirement(BLOCK, f"blockIO.{key}", name=f"block_{key}")
    def case(t: Trial) -> None:
        t.need_controller("io" if t.host.cgroup == "v2" else "blkio")
        disk = _disk()
        if disk is None:
            t.skip("the host has no disk to throttle")
        major, minor = disk
        entries = [{"major": major, "minor": minor, "rate": 102400}]
        container = t.start(with_resources(t, blockIO={key: entries}))
        if t.host.cgroup == "v2":
            seen = _configured_value(t, container, "io", "io.max")
            t.check(f"{major}:{minor}" in seen and f"{v2}=102400" in seen, f"io.max is {seen!r}")
        else:
            seen = _configured_value(t, container, "blkio", f"blkio.throttle.{v1}")
            t.equal(seen, f"{major}:{minor} 102400", v1)


_throttle("throttleReadBpsDevice", "read_bps_device", "rbps")
_throttle("throttleWriteBpsDevice", "write_bps_device", "wbps")
_throttle("throttleReadIOPSDevice", "read_iops_device", "riops")
_throttle("throttleWriteIOPSDevice", "write_iops_device", "wiops")


@requirement(PIDS, "pids.limit 0 is a limit, not the absence of a limit", level="SHOULD")
def pids_zero(t: Trial) -> None:
    t.need_controller("pids")
    config = with_resources(t, pids={"limit": 0}) | {"ociVersion": "1.3.0"}
    container = t.container(config)
    if container.create().status == 0:  # a runtime that forks inside the cgroup may also fail
        value = _configured_value(t, container, "pids", "pids.max")
        t.check(value in ("0", "1"), f"pids.max is {value}")


@requirement(PIDS, "pids.limit applies: the container cannot have more processes")
def pids_enforced(t: Trial) -> None:
    t.need_controller("pids")
    script = "i=0; while [ $i -lt 40 ]; do sleep 1 & i=$((i+1)); done 2>/dev/null; echo all"
    container = t.run(with_resources(t, script, pids={"limit": 20}))
    t.check("all" not in container.stdout, "40 processes were started under a limit of 20")


@requirement(MEMORY, "memory.limit applies: a process that exceeds it is killed")
def memory_enforced(t: Trial) -> None:
    t.need_controller("memory")
    limits = {"limit": 16 * MIB, "swap": 16 * MIB}
    script = "(head -c 100000000 /dev/zero | tail >/dev/null) 2>/dev/null && echo survived; echo end"
    container = t.run(with_resources(t, script, memory=limits))
    t.check("survived" not in container.stdout, "100 MB were used under a limit of 16 MiB")


@requirement(MEMORY, "memory.disableOOMKiller true disables it (v1)")
def oom_killer(t: Trial) -> None:
    t.need_v1()
    t.need_controller("memory")
    container = t.start(with_resources(t, memory={"limit": 64 * MIB, "disableOOMKiller": True}))
    seen = _configured_value(t, container, "memory", "memory.oom_control").split("\n")[0]
    t.equal(seen, "oom_kill_disable 1", "memory.oom_control")


@requirement(CPU, "cpu.cpus applies: the process can use only these CPUs")
def cpus_enforced(t: Trial) -> None:
    t.need_controller("cpuset")
    container = t.start(with_resources(t, cpu={"cpus": "0"}))
    t.equal(os.sched_getaffinity(container.pid), {0}, "CPU affinity of the process")


def _bad(name: str, section: str, controller: str, why: str, resources: Config) -> None:
    @requirement(section, f"{why} generates an error", name=f"bad_{name}")
    def case(t: Trial) -> None:
        t.need_controller(controller)
        t.refused(with_resources(t, **resources), why)


_bad("cpus", CPU, "cpuset", "a list of CPUs that do not exist", {"cpu": {"cpus": "4000-4001"}})
_bad("cpus_text", CPU, "cpuset", "an invalid list of CPUs", {"cpu": {"cpus": "first"}})
_bad("mems", CPU, "cpuset", "a list of memory nodes that do not exist", {"cpu": {"mems": "900"}})
_bad("quota", CPU, "cpu", "a quota below the kernel's minimum", {"cpu": {"quota": 10, "period": 100000}})
_bad(
    "hugepage_size",
    HUGE,
    "hugetlb",
    "a page size that does not exist",
    {"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]},
)


_bad(
    "weight_device",
    BLOCK,
    "blkio",
    "a weightDevice with neither weight nor leafWeight",
    {"blockIO": {"weightDevice": [{"major": 8, "minor": 0}]}},
)
_bad("rdma_empty", RDMA, "rdma", "an RDMA device without limits", {"rdma": {"mlx5_1": {}}})


def _only_in_v1(name: str, section: str, what: str, resources: Config) -> None:
    @requirement(section, f"{what} has no conversion to cgroup v2 and generates an error", name=f"only_in_v1_{name}")
    def case(t: Trial) -> None:
        t.need_v2()
        t.refused(with_resources(t, **resources), f"{what} on cgroup v2")


_only_in_v1("leaf_weight", UNIFIED, "blockIO.leafWeight", {"blockIO": {"leafWeight": 300}})
_only_in_v1("realtime", UNIFIED, "cpu.realtimeRuntime", {"cpu": {"realtimeRuntime": 5000, "realtimePeriod": 1000000}})
_only_in_v1("swappiness", UNIFIED, "memory.swappiness", {"memory": {"swappiness": 40}})
_only_in_v1("oom_killer", UNIFIED, "memory.disableOOMKiller", {"memory": {"disableOOMKiller": True}})
_only_in_v1("class", UNIFIED, "network.classID", {"network": {"classID": 1}})


@requirement(
    "config-linux.md#devices", "without any rule a device that is not listed cannot be used", level="SHOULD NOT"
)
def devices_default_deny(t: Trial) -> None:
    config = t.config("mknod /tmp/c c 10 250; (exec 3</tmp/c) 2>&1 | grep -q 'not permitted' && echo refused")
    del config["linux"]["resources"]
    t.equal(t.run(config).stdout.strip(), "refused", "opening a device that is not listed")


def _unified_controllers() -> list[str]:
    """What the cgroup2 hierarchy has: on a hybrid host a runtime may take a controller from there."""
    mounts = cgroup_mounts()
    return (mounts[""] / "cgroup.controllers").read_text().split() if "" in mounts else []


def _missing(name: str, section: str, controller: str, resources: Config) -> None:
    @requirement(
        section, f"limits of a missing controller ({controller}) generate an error", name=f"missing_{name}"
    )
    def case(t: Trial) -> None:
        there = controller in t.host.controllers or controller in _unified_controllers()
        t.skip_unless(not there, f"the controller {controller} is available")
        t.refused(with_resources(t, **resources), f"limits of the missing controller {controller}")


_missing("hugetlb", HUGE, "hugetlb", {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]})
_missing("net_cls", NETWORK, "net_cls", {"network": {"classID": 1}})
_missing("rdma", RDMA, "rdma", {"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}}})


# -- unified -----------------------------------------------------------------------------------------------------------


def _unified(name: str, file: str, value: str, controller: str) -> None:
    @requirement(UNIFIED, f"unified: {file} is written", name=f"unified_{name}")
    def case(t: Trial) -> None:
        t.need_v2()
        t.need_controller(controller)
        container = t.start(with_resources(t, unified={file: value}))
        t.equal(_configured_value(t, container, controller, file), value, file)


_unified("memory_high", "memory.high", str(48 * MIB), "memory")
_unified("pids_max", "pids.max", "55", "pids")
_unified("cpu_weight", "cpu.weight", "33", "cpu")
_unified("unknown_to_runtimes", "memory.oom.group", "1", "memory")


@requirement(UNIFIED, "unified: a missing controller generates an error")
def unified_missing_controller(t: Trial) -> None:
    t.need_v2()
    t.refused(with_resources(t, unified={"dreams.max": "1"}), "unified with an unknown controller")


@requirement(UNIFIED, "unified: a file that the controller does not have generates an error")
def unified_missing_file(t: Trial) -> None:
    t.need_v2()
    t.refused(with_resources(t, unified={"memory.nonsense": "1"}), "unified with an unknown file")


@requirement(UNIFIED, "unified: a name with a slash generates an error: it is not a file of the cgroup")
def unified_slash(t: Trial) -> None:
    t.need_v2()
    t.refused(with_resources(t, unified={"../memory.high": "1"}), "unified with a path")


@requirement(UNIFIED, "unified on a host without cgroup v2 generates an error")
def unified_on_v1(t: Trial) -> None:
    t.need_v1()
    t.refused(with_resources(t, unified={"memory.high": "50000000"}), "unified without cgroup v2")


@requirement(UNIFIED, "the needed controllers are enabled for the container's cgroup")
def unified_controllers(t: Trial) -> None:
    t.need_v2()
    config = with_resources(t, unified={"pids.max": "55", "memory.high": str(48 * MIB)})
    config["linux"]["cgroupsPath"] = f"/{t.new_id()}/deep/er"
    container = t.start(config)
    seen = (t.cgroup(container, "") / "cgroup.controllers").read_text().split()
    t.check({"pids", "memory"} <= set(seen), f"controllers of the cgroup: {seen}")


@requirement(MEMORY, "values set before start still apply after it", level="MUST")
def limits_before_start(t: Trial) -> None:
    t.need_controller("memory")
    container = t.create(with_resources(t, memory={"limit": 64 * MIB}))
    file = "memory.max" if t.host.cgroup == "v2" else "memory.limit_in_bytes"
    t.equal(_configured_value(t, container, "memory", file), str(64 * MIB), "limit before start")


@requirement(PATHS, "the container's processes are in its cgroup in every hierarchy with a controller (v1)")
def every_hierarchy(t: Trial) -> None:
    t.need_v1()
    container = t.start(with_resources(t))
    name = container.config["linux"]["cgroupsPath"].strip("/")
    for controller in sorted(t.host.controllers):
        t.check(name in t.cgroup(container, controller).parts, f"the process is not in its {controller} cgroup")
