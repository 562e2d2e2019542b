"""Annotations of crun: supported, refused because the container depends on them, or ignored with a warning."""

from __future__ import annotations

from typing import Any

import pytest

from pyruntime.runtime.cgroups.host import CgroupHost, Hierarchy
from pyruntime.runtime.compiler.compile import Plan, compile_plan
from pyruntime.runtime.compiler.setup import Host, PlanOptions
from pyruntime.runtime.config.load import Config
from pyruntime.runtime.config.rules import unsupported, warnings
from pyruntime.runtime.config.sections import extensions as known
from pyruntime.runtime.config.template import template

HOST = Host(cgroup=CgroupHost([], Hierarchy("", 2, ("pids",), "/cg")), selinux=True)


def config(**more: str) -> Config:
    value: dict[str, Any] = template(rootless=False, uid=0, gid=0, unified=True)
    value["annotations"] = {key.replace("__", "."): text for key, text in more.items()}
    value["linux"]["mountLabel"] = "system_u:object_r:x"
    value["process"]["user"]["additionalGids"] = [5]
    return Config(value, "config.json", "/b")


def plan(**more: str) -> Plan:
    return compile_plan(config(**more), HOST, PlanOptions(), "c1")


@pytest.mark.parametrize("key", known.REFUSED)
def test_refused(key: str) -> None:
    [problem] = unsupported(config(**{key: "krun"}))
    assert problem.where == f'annotations["{key}"]' and '"krun"' in problem.what and problem.remedy


@pytest.mark.parametrize("key", known.LEFT_OUT)
def test_left_out(key: str) -> None:
    assert not unsupported(config(**{key: "x"}))
    assert [problem.where for problem in warnings(config(**{key: "x"}))] == [f'annotations["{key}"]']
    assert not warnings(config(**{key: ""})), "an empty value requests nothing"


def test_unknown_annotations_are_ignored() -> None:
    assert not unsupported(config(run__oci__new="x", a="b")) and not warnings(config(run__oci__new="x", a="b"))


def test_groups_are_kept() -> None:
    assert [step.op.name for step in plan().steps].count("set_groups") == 1
    assert "set_groups" not in [step.op.name for step in plan(run__oci__keep_original_groups="1").steps]


@pytest.mark.parametrize("kind", ["", *known.CONTEXT_TYPES])
def test_kinds_of_contexts(kind: str) -> None:
    found = plan(**{known.CONTEXT_TYPE: kind}) if kind else plan()
    [tmpfs] = [step for step in found.steps if step.op.name == "mount" and step.args["dest"] == "/dev/shm"]
    assert f"{kind or 'context'}=system_u:object_r:x" in tmpfs.args["options"]


def test_an_invalid_kind_of_context() -> None:
    [problem] = unsupported(config(**{known.CONTEXT_TYPE: "x"}))
    assert "rootcontext" in problem.remedy
