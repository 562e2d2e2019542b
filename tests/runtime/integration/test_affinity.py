"""The CPUs that programs run on if the runtime's caller is bound to some CPUs (taskset, systemd's CPUAffinity=)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.containers import Bundle, Runtime

ALLOWED = ["grep", "Cpus_allowed_list", "/proc/self/status"]


@pytest.fixture
def bound() -> Iterator[str]:
    """Bind this process, and with it the runtime, to one CPU; return the CPU list of an unbound program."""
    own = os.sched_getaffinity(0)
    if not {0, 1} <= own:
        pytest.skip(f"CPUs 0 and 1 are needed, and this process may run on {sorted(own)}")
    with open("/proc/self/status") as file:
        unbound = next(line for line in file if line.startswith("Cpus_allowed_list"))
    os.sched_setaffinity(0, {0})
    yield unbound
    os.sched_setaffinity(0, own)


@pytest.mark.parametrize("resources", [{}, {"cpu": {"cpus": "0-1"}}], ids=["no cpuset", "cpuset"])
def test_init_and_exec_run_on_the_cpuset(runtime: Runtime, bundle: Bundle, resources: dict[str, Any], bound: str
                                         ) -> None:
    wanted = "Cpus_allowed_list:\t0-1\n" if resources else bound
    bundle.save(process__args=ALLOWED, linux__resources=resources)
    assert runtime.ok("run", "--bundle", bundle, "c1") == wanted
    bundle.save(process__args=["sleep", "1000"])
    runtime.ok("run", "--detach", "--bundle", bundle, "c1")
    assert runtime.ok("exec", "c1", *ALLOWED) == wanted


def test_exec_cpu_affinity_takes_precedence(runtime: Runtime, bundle: Bundle, bound: str) -> None:
    """config.md#linux-process: without `final` the kernel decides, and since 6.2 it keeps the CPUs of `initial`."""
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    kept = "1" if release >= (6, 2) else bound.split()[1]
    bundle.save(process__args=["sleep", "1000"], process__execCPUAffinity={"initial": "1"})
    runtime.ok("run", "--detach", "--bundle", bundle, "c1")
    assert runtime.ok("exec", "c1", *ALLOWED) == f"Cpus_allowed_list:\t{kept}\n"
    runtime.ok("delete", "--force", "c1")
    bundle.save(process__execCPUAffinity={"final": "1"})
    runtime.ok("run", "--detach", "--bundle", bundle, "c1")
    assert runtime.ok("exec", "c1", *ALLOWED) == "Cpus_allowed_list:\t1\n"
