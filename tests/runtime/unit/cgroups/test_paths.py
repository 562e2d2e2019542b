"""linux.cgroupsPath."""

from __future__ import annotations

import pytest

from pyruntime.errors import ConfigError
from pyruntime.runtime.cgroups.host import CgroupHost, Hierarchy
from pyruntime.runtime.cgroups.paths import clean, container_paths

CPU = Hierarchy("cpu,cpuacct", 1, ("cpu", "cpuacct"), "/cg/cpu")
MEMORY = Hierarchy("memory", 1, ("memory",), "/cg/memory", own="/mine/own")
UNIFIED = Hierarchy("", 2, (), "/cg/unified", own="/mine")
HYBRID = CgroupHost([CPU, MEMORY], UNIFIED)
V2 = CgroupHost([], Hierarchy("", 2, ("memory",), "/cg", own="/system.slice/me.service"))


@pytest.mark.parametrize(("path", "result"), [
    ("", "/"), ("/", "/"), ("/a/b", "/a/b"), ("a//b/", "/a/b"), ("../../a", "/a"), ("/a/../../../b", "/b"),
    ("/a/./b", "/a/b"), ("..", "/"), ("a/..", "/")])
def test_clean_never_leaves_the_root(path: str, result: str) -> None:
    assert clean(path) == result


def test_absolute_is_below_the_mount() -> None:
    assert container_paths("/a/../b", "c1", HYBRID) == {
        "cpu,cpuacct": "/cg/cpu/b", "memory": "/cg/memory/b", "": "/cg/unified/b"}


@pytest.mark.parametrize(("path", "tail"), [("", "c1"), ("a", "a"), ("../../../../a", "a")])
def test_relative_is_below_our_own(path: str, tail: str) -> None:
    assert container_paths(path, "c1", HYBRID) == {
        "cpu,cpuacct": f"/cg/cpu/{tail}", "memory": f"/cg/memory/mine/own/{tail}", "": f"/cg/unified/mine/{tail}"}


def test_relative_on_v2_is_beside_our_own() -> None:
    assert container_paths("", "c1", V2) == {"": "/cg/system.slice/c1"}
    assert container_paths("a/../b", "c1", V2) == {"": "/cg/system.slice/b"}
    assert container_paths("/a", "c1", V2) == {"": "/cg/a"}


@pytest.mark.parametrize("path", ["/", "/..", "..", "./", "a/.."])
def test_the_root_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match=r"^config.json: linux.cgroupsPath: .* is the root"):
        container_paths(path, "c1", HYBRID)
