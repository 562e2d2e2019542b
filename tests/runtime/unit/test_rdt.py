"""A process that joins a container joins its resctrl groups, too: the plan, and the writes to a directory in place of
the filesystem (the host has no such CPU)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyruntime.runtime.cgroups.host import CgroupHost
from pyruntime.runtime.compiler.compile import compile_exec
from pyruntime.runtime.compiler.setup import Host, Joined, PlanOptions
from pyruntime.runtime.config.joining import kept_of
from pyruntime.runtime.config.load import Config
from pyruntime.runtime.config.template import template
from pyruntime.runtime.lifecycle import rdt
from pyruntime.runtime.plan.steps import Step


def joins(root: Path, **settings: Any) -> list[Step]:
    """The steps of `exec` in a container with this linux.intelRdt, from the configuration that `create` saved."""
    value = template(rootless=False, uid=0, gid=0, unified=True)
    value["linux"]["intelRdt"] = settings
    config = Config(kept_of(Config(value, "config.json", "/b"), True), "exec", "/b")
    host = Host(cgroup=CgroupHost((), None), resctrl=str(root))
    joined = Joined(pid=1, flags=0, own_root=True, cgroup={})
    plan = compile_exec(config, host, PlanOptions(), "c1", joined)
    return [step for step in plan.steps if step.op.name == "rdt_follow"]


@pytest.mark.parametrize(("settings", "groups"), [
    ({"closID": "fast"}, ["fast"]), ({"l3CacheSchema": "L3:0=f"}, ["c1"]), ({"closID": "/"}, ["."]),
    ({"closID": "fast", "enableMonitoring": True}, ["fast", "fast/mon_groups/c1"]),
])
def test_exec_joins_the_groups(tmp_path: Path, settings: dict[str, Any], groups: list[str]) -> None:
    [step] = joins(tmp_path, **settings)
    for group in groups:
        (tmp_path / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / group / "tasks").write_text("")
    assert [Path(group) for group in step.args["groups"]] == [tmp_path / group for group in groups]
    rdt.follow(step.args["groups"], 4711)
    for group in groups:
        assert (tmp_path / group / "tasks").read_text() == "4711"


def test_a_missing_group(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        rdt.follow([str(tmp_path / "none")], 4711)
