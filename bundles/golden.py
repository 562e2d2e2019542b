"""Golden plans: what each sample bundle compiles to on a reference host. ``python -m bundles.golden`` writes them anew.

The reference host has cgroup v2 alone, root's privileges, no security module; the bundle is at /bundle.
"""

from __future__ import annotations

import json
import re

from bundles.build import HERE, names
from pyruntime.runtime.cgroups.host import parse
from pyruntime.runtime.compiler.compile import Plan, compile_plan
from pyruntime.runtime.compiler.setup import Host, PlanOptions
from pyruntime.runtime.config.load import Config
from pyruntime.runtime.plan import explain

MOUNTINFO = "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma")


def reference_host() -> Host:
    """A host with cgroup v2."""
    cgroup = parse(MOUNTINFO, "0::/system.slice\n", lambda directory, name: True)
    if cgroup.unified is not None:
        cgroup.unified.controllers = CONTROLLERS
    return Host(cgroup=cgroup)


def reference_plan(name: str) -> Plan:
    """The plan of a sample bundle on the reference host."""
    value = json.loads((HERE / name / "config.json").read_text())
    return compile_plan(Config(value, "config.json", "/bundle"), reference_host(), PlanOptions(), name)


def golden(name: str) -> str:
    """The text beside the bundle. How many bytes a compiled filter has depends on libseccomp's version."""
    return re.sub(r"program=\d+ bytes", "program=...", explain.text(reference_plan(name)))


if __name__ == "__main__":
    for bundle in names():
        (HERE / bundle / "plan.txt").write_text(golden(bundle))
        print(HERE / bundle / "plan.txt")
