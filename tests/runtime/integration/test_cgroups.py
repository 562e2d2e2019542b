"""Real cgroups, in the layout of the host. Needs root; leaves nothing behind.

This file is run on v1, hybrid and v2 hosts; tests of other layouts are skipped.
"""

from __future__ import annotations

import errno
import mmap
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pyruntime.errors import StepError
from pyruntime.runtime.cgroups import create, resources, stats
from pyruntime.runtime.cgroups.group import Cgroup
from pyruntime.runtime.cgroups.host import CgroupHost, discover
from pyruntime.runtime.cgroups.paths import container_paths
from pyruntime.runtime.cgroups.update import apply
from pyruntime.runtime.config.node import Node
from pyruntime.runtime.plan.steps import Step

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
HOST = discover() if os.geteuid() == 0 else CgroupHost([], None)
TOP = f"/pyruntime-test-{os.getpid()}"
PATH = f"{TOP}/inner"
v1 = pytest.mark.skipif(not HOST.hierarchies, reason="needs cgroup v1")
v2 = pytest.mark.skipif(HOST.layout != "v2", reason="needs cgroup v2 only")


class Sandbox:
    """A container's cgroup without a container."""

    def __init__(self) -> None:
        self.paths = container_paths(PATH, "x", HOST)
        self.group = Cgroup(self.paths)
        self.children: list[int] = []

    def file(self, controller: str, name: str) -> Path:
        for key, path in self.paths.items():
            if controller in key.split(",") or not key:
                return Path(path, name)
        raise AssertionError(controller)

    def read(self, controller: str, name: str) -> str:
        return self.file(controller, name).read_text().strip()

    def carry_out(self, steps: Iterator[Step] | list[Step], pid: int = 0) -> None:
        for step in steps:
            try:
                if step.op.name == "cgroup_create":
                    create.create(step.args["path"])
                elif step.op.name == "cgroup_write":
                    create.write(**step.args)
                elif step.op.name == "cgroup_devices":
                    create.devices(**step.args)
                elif step.op.name == "cgroup_join" and pid:
                    create.join(step.args["paths"], pid)
            except OSError as error:
                if error.errno not in step.tolerate:
                    raise

    def create(self, limits: dict[str, Any] | None = None, pid: int = 0) -> None:
        config = Node({"linux": {"cgroupsPath": PATH, "resources": limits or {}}})
        place = resources.placement(config, HOST, "x")
        self.carry_out(resources.emit(config, HOST, place, "x", rootless=False, slot=iter(range(99)).__next__), pid)

    def update(self, limits: dict[str, Any]) -> None:
        self.carry_out(resources.update(Node(limits), HOST, self.paths))

    def child(self, work: Callable[[], int | None] | None = None, *, join: bool = True) -> int:
        """A process that waits until it is joined, works, and then sleeps or exits with the result."""
        ready, go = os.pipe()
        pid = os.fork()
        if not pid:
            status: int | None = 99
            try:
                os.close(go)
                os.read(ready, 1)
                status = work() if work else None
                while status is None:
                    signal.pause()
            finally:
                os._exit(99 if status is None else status)
        os.close(ready)
        self.children.append(pid)
        if join:
            create.join(list(self.paths.values()), pid)
        os.close(go)
        return pid

    def result(self, work: Callable[[], int]) -> int:
        pid = self.child(work)
        self.children.remove(pid)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def clean(self) -> None:
        for pid in self.children:
            os.kill(pid, signal.SIGKILL)
        self.group.kill()
        for pid in self.children:
            os.waitpid(pid, 0)
        self.group.delete()
        Cgroup(container_paths(TOP, "x", HOST)).delete()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    handed_down = ""
    if HOST.unified:
        top = Path(HOST.unified.mountpoint, "cgroup.subtree_control")
        handed_down = top.read_text()
    box = Sandbox()
    try:
        yield box
    finally:
        box.clean()
        assert not box.group.exists()
        if HOST.unified:
            extra = set(top.read_text().split()) - set(handed_down.split())
            if extra:
                top.write_text(" ".join("-" + name for name in extra))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# --- life and death -----------------------------------------------------------------------------------------------

def test_a_process_is_in_every_hierarchy(sandbox: Sandbox) -> None:
    sandbox.create()
    pid = sandbox.child()
    assert sandbox.group.pids() == [pid]
    for path in sandbox.paths.values():
        assert Path(path, "cgroup.procs").read_text().split() == [str(pid)]


def test_freeze_and_thaw(sandbox: Sandbox) -> None:
    sandbox.create()
    pids = [sandbox.child() for _ in range(3)]
    assert not sandbox.group.frozen()
    sandbox.group.freeze()
    assert sandbox.group.frozen()
    assert sorted(sandbox.group.pids()) == sorted(pids)
    sandbox.group.thaw()
    assert not sandbox.group.frozen()


@pytest.mark.parametrize("frozen", [False, True])
def test_kill_reaches_processes_that_keep_forking(sandbox: Sandbox, frozen: bool) -> None:
    def breed() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, signal.SIG_IGN)
        while True:
            if os.fork():
                time.sleep(0.001)
                os._exit(0)

    sandbox.create({"pids": {"limit": 50}})
    sandbox.child(breed)
    wait_for(lambda: bool(sandbox.group.pids()))
    if frozen:
        sandbox.group.freeze()
    sandbox.group.kill()
    wait_for(lambda: all(_dead(pid) for pid in sandbox.group.pids()))


def _dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@pytest.mark.parametrize("frozen", [False, True])
def test_delete_kills_remaining_processes(sandbox: Sandbox, frozen: bool) -> None:
    sandbox.create()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)   # they need not be reaped
    try:
        pid = sandbox.child()
        sandbox.children.clear()
        for path in sandbox.paths.values():
            os.makedirs(path + "/sub/deeper")
            create._inherit_cpuset(path + "/sub/deeper")
            create.join([path + "/sub/deeper"], pid)
        assert sandbox.group.pids() == [pid]
        if frozen:
            sandbox.group.freeze()
        sandbox.group.delete()
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    assert not sandbox.group.exists()
    assert _dead(pid)
    sandbox.group.delete()


def test_a_cgroup_in_use_is_refused(sandbox: Sandbox) -> None:
    sandbox.create()
    sandbox.create()   # empty: usable
    sandbox.child()
    with pytest.raises(OSError, match=r"container's cgroup is not empty: 1 process\(es\) found"):
        sandbox.create()


def test_a_frozen_cgroup_is_refused(sandbox: Sandbox) -> None:
    parent = Cgroup(container_paths(TOP, "x", HOST))
    for path in parent.paths.values():
        create.create(path)
    sandbox.create()
    if HOST.find("freezer"):
        parent.freeze()
    else:
        Path(sandbox.paths[""], "cgroup.freeze").write_text("1")
        wait_for(lambda: "frozen 1" in Path(sandbox.paths[""], "cgroup.events").read_text())
    with pytest.raises(OSError, match="container's cgroup unexpectedly frozen"):
        sandbox.create()
    parent.thaw()


def test_undo_removes_only_created_directories(sandbox: Sandbox) -> None:
    path = next(iter(sandbox.paths.values()))
    os.mkdir(os.path.dirname(path))
    made = create.create(path)
    assert made == [path]
    create.remove(path)
    assert os.path.isdir(os.path.dirname(path))


# --- limits -------------------------------------------------------------------------------------------------------

LIMITS: dict[str, Any] = {
    "memory": {"limit": 64 << 20, "swap": 128 << 20, "reservation": 32 << 20},
    "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0", "mems": "0"},
    "pids": {"limit": 20},
}


@v1
def test_limits_of_v1(sandbox: Sandbox) -> None:
    sandbox.create({**LIMITS, "memory": {**LIMITS["memory"], "swappiness": 10, "disableOOMKiller": True, "kernel": -1,
                                         "kernelTCP": -1, "useHierarchy": True}})
    values = {name: sandbox.read(*name) for name in (
        ("memory", "memory.limit_in_bytes"), ("memory", "memory.memsw.limit_in_bytes"),
        ("memory", "memory.soft_limit_in_bytes"), ("memory", "memory.swappiness"), ("cpu", "cpu.shares"),
        ("cpu", "cpu.cfs_quota_us"), ("cpu", "cpu.cfs_period_us"), ("cpuset", "cpuset.cpus"), ("pids", "pids.max"))}
    assert list(values.values()) == ["67108864", "134217728", "33554432", "10", "512", "50000", "100000", "0", "20"]
    assert "oom_kill_disable 1" in sandbox.read("memory", "memory.oom_control")


@v2
def test_limits_of_v2(sandbox: Sandbox) -> None:
    sandbox.create({**LIMITS, "unified": {"memory.high": "62914560", "pids.max": "19"}})
    values = [sandbox.read("", name) for name in (
        "memory.max", "memory.swap.max", "memory.low", "memory.high", "cpu.weight", "cpu.max", "cpuset.cpus",
        "pids.max")]
    assert values == ["67108864", "67108864", "33554432", "62914560", "59", "50000 100000", "0", "19"]
    # Controllers that are not required are enabled, too, for `events` and `update`.
    assert set(sandbox.read("", "cgroup.controllers").split()) >= {"cpuset", "cpu", "io", "memory", "pids"}


@pytest.mark.parametrize(("old", "new"), [
    ({"memory": {"limit": 32 << 20, "swap": 64 << 20}}, {"memory": {"limit": 96 << 20, "swap": 128 << 20}}),
    ({"memory": {"limit": 96 << 20, "swap": 128 << 20}}, {"memory": {"limit": 32 << 20, "swap": 48 << 20}}),
    ({"memory": {"limit": 32 << 20, "swap": 64 << 20}}, {"memory": {"limit": -1}}),
    ({"cpu": {"quota": 10000, "period": 100000}}, {"cpu": {"quota": 900000, "period": 1000000}}),
    ({"cpu": {"quota": 900000, "period": 1000000}}, {"cpu": {"quota": 5000, "period": 10000}}),
    ({"cpu": {"quota": 50000}}, {"cpu": {"quota": -1}}),
    ({"pids": {"limit": 5}}, {"pids": {"limit": -1}}),
])
def test_updates_in_either_direction(sandbox: Sandbox, old: dict[str, Any], new: dict[str, Any]) -> None:
    sandbox.create(old)
    sandbox.child()
    sandbox.update(new)
    sandbox.update(old)
    sandbox.update(new)


def test_an_update_that_fails_changes_nothing(sandbox: Sandbox) -> None:
    old: dict[str, dict[str, Any]] = {
        "memory": {"limit": 64 << 20, "swap": 96 << 20}, "pids": {"limit": 10},
        "cpu": {"shares": 512, "quota": 50000, "period": 100000}}
    sandbox.create({**old, "cpu": {**old["cpu"], "cpus": "0"}})
    files = [path for directory in sandbox.paths.values() for path in Path(directory).iterdir()
             if path.name in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max", "memory.swap.max",
                              "cpu.shares", "cpu.weight", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.max",
                              "cpuset.cpus", "pids.max")]
    before = [path.read_text() for path in files]
    new: dict[str, dict[str, Any]] = {
        "memory": {"limit": 128 << 20, "swap": 256 << 20}, "pids": {"limit": 20},
        "cpu": {"shares": 1024, "quota": 10000, "period": 20000, "cpus": "0", "mems": "0"}}
    apply(resources.update(Node(new), HOST, sandbox.paths))
    assert [path.read_text() for path in files] != before
    apply(resources.update(Node(old), HOST, sandbox.paths))
    assert [path.read_text() for path in files] == before
    with pytest.raises(StepError) as caught:
        apply(resources.update(Node({**new, "cpu": {**new["cpu"], "idle": 7}}), HOST, sandbox.paths))
    assert caught.value.where == "cpu.shares"
    assert caught.value.notes == []
    assert [path.read_text() for path in files] == before


def test_quota_and_period_below_a_parents_limit(sandbox: Sandbox) -> None:
    sandbox.create({"cpu": {"quota": 5000, "period": 10000}})
    parent = os.path.dirname(sandbox.file("cpu", "x"))
    top = os.path.dirname(parent)
    if HOST.find("cpu", "cpu") is HOST.unified:
        create.write(top, "cpu.max", "50000 100000")
    else:
        create.write(top, "cpu.cfs_quota_us", "50000")
    for quota, period in ((40000, 100000), (5000, 10000), (400000, 1000000), (5000, 10000)):
        sandbox.update({"cpu": {"quota": quota, "period": period}})


@pytest.mark.parametrize("burst", [True, False])
def test_burst_moves_with_the_quota(sandbox: Sandbox, burst: bool) -> None:
    if not HOST.find("cpu"):
        pytest.skip("no cpu controller")
    sandbox.create()
    if not (sandbox.file("cpu", "cpu.cfs_burst_us").exists() or sandbox.file("cpu", "cpu.max.burst").exists()):
        pytest.skip("the kernel does not support burst")
    for quota in (100000, 10000, 50000) if burst else (10000, 100000):
        sandbox.update({"cpu": {"quota": quota, "period": 100000, "burst": quota}})


def test_idle_and_shares(sandbox: Sandbox) -> None:
    sandbox.create()
    if not sandbox.file("cpu", "cpu.idle").exists():
        pytest.skip("the kernel has no cpu.idle")
    for idle, shares in ((1, 512), (0, 1024), (1, 2)):
        sandbox.update({"cpu": {"idle": idle, "shares": shares}})
        assert sandbox.read("cpu", "cpu.idle") == str(idle)
    with pytest.raises(OSError):
        sandbox.update({"cpu": {"idle": 2}})


@v1
def test_a_limit_below_the_usage_is_explained(sandbox: Sandbox) -> None:
    sandbox.create({"memory": {"limit": 64 << 20}})

    def use() -> None:
        area = mmap.mmap(-1, 32 << 20)
        area.write(b"x" * (32 << 20))
        area.seek(0)
        signal.pause()

    sandbox.child(use)
    wait_for(lambda: int(sandbox.read("memory", "memory.usage_in_bytes")) > 32 << 20)
    with pytest.raises(OSError) as caught:
        sandbox.update({"memory": {"limit": 1024}})
    assert caught.value.errno == errno.EBUSY
    assert str(caught.value.strerror).startswith("unable to set memory limit to 1024 (current usage: ")


@v2
def test_v2_checks_before_it_kills(sandbox: Sandbox) -> None:
    sandbox.create({"memory": {"limit": 64 << 20}})

    def use() -> None:
        area = mmap.mmap(-1, 32 << 20)
        area.write(b"x" * (32 << 20))
        signal.pause()

    sandbox.child(use)
    wait_for(lambda: int(sandbox.read("", "memory.current")) > 32 << 20)
    with pytest.raises(OSError, match=r"rejecting memory limit 1048576 <= usage \d+"):
        sandbox.update({"memory": {"limit": 1 << 20, "checkBeforeUpdate": True}})


def test_the_pids_limit_applies(sandbox: Sandbox) -> None:
    def fork_twice() -> int:
        try:
            for _ in range(2):
                if not os.fork():
                    signal.pause()
        except BlockingIOError:
            return 0
        return 1

    sandbox.create({"pids": {"limit": 2}})
    assert sandbox.result(fork_twice) == 0


@v1
def test_new_cpusets_accept_processes(sandbox: Sandbox) -> None:
    if not HOST.find("cpuset"):
        pytest.skip("no cpuset hierarchy")
    sandbox.create()
    for directory in (sandbox.file("cpuset", "x").parent, sandbox.file("cpuset", "x").parent.parent):
        assert Path(directory, "cpuset.cpus").read_text().strip()
        assert Path(directory, "cpuset.mems").read_text().strip()


def test_huge_pages_in_the_hierarchy_of_the_controller(sandbox: Sandbox) -> None:
    hierarchy = HOST.find("hugetlb")
    if not hierarchy or not os.path.isdir("/sys/kernel/mm/hugepages/hugepages-2048kB"):
        pytest.skip("no hugetlb controller or no 2 MiB pages")
    sandbox.create({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]})
    name = "hugetlb.2MB.max" if hierarchy.version == 2 else "hugetlb.2MB.limit_in_bytes"
    assert Path(sandbox.paths[hierarchy.key], name).read_text().strip() == str(4 << 20)
    assert "2MB" in stats.stats(sandbox.paths)["hugetlb"]
    with pytest.raises(OSError, match="no huge pages of this size"):
        sandbox.update({"hugepageLimits": [{"pageSize": "3MB", "limit": 0}]})


# --- devices ------------------------------------------------------------------------------------------------------

KMSG, NULL = (1, 11), (1, 3)


def access(directory: str, device: tuple[int, int], flags: int) -> int:
    """0, or the errno of opening a device node."""
    path = f"{directory}/{device[0]}-{device[1]}"
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(*device))
    except FileExistsError:
        pass
    except OSError:
        return 100
    try:
        os.close(os.open(path, flags))
    except OSError as error:
        return int(error.errno or 0)
    return 0


def devices_directory(tmp_path: Path) -> str:
    if os.statvfs(tmp_path).f_flag & 0x4:   # ST_NODEV
        pytest.skip("device nodes do not work on this filesystem")
    return str(tmp_path)


@pytest.mark.parametrize(("entries", "results"), [
    ([{"allow": False, "access": "rwm"}], (0, errno.EPERM, errno.EPERM)),
    ([], (0, errno.EPERM, errno.EPERM)),
    ([{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}],
     (0, 0, errno.EPERM)),
    ([{"allow": True, "access": "rwm"}], (0, 0, 0)),
    ([{"allow": True, "access": "rwm"}, {"allow": False, "type": "c", "major": 1, "minor": 11, "access": "w"}],
     (0, 0, errno.EPERM)),
])
def test_devices(sandbox: Sandbox, tmp_path: Path, entries: list[dict[str, Any]], results: tuple[int, ...]) -> None:
    directory = devices_directory(tmp_path)
    sandbox.create({"devices": entries})
    asked = ((NULL, os.O_RDWR), (KMSG, os.O_RDONLY), (KMSG, os.O_WRONLY))
    found = []
    for device, flags in asked:
        found.append(sandbox.result(partial(access, directory, device, flags)))
    assert tuple(found) == results


def test_the_filter_of_v2_also_works_on_hybrid_hosts(sandbox: Sandbox, tmp_path: Path) -> None:
    if not HOST.unified:
        pytest.skip("no v2 hierarchy")
    directory = devices_directory(tmp_path)
    sandbox.create({"devices": [{"allow": True, "access": "rwm"}]})
    create.devices(sandbox.paths[""], ["allow a *:* rwm", "deny c 1:11 r", "deny b *:* m"])
    assert sandbox.result(lambda: access(directory, NULL, os.O_RDWR)) == 0
    assert sandbox.result(lambda: access(directory, KMSG, os.O_WRONLY)) == 0
    assert sandbox.result(lambda: access(directory, KMSG, os.O_RDONLY)) == errno.EPERM


# --- rules of v2 --------------------------------------------------------------------------------------------------

@v2
def test_a_parent_cgroup_with_processes_is_named(sandbox: Sandbox) -> None:
    top = os.path.dirname(sandbox.paths[""])
    create.create(top)
    pid = sandbox.child(join=False)
    create.join([top], pid)
    with pytest.raises(OSError, match="this cgroup contains processes"):
        sandbox.create({"memory": {"limit": 1 << 20}})
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    sandbox.children.clear()


@v2
def test_without_limits_processes_in_a_parent_cgroup_do_not_matter(sandbox: Sandbox) -> None:
    top = os.path.dirname(sandbox.paths[""])
    create.create(top)
    pid = sandbox.child(join=False)
    create.join([top], pid)
    sandbox.create()
    create.join([sandbox.paths[""]], pid)


@v2
def test_a_threaded_parent_is_named(sandbox: Sandbox) -> None:
    top = os.path.dirname(sandbox.paths[""])
    create.create(top)
    Path(top, "cgroup.type").write_text("threaded")
    with pytest.raises(OSError, match="the cgroup is threaded"):
        sandbox.create({"memory": {"limit": 1 << 20}})


@v2
def test_a_cgroup_that_delegates_controllers_accepts_no_process(sandbox: Sandbox) -> None:
    sandbox.create({"memory": {"limit": 1 << 20}})
    with pytest.raises(OSError, match="no processes accepted"):
        create.join([os.path.dirname(sandbox.paths[""])], os.getpid())


@v2
def test_several_lines(sandbox: Sandbox) -> None:
    sandbox.create()
    devices = [path.read_text().strip() for path in Path("/sys/block").glob("*/dev")][:2]
    if len(devices) < 2 or not sandbox.file("", "io.max").exists():
        pytest.skip("no two block devices")
    sandbox.update({"unified": {"io.max": "\n".join(f"{device} rbps=1048576" for device in devices)}})
    assert sandbox.read("", "io.max").count("rbps=1048576") == 2


@v2
def test_ownership(sandbox: Sandbox) -> None:
    sandbox.create()
    create.own(sandbox.paths[""], 12345)
    owners = {name: os.stat(f"{sandbox.paths['']}/{name}").st_uid for name in (
        "", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "memory.max", "cgroup.freeze")}
    assert [uid == 12345 for uid in owners.values()] == [True, True, True, True, False, False]


# --- numbers ------------------------------------------------------------------------------------------------------

def test_stats(sandbox: Sandbox) -> None:
    sandbox.create({"memory": {"limit": 64 << 20}, "pids": {"limit": 20}})

    def work() -> None:
        end = time.process_time() + 0.05   # of CPU time: the host may be busy
        while time.process_time() < end:
            sum(range(1000))
        signal.pause()

    sandbox.child(work)
    wait_for(lambda: stats.stats(sandbox.paths)["cpu"]["usage"].get("total", 0) > 40_000_000)
    data = stats.stats(sandbox.paths)
    assert data["pids"] == {"current": 1, "limit": 20}
    assert data["memory"]["usage"]["limit"] == 64 << 20
    assert 0 < data["memory"]["usage"]["usage"] < 64 << 20
    assert list(data["memory"]["raw"]) == sorted(data["memory"]["raw"])
    assert data["cpuset"]["cpus"] and data["cpuset"]["mems"]
    assert data["network_interfaces"] is None


def test_stats_of_a_removed_cgroup() -> None:
    data = stats.stats({key: path + "/gone" for key, path in container_paths(PATH, "x", HOST).items()})
    assert data["pids"] == {} and data["hugetlb"] == {}
