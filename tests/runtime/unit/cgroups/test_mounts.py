"""A mount of type cgroup, for every layout."""

from __future__ import annotations

import errno

import pytest

from pyruntime.errors import HostError
from pyruntime.runtime.cgroups.host import CgroupHost, Hierarchy
from pyruntime.runtime.cgroups.mounts import emit_mount
from pyruntime.runtime.config.node import Node
from pyruntime.runtime.plan.steps import Step
from pyruntime.system.uapi import MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY

V1 = [Hierarchy("cpu,cpuacct", 1, ("cpu", "cpuacct"), "/sys/fs/cgroup/cpu,cpuacct"),
      Hierarchy("memory", 1, ("memory",), "/sys/fs/cgroup/memory"),
      Hierarchy("name=openrc", 1, (), "/elsewhere/x")]
UNIFIED = Hierarchy("", 2, (), "/sys/fs/cgroup/unified")
PATHS = {"cpu,cpuacct": "/sys/fs/cgroup/cpu,cpuacct/c1", "memory": "/sys/fs/cgroup/memory/c1",
         "name=openrc": "/elsewhere/x/c1", "": "/sys/fs/cgroup/unified/c1"}
MOUNT = Node({"destination": "/sys/fs/cgroup", "type": "cgroup"}, "mounts[3]")


def emit(host: CgroupHost, *, namespace: bool, read_only: bool = False, user: bool = False) -> list[Step]:
    names = ("attr_clear", "rec_set", "rec_clear", "propagation", "rec_propagation")
    attrs = {"attr_set": MOUNT_ATTR_NOSUID | (MOUNT_ATTR_RDONLY if read_only else 0), **dict.fromkeys(names, 0)}
    return list(emit_mount(MOUNT, host, PATHS, cgroup_namespace=namespace, user_namespace=user, attrs=attrs,
                           dest="/sys/fs/cgroup"))


def test_v2() -> None:
    host = CgroupHost([], UNIFIED)
    [step] = emit(host, namespace=True, read_only=True)
    assert (step.op.name, step.args["fstype"], step.args["dest"]) == ("mount", "cgroup2", "/sys/fs/cgroup")
    assert step.args["attr_set"] == MOUNT_ATTR_NOSUID | MOUNT_ATTR_RDONLY
    [step] = emit(host, namespace=False)
    assert (step.op.name, step.args["source"], step.tolerate) == ("bind", "/sys/fs/cgroup/unified/c1", ())
    [step] = emit(host, namespace=False, user=True)
    assert step.tolerate == (errno.ENOENT,)


def test_a_new_mount_of_v2_keeps_the_options_of_the_superblock() -> None:
    unified = Hierarchy("", 2, (), "/sys/fs/cgroup", options=("nsdelegate", "memory_recursiveprot"))
    [step] = emit(CgroupHost([], unified), namespace=True)
    assert step.args["options"] == ["nsdelegate", "memory_recursiveprot"]


@pytest.mark.parametrize("host", [CgroupHost(V1, None), CgroupHost(V1, UNIFIED)])
def test_v1_and_hybrid_bind_the_containers_own(host: CgroupHost) -> None:
    steps = emit(host, namespace=False)
    assert [(step.op.name, step.args.get("source", step.args.get("target")), step.args.get("dest", step.args.get(
        "path"))) for step in steps] == [
        ("mount", "tmpfs", "/sys/fs/cgroup"),
        ("bind", "/sys/fs/cgroup/cpu,cpuacct/c1", "/sys/fs/cgroup/cpu,cpuacct"),
        ("symlink", "cpu,cpuacct", "/sys/fs/cgroup/cpu"),
        ("symlink", "cpu,cpuacct", "/sys/fs/cgroup/cpuacct"),
        ("bind", "/sys/fs/cgroup/memory/c1", "/sys/fs/cgroup/memory"),
        ("bind", "/elsewhere/x/c1", "/sys/fs/cgroup/openrc"),
    ]
    assert {step.where for step in steps} == {"mounts[3]"}


def test_v1_in_a_new_namespace() -> None:
    steps = [step for step in emit(CgroupHost(V1, None), namespace=True) if step.op.name == "mount"][1:]
    assert [(step.args["fstype"], step.args["options"]) for step in steps] == [
        ("cgroup", ["cpu", "cpuacct"]), ("cgroup", ["memory"]), ("cgroup", ["name=openrc"])]


def test_read_only_comes_last() -> None:
    first, *middle, last = emit(CgroupHost(V1, None), namespace=False, read_only=True)
    assert first.args["attr_set"] == MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
    assert all(step.args["attr_set"] & MOUNT_ATTR_RDONLY for step in middle if step.op.name == "bind")
    assert (last.op.name, last.args["attr_set"], last.args["dest"]) == ("remount", MOUNT_ATTR_RDONLY, "/sys/fs/cgroup")


def test_without_cgroups() -> None:
    with pytest.raises(HostError) as caught:
        emit(CgroupHost([], None), namespace=False)
    assert caught.value.where == "mounts[3]"
