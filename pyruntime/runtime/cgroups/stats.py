"""The statistics of a container's cgroup, in the format of runc's ``events --stats``.

All files here may be missing (controller disabled, older kernel): a missing file is a missing number, and zeros and
empty lists are omitted where runc omits them.
"""

from __future__ import annotations

import os

from pyruntime.runtime.cgroups.host import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

UNLIMITED = 0xFFFFFFFFFFFFFFFF   # what runc prints for "max"
TICK = 10_000_000                # nanoseconds of a USER_HZ tick: 100 a second in every kernel's interface to user space


def stats(paths: Mapping[str, str]) -> dict[str, Any]:
    """The ``data`` of a stats event, from the container's directories by hierarchy key."""
    directory = {controller: path for key, path in paths.items() for controller in key.split(",")}
    v2 = list(paths) == [""]
    source = _v2 if v2 else _v1
    data: dict[str, Any] = source(directory)
    data["pids"] = _pids(directory[""] if v2 else directory.get("pids", ""))
    data.update(intel_rdt={}, network_interfaces=None)
    order = ("cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces")
    return {name: data[name] for name in order}


def killed_for_memory(paths: Mapping[str, str]) -> int:
    """The peak memory usage in bytes if the OOM killer has killed a process of the cgroup; otherwise -1."""
    directory = {controller: path for key, path in paths.items() for controller in key.split(",")}
    for path, events, peak in ((directory.get("memory", ""), "memory.oom_control", "memory.max_usage_in_bytes"),
                               (directory.get("", ""), "memory.events", "memory.peak")):
        words = _text(path, events).split()
        if int(dict(zip(words[::2], words[1::2], strict=False)).get("oom_kill", 0)):
            return _number(path, peak)
    return -1


# --- files -----------------------------------------------------------------------------------------------------------

def _text(path: str, file: str) -> str:
    try:
        return read(f"{path}/{file}").strip() if path else ""
    except OSError:
        return ""


def _number(path: str, file: str) -> int:
    text = _text(path, file)
    if text == "max":
        return UNLIMITED
    try:
        return int(text)
    except ValueError:
        return 0


def _pairs(path: str, file: str) -> dict[str, int]:
    """A flat keyed file: ``name number`` per line."""
    pairs = {}
    for line in _text(path, file).splitlines():
        name, _, number = line.partition(" ")
        if number.isdigit():
            pairs[name] = int(number)
    return pairs


def _list(path: str, file: str) -> list[int]:
    """``0-3,7`` as [0, 1, 2, 3, 7]."""
    numbers: list[int] = []
    for part in _text(path, file).split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            numbers += range(int(first), int(last or first) + 1)
    return numbers


def _present(**values: Any) -> dict[str, Any]:
    """The entries that are neither 0 nor empty."""
    return {name: value for name, value in values.items() if value}


def _pressure(path: str, file: str) -> dict[str, Any]:
    """PSI: ``some avg10=0.00 avg60=0.00 avg300=0.00 total=0``."""
    found: dict[str, Any] = {}
    for line in _text(path, file).splitlines():
        kind, *fields = line.split()
        found[kind] = {name: int(value) if name == "total" else float(value)
                       for name, _, value in (field.partition("=") for field in fields)}
    return found


def _pids(path: str) -> dict[str, int]:
    limit = _number(path, "pids.max")
    return _present(current=_number(path, "pids.current"), limit=0 if limit == UNLIMITED else limit)


# --- v1 --------------------------------------------------------------------------------------------------------------

def _v1(directory: Mapping[str, str]) -> dict[str, Any]:
    memory = directory.get("memory", "")
    raw = dict(sorted(_pairs(memory, "memory.stat").items()))
    return {
        "cpu": _v1_cpu(directory.get("cpuacct", ""), directory.get("cpu", "")),
        "cpuset": _v1_cpuset(directory.get("cpuset", "")),
        "memory": _present(
            cache=raw.get("cache", 0), usage=_v1_memory(memory, "memory."), swap=_v1_memory(memory, "memory.memsw."),
            kernel=_v1_memory(memory, "memory.kmem."), kernelTCP=_v1_memory(memory, "memory.kmem.tcp."), raw=raw),
        "blkio": _v1_blkio(directory.get("blkio", "")),
        "hugetlb": _v1_hugetlb(directory.get("hugetlb", "")) or _v2_hugetlb(directory.get("", "")),
    }


def _v1_cpu(cpuacct: str, cpu: str) -> dict[str, Any]:
    ticks = _pairs(cpuacct, "cpuacct.stat")
    kernel, user = [], []
    for line in _text(cpuacct, "cpuacct.usage_all").splitlines()[1:]:
        _cpu, of_user, of_kernel = line.split()
        user.append(int(of_user))
        kernel.append(int(of_kernel))
    throttled = _pairs(cpu, "cpu.stat")
    return {
        "usage": {**_present(total=_number(cpuacct, "cpuacct.usage"),
                             percpu=[int(number) for number in _text(cpuacct, "cpuacct.usage_percpu").split()],
                             percpu_kernel=kernel, percpu_user=user),
                  "kernel": ticks.get("system", 0) * TICK, "user": ticks.get("user", 0) * TICK},
        "throttling": _throttling(throttled, throttled.get("throttled_time", 0)),
    }


def _throttling(numbers: Mapping[str, int], nanoseconds: int) -> dict[str, Any]:
    return _present(periods=numbers.get("nr_periods", 0), throttledPeriods=numbers.get("nr_throttled", 0),
                    throttledTime=nanoseconds)


def _v1_cpuset(path: str) -> dict[str, Any]:
    numbers = {name: _number(path, f"cpuset.{file}") for name, file in (
        ("cpu_exclusive", "cpu_exclusive"), ("mem_hardwall", "mem_hardwall"), ("mem_exclusive", "mem_exclusive"),
        ("memory_migrate", "memory_migrate"), ("memory_spread_page", "memory_spread_page"),
        ("memory_spread_slab", "memory_spread_slab"), ("memory_pressure", "memory_pressure"),
        ("sched_load_balance", "sched_load_balance"), ("sched_relax_domain_level", "sched_relax_domain_level"))}
    return _cpuset(_list(path, "cpuset.cpus"), _list(path, "cpuset.mems"), numbers)


def _cpuset(cpus: list[int], mems: list[int], numbers: Mapping[str, int]) -> dict[str, Any]:
    names = ("mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page", "memory_spread_slab",
             "memory_pressure", "sched_load_balance", "sched_relax_domain_level")
    return {**_present(cpus=cpus), "cpu_exclusive": numbers.get("cpu_exclusive", 0), **_present(mems=mems),
            **{name: numbers.get(name, 0) for name in names}}


def _v1_memory(path: str, prefix: str) -> dict[str, int]:
    if not _text(path, prefix + "usage_in_bytes"):
        return {}
    return {"limit": _number(path, prefix + "limit_in_bytes"),
            **_present(usage=_number(path, prefix + "usage_in_bytes"),
                       max=_number(path, prefix + "max_usage_in_bytes")),
            "failcnt": _number(path, prefix + "failcnt")}


def _v1_blkio(path: str) -> dict[str, Any]:
    # BFQ's counters if that scheduler is used, otherwise those of the throttling layer, which covers every device.
    bfq = bool(_text(path, "blkio.bfq.io_serviced_recursive").removeprefix("Total 0"))
    serviced, size = (("blkio.bfq.io_serviced_recursive", "blkio.bfq.io_service_bytes_recursive") if bfq else
                      ("blkio.throttle.io_serviced_recursive", "blkio.throttle.io_service_bytes_recursive"))
    return _present(
        ioServiceBytesRecursive=_v1_blkio_lines(path, size), ioServicedRecursive=_v1_blkio_lines(path, serviced),
        **{name: _v1_blkio_lines(path, f"blkio.bfq.{file}_recursive") for name, file in (
            ("ioQueueRecursive", "io_queued"), ("ioServiceTimeRecursive", "io_service_time"),
            ("ioWaitTimeRecursive", "io_wait_time"), ("ioMergedRecursive", "io_merged"), ("ioTimeRecursive", "time"),
            ("sectorsRecursive", "sectors"))})


def _v1_blkio_lines(path: str, file: str) -> list[dict[str, Any]]:
    """``8:0 Read 4096`` or ``8:0 4096`` per line; the total at the end has no device."""
    entries = []
    for line in _text(path, file).splitlines():
        device, *middle, value = line.split()
        major, colon, minor = device.partition(":")
        if colon:
            entries.append(_present(major=int(major), minor=int(minor), op=middle[0] if middle else "",
                                    value=int(value)))
    return entries


def _page_sizes(path: str, suffix: str) -> list[str]:
    try:
        names = os.listdir(path) if path else []
    except OSError:
        names = []
    return sorted(name.split(".")[1] for name in names
                  if name.startswith("hugetlb.") and name.endswith(suffix) and name.count(".") == 2)


def _v1_hugetlb(path: str) -> dict[str, Any]:
    found = {}
    for size in _page_sizes(path, ".limit_in_bytes"):
        # The count of reservations is preferred if the kernel has it.
        prefix = f"hugetlb.{size}.rsvd." if _text(path, f"hugetlb.{size}.rsvd.usage_in_bytes") else f"hugetlb.{size}."
        found[size] = {**_present(usage=_number(path, prefix + "usage_in_bytes"),
                                  max=_number(path, prefix + "max_usage_in_bytes")),
                       "failcnt": _number(path, prefix + "failcnt")}
    return found


# --- v2 --------------------------------------------------------------------------------------------------------------

def _v2(directory: Mapping[str, str]) -> dict[str, Any]:
    path = directory[""]
    times = _pairs(path, "cpu.stat")
    cpu: dict[str, Any] = {
        "usage": {**_present(total=times.get("usage_usec", 0) * 1000), "kernel": times.get("system_usec", 0) * 1000,
                  "user": times.get("user_usec", 0) * 1000},
        "throttling": _throttling(times, times.get("throttled_usec", 0) * 1000),
        **_present(psi=_pressure(path, "cpu.pressure")),
    }
    cpus = _list(path, "cpuset.cpus") or _list(path, "cpuset.cpus.effective")
    mems = _list(path, "cpuset.mems") or _list(path, "cpuset.mems.effective")
    return {"cpu": cpu, "cpuset": _cpuset(cpus, mems, {}), "memory": _v2_memory(path), "blkio": _v2_blkio(path),
            "hugetlb": _v2_hugetlb(path)}


def _v2_memory(path: str) -> dict[str, Any]:
    raw = dict(sorted(_pairs(path, "memory.stat").items()))
    if not raw:
        return {}
    used, limit = _number(path, "memory.current"), _number(path, "memory.max")
    swap_used, swap_limit = _number(path, "memory.swap.current"), _number(path, "memory.swap.max")
    swap: dict[str, int] = {}
    if _text(path, "memory.swap.max"):
        # As in v1: the sum of memory and swap.
        both = UNLIMITED if UNLIMITED in (limit, swap_limit) else limit + swap_limit
        swap = {"limit": both, **_present(usage=used + swap_used), "failcnt": _pairs(path, "memory.swap.events").get(
            "fail", 0)}
    failures = _pairs(path, "memory.events").get("max", 0)
    return _present(
        cache=raw.get("file", 0),
        usage={"limit": limit, **_present(usage=used, max=_number(path, "memory.peak")), "failcnt": failures},
        swap=swap, kernel={"limit": 0, **_present(usage=raw.get("kernel", raw.get("slab", 0))), "failcnt": 0},
        raw=raw, psi=_pressure(path, "memory.pressure"))


def _v2_blkio(path: str) -> dict[str, Any]:
    sizes: list[dict[str, Any]] = []
    counts: list[dict[str, Any]] = []
    for line in _text(path, "io.stat").splitlines():
        device, *fields = line.split()
        major, colon, minor = device.partition(":")
        if not colon:
            continue
        for name, _, value in (field.partition("=") for field in fields):
            kind = {"rbytes": (sizes, "Read"), "wbytes": (sizes, "Write"), "dbytes": (sizes, "Discard"),
                    "rios": (counts, "Read"), "wios": (counts, "Write"), "dios": (counts, "Discard")}.get(name)
            if kind:
                kind[0].append(_present(major=int(major), minor=int(minor), op=kind[1], value=int(value)))
    return _present(ioServiceBytesRecursive=sizes, ioServicedRecursive=counts, psi=_pressure(path, "io.pressure"))


def _v2_hugetlb(path: str) -> dict[str, Any]:
    found = {}
    for size in _page_sizes(path, ".max"):
        prefix = f"hugetlb.{size}.rsvd." if _text(path, f"hugetlb.{size}.rsvd.current") else f"hugetlb.{size}."
        found[size] = {**_present(usage=_number(path, prefix + "current")),
                       "failcnt": _pairs(path, f"hugetlb.{size}.events").get("max", 0)}
    return found
