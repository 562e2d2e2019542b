"""exec --cgroup: the directory that is entered in each hierarchy."""

from __future__ import annotations

import pytest

from pyruntime.errors import UsageError
from pyruntime.runtime.lifecycle.subgroups import chosen_cgroup

PATHS = {"cpu,cpuacct": "/c/cpu/x", "pids": "/c/pids/x", "name=systemd": "/c/systemd/x", "": "/c/unified/x"}


def test_none() -> None:
    assert chosen_cgroup(PATHS, []) == PATHS


@pytest.mark.parametrize(("path", "end"), [("a", "/a"), ("/a/b", "/a/b"), ("/", ""), ("a/../b", "/b"), ("", "")])
def test_one_path_for_all(path: str, end: str) -> None:
    assert chosen_cgroup(PATHS, [path]) == {key: directory + end for key, directory in PATHS.items()}


def test_some_controllers() -> None:
    chosen = chosen_cgroup(PATHS, ["cpuacct,systemd:a", "pids:/"])
    assert chosen == {**PATHS, "cpu,cpuacct": "/c/cpu/x/a", "name=systemd": "/c/systemd/x/a"}


@pytest.mark.parametrize(("wanted", "phrase"), [
    (["a", "b"], "invalid --cgroup argument: a (missing <controller>: prefix)"),
    (["pids:a", "b"], "invalid --cgroup argument: b (missing <controller>: prefix)"),
    (["a:b:c"], "invalid --cgroup argument: a:b:c"),
    ([":a"], "invalid --cgroup argument: :a (empty <controller> prefix)"),
    (["pids,:a"], "empty <controller> prefix"),
    (["pids:a", "pids:b"], "invalid --cgroup argument(s): controller pids specified multiple times"),
    (["memory:a"], "unknown controller memory in SubCgroupPaths"),
    (["../y"], "../y is not a sub cgroup path"),
    (["../xy"], "../xy is not a sub cgroup path"),
    (["pids:../../x"], "../../x is not a sub cgroup path"),
])
def test_refusals(wanted: list[str], phrase: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen_cgroup(PATHS, wanted)
    assert phrase in str(caught.value)
