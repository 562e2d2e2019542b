"""The statistics of events --stats, from files in the kernel's format."""

from __future__ import annotations

from pathlib import Path

from pyruntime.runtime.cgroups.stats import UNLIMITED, stats

PRESSURE = "some avg10=0.50 avg60=1.00 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n"
PSI = {"some": {"avg10": 0.5, "avg60": 1.0, "avg300": 0.0, "total": 12},
       "full": {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 3}}


def files(directory: Path, content: dict[str, str]) -> str:
    directory.mkdir(parents=True)
    for name, text in content.items():
        (directory / name).write_text(text)
    return str(directory)


def test_v2(tmp_path: Path) -> None:
    path = files(tmp_path / "c1", {
        "cpu.stat": "usage_usec 30\nuser_usec 10\nsystem_usec 20\nnr_periods 4\nnr_throttled 1\nthrottled_usec 7\n",
        "cpu.pressure": PRESSURE, "io.pressure": PRESSURE, "memory.pressure": PRESSURE,
        "cpuset.cpus": "\n", "cpuset.cpus.effective": "0-2,5\n", "cpuset.mems.effective": "0\n",
        "memory.stat": "file 11\nanon 12\nkernel 13\n", "memory.current": "100\n", "memory.max": "max\n",
        "memory.peak": "120\n", "memory.swap.current": "5\n", "memory.swap.max": "50\n",
        "memory.events": "low 0\nmax 9\noom 0\n", "pids.current": "3\n", "pids.max": "max\n",
        "io.stat": "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n",
        "hugetlb.2MB.max": "max\n", "hugetlb.2MB.current": "2097152\n", "hugetlb.2MB.events": "max 6\n",
        "hugetlb.2MB.rsvd.max": "max\n", "hugetlb.2MB.rsvd.current": "4194304\n",
    })
    data = stats({"": path})
    assert list(data) == ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"]
    assert data["cpu"] == {"usage": {"total": 30000, "kernel": 20000, "user": 10000},
                           "throttling": {"periods": 4, "throttledPeriods": 1, "throttledTime": 7000}, "psi": PSI}
    assert (data["cpuset"]["cpus"], data["cpuset"]["mems"]) == ([0, 1, 2, 5], [0])
    assert data["memory"] == {
        "cache": 11, "usage": {"limit": UNLIMITED, "usage": 100, "max": 120, "failcnt": 9},
        "swap": {"limit": UNLIMITED, "usage": 105, "failcnt": 0}, "kernel": {"limit": 0, "usage": 13, "failcnt": 0},
        "raw": {"anon": 12, "file": 11, "kernel": 13}, "psi": PSI}
    assert data["pids"] == {"current": 3}
    assert data["blkio"] == {
        "ioServiceBytesRecursive": [{"major": 8, "op": "Read", "value": 1}, {"major": 8, "op": "Write", "value": 2},
                                    {"major": 8, "op": "Discard"}],
        "ioServicedRecursive": [{"major": 8, "op": "Read", "value": 3}, {"major": 8, "op": "Write", "value": 4},
                                {"major": 8, "op": "Discard"}], "psi": PSI}
    assert data["hugetlb"] == {"2MB": {"usage": 4194304, "failcnt": 6}}


def test_v1(tmp_path: Path) -> None:
    paths = {
        "cpu,cpuacct": files(tmp_path / "cpu", {
            "cpuacct.stat": "user 2\nsystem 3\n", "cpuacct.usage": "50\n", "cpuacct.usage_percpu": "20 30 \n",
            "cpuacct.usage_all": "cpu user system\n0 1 2\n1 3 4\n",
            "cpu.stat": "nr_periods 1\nnr_throttled 0\nthrottled_time 0\n"}),
        "cpuset": files(tmp_path / "cpuset", {"cpuset.cpus": "0-1\n", "cpuset.mems": "0\n",
                                              "cpuset.sched_load_balance": "1\n",
                                              "cpuset.sched_relax_domain_level": "-1\n"}),
        "memory": files(tmp_path / "memory", {
            "memory.stat": "rss 7\ncache 6\n", "memory.usage_in_bytes": "5\n", "memory.limit_in_bytes": "9\n",
            "memory.max_usage_in_bytes": "8\n", "memory.failcnt": "0\n"}),
        "pids": files(tmp_path / "pids", {"pids.current": "1\n", "pids.max": "7\n"}),
        "blkio": files(tmp_path / "blkio", {
            "blkio.bfq.io_serviced_recursive": "Total 0\n",
            "blkio.throttle.io_serviced_recursive": "8:0 Read 4\n8:0 Total 4\nTotal 4\n"}),
        "hugetlb": files(tmp_path / "hugetlb", {"hugetlb.2MB.limit_in_bytes": "5\n",
                                                "hugetlb.2MB.usage_in_bytes": "1\n",
                                                "hugetlb.2MB.max_usage_in_bytes": "2\n", "hugetlb.2MB.failcnt": "3\n"}),
        "": str(tmp_path / "unified"),
    }
    data = stats(paths)
    assert data["cpu"] == {"usage": {"total": 50, "percpu": [20, 30], "percpu_kernel": [2, 4], "percpu_user": [1, 3],
                                     "kernel": 30_000_000, "user": 20_000_000}, "throttling": {"periods": 1}}
    assert list(data["cpuset"]) == [
        "cpus", "cpu_exclusive", "mems", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page",
        "memory_spread_slab", "memory_pressure", "sched_load_balance", "sched_relax_domain_level"]
    assert data["cpuset"]["sched_relax_domain_level"] == -1
    assert data["memory"] == {"cache": 6, "usage": {"limit": 9, "usage": 5, "max": 8, "failcnt": 0},
                              "raw": {"cache": 6, "rss": 7}}
    assert data["pids"] == {"current": 1, "limit": 7}
    assert data["blkio"] == {"ioServicedRecursive": [{"major": 8, "op": "Read", "value": 4},
                                                     {"major": 8, "op": "Total", "value": 4}]}
    assert data["hugetlb"] == {"2MB": {"usage": 1, "max": 2, "failcnt": 3}}
