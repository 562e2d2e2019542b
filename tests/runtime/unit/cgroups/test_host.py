"""Detection of the hierarchies: files of /proc from all kinds of hosts."""

from __future__ import annotations

import pytest

from pyruntime.runtime.cgroups.host import CgroupHost, Hierarchy, below, discover, parse
from pyruntime.system.mountinfo import unescape

V1 = """\
22 28 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
29 22 0:25 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,size=4096k,nr_inodes=1024,mode=755
30 29 0:26 / /sys/fs/cgroup/systemd rw,relatime shared:11 - cgroup cgroup rw,xattr,name=systemd
31 29 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:15 - cgroup cgroup rw,cpu,cpuacct
32 29 0:28 / /sys/fs/cgroup/memory rw,relatime shared:16 - cgroup cgroup rw,memory
33 29 0:29 / /sys/fs/cgroup/net_cls,net_prio rw,relatime shared:17 - cgroup cgroup rw,net_cls,net_prio
"""
V1_OWN = """\
12:memory:/user.slice
5:net_cls,net_prio:/
4:cpu,cpuacct:/user.slice
3:pids:/user.slice
1:name=systemd:/user.slice/user-1000.slice/session-2.scope
"""
HYBRID = V1 + "34 29 0:30 / /sys/fs/cgroup/unified rw,relatime shared:10 - cgroup2 cgroup2 rw,nsdelegate\n"
V2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"


def read(mountinfo: str, own: str, hidden: tuple[str, ...] = ()) -> CgroupHost:
    return parse(mountinfo, own, lambda _mountpoint, device: device not in hidden)


def shown(host: CgroupHost) -> dict[str, tuple[str, str, str]]:
    return {item.key: (item.mountpoint, item.root, item.own) for item in host.all()}


def test_v1() -> None:
    host = read(V1, V1_OWN)
    assert host.layout == "v1"
    assert shown(host) == {
        "cpu,cpuacct": ("/sys/fs/cgroup/cpu,cpuacct", "/", "/user.slice"),
        "memory": ("/sys/fs/cgroup/memory", "/", "/user.slice"),
        "name=systemd": ("/sys/fs/cgroup/systemd", "/", "/user.slice/user-1000.slice/session-2.scope"),
        "net_cls,net_prio": ("/sys/fs/cgroup/net_cls,net_prio", "/", "/"),
    }   # pids is not mounted
    assert [item.controllers for item in host.hierarchies] == [("cpu", "cpuacct"), ("memory",), (),
                                                              ("net_cls", "net_prio")]
    cpu = host.find("cpuacct")
    assert cpu is not None and cpu.key == "cpu,cpuacct"
    assert host.find("pids") is None


def test_hybrid() -> None:
    host = read(HYBRID, V1_OWN + "0::/user.slice/x\n")
    assert host.layout == "hybrid"
    assert host.unified is not None
    assert (host.unified.mountpoint, host.unified.own) == ("/sys/fs/cgroup/unified", "/user.slice/x")
    assert [item.key for item in host.all()][-1] == ""
    host.unified.controllers = ("hugetlb", "memory")
    memory, hugetlb = host.find("memory"), host.find("hugetlb")
    assert memory is not None and memory.version == 1   # a controller in a v1 hierarchy is not available in v2
    assert hugetlb is not None and hugetlb.version == 2


def test_v2() -> None:
    host = read(V2, "0::/system.slice/a.service\n")
    assert (host.layout, host.hierarchies) == ("v2", ())
    assert host.unified is not None
    assert host.unified.options == ("nsdelegate",)
    host.unified.controllers = ("io", "memory")
    assert host.find("blkio", "io") is host.unified
    assert host.find("devices") is None


def test_nothing_mounted() -> None:
    assert read("22 28 0:20 / /sys rw - sysfs sysfs rw\n", V1_OWN).layout == "none"


def test_in_a_container_without_a_cgroup_namespace() -> None:
    host = read("700 690 0:28 /docker/0a /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n",
                "12:memory:/docker/0a/sub\n")
    assert shown(host) == {"memory": ("/sys/fs/cgroup/memory", "/docker/0a", "/sub")}


def test_in_a_container_with_a_cgroup_namespace() -> None:
    host = read("700 690 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "0::/\n")
    assert shown(host) == {"": ("/sys/fs/cgroup", "/", "/")}


def test_a_mount_from_outside_the_namespace() -> None:
    # Entered by unshare without a new mount: the root of the mount is above this process's cgroup, whose path is
    # unknown.
    host = read("700 690 0:28 /../.. /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "0::/x\n")
    assert shown(host) == {"": ("/sys/fs/cgroup", "/../..", "/")}


def test_a_mount_that_another_covers_is_not_used() -> None:
    covered = HYBRID + "80 29 0:31 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    host = read(covered, V1_OWN + "0::/\n", hidden=("0:26", "0:27", "0:28", "0:29", "0:30"))
    assert host.layout == "v2"
    assert shown(host)[""][0] == "/sys/fs/cgroup"


def test_the_usual_mount_point_and_the_whole_tree_are_preferred() -> None:
    more = ("20 1 0:28 / /var/lib/x/memory rw - cgroup cgroup rw,memory\n"
            "21 1 0:28 /docker/a /sys/fs/cgroup/part rw - cgroup cgroup rw,memory\n")
    assert shown(read(more + V1, V1_OWN))["memory"][0] == "/sys/fs/cgroup/memory"


def test_escaped_mount_points() -> None:
    host = read("32 29 0:28 / /mnt/a\\040b rw - cgroup cgroup rw,memory\n", "1:memory:/\n")
    assert shown(host)["memory"][0] == "/mnt/a b"
    assert unescape(r"a\134b\011\x") == "a\\b\t\\x"


@pytest.mark.parametrize(("path", "root", "result"), [
    ("/a/b", "/", "/a/b"), ("/a/b", "/a", "/b"), ("/a", "/a", "/"), ("/ab", "/a", "/"), ("/", "/..", "/")])
def test_below(path: str, root: str, result: str) -> None:
    assert below(path, root) == result


def test_this_host() -> None:
    host = discover()
    assert host.layout in ("v1", "hybrid", "v2", "none")
    for item in host.all():
        assert item.mountpoint.startswith("/") and item.own.startswith("/")


def test_some_hierarchies() -> None:
    memory, cpus, named = (Hierarchy(key, 1, [key] * ("=" not in key), f"/sys/fs/cgroup/{key}")
                           for key in ("memory", "cpuset", "name=systemd"))
    plain, counting = (Hierarchy("", 2, controllers, "/sys/fs/cgroup/unified") for controllers in ([], ["pids"]))
    kept = CgroupHost([memory, cpus, named], plain).only(["memory", "pids"])
    assert (kept.hierarchies, kept.unified) == ((memory,), None)
    assert CgroupHost([memory, cpus], counting).only(["memory", "pids"]).all() == (memory, counting)
    for host in (CgroupHost([], plain), CgroupHost([cpus], plain)):   # nothing would be left to hold the processes
        assert host.only(["memory"]) is host
    assert CgroupHost([memory, cpus], plain).only([]).all() == (memory, cpus, plain)
