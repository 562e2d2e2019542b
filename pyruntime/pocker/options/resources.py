"""Flags to settings: resource limits, ulimits, the parent cgroup, kernel parameters.

Docker's meaning, where the kernel's numbers alone leave it open: memory and swap together are twice the memory if only
the memory is limited, and 0 is "no limit" wherever the kernel would take it literally.
"""

from __future__ import annotations

import os
import stat

from pyruntime.commandline.limits import parent, ulimit
from pyruntime.commandline.units import pair, size, whole, wrong
from pyruntime.errors import UsageError
from pyruntime.pocker.settings import CPU_PERIOD, DeviceRate, DeviceWeight, Resources, Ulimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.settings import ContainerSettings

LEAST_MEMORY = 6 << 20          # bytes; with less, the set-up of a container fails
_MOST = (1 << 63) - 1
# Flag -> (field of Resources, whether the number is one of bytes)
_RATES = {"device-read-bps": ("device_read_bps", True), "device-write-bps": ("device_write_bps", True),
          "device-read-iops": ("device_read_iops", False), "device-write-iops": ("device_write_iops", False)}
# Field that the flags of memory set without being named -> the flags that change it in `update`.
_MEMORY = {"memory": ("memory", "mem"), "memory_swap": ("memory", "mem", "memory-swap"),
           "memory_reservation": ("memory-reservation",)}


def read(settings: ContainerSettings, given: dict[str, Any]) -> ContainerSettings:
    """The settings with those of the flags. Raises UsageError."""
    found: dict[str, Any] = {"resources": Resources(**memory(given), **cpu(given), **pids(given), **block_io(given)),
                             "ulimits": [Ulimit(**ulimit(text)) for text in given.get("ulimit", [])],
                             "sysctls": dict(pair("sysctl", text) for text in given.get("sysctl", []))}
    if "oom-score-adj" in given:
        found["oom_score"] = whole("oom-score-adj", given["oom-score-adj"], -1000, 1000)
    if "cgroup-parent" in given:
        found["cgroup_parent"] = parent(given["cgroup-parent"])
    return settings.replace(**found)


def change(given: dict[str, Any], present: Resources) -> Resources:
    """The limits that flags of `update` change; ``present`` are those of the container. Raises UsageError."""
    known = dict(given)
    if not {"memory", "mem"} & known.keys() and present.memory:
        known["memory"] = str(present.memory)   # the other flags are checked against it
    limits = {name: value for name, value in memory(known).items() if given.keys() & set(_MEMORY.get(name, ()))}
    processes = pids(given)
    if -1 in (given.get("pids-limit"), given.get("pids")):
        processes = {"pids_limit": -1}
    return Resources(**limits, **cpu(given), **processes, **block_io(given))


def memory(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of Resources about memory."""
    result: dict[str, Any] = {}
    flag = "mem" if "mem" in given else "memory"
    limit = size(flag, given[flag]) if flag in given else 0
    if limit:
        if limit < LEAST_MEMORY:
            raise wrong(flag, given[flag], "a container needs at least 6m")
        result["memory"] = limit
    swap = given.get("memory-swap", "")
    if swap and swap != "0":
        if not limit:
            raise wrong("memory-swap", swap, "this is the limit of memory and swap together: give --memory too")
        number = -1 if swap == "-1" else size("memory-swap", swap)
        if 0 <= number < limit:
            raise wrong("memory-swap", swap, "this is the limit of memory and swap together: write at least --memory"
                        f' "{given[flag]}", or -1 for no limit')
        result["memory_swap"] = number
    elif limit and swap_is_counted():
        result["memory_swap"] = 2 * limit
    if "memory-reservation" in given:
        reservation = size("memory-reservation", given["memory-reservation"])
        if limit and reservation > limit:
            raise wrong("memory-reservation", given["memory-reservation"],
                        f'write no more than --memory "{given[flag]}"')
        result["memory_reservation"] = reservation
    if "memory-swappiness" in given and given["memory-swappiness"] != -1:
        result["memory_swappiness"] = whole("memory-swappiness", given["memory-swappiness"], 0, 100)
    if given.get("oom-kill-disable"):
        if not limit:
            raise UsageError("--oom-kill-disable without --memory would halt the whole host: give both")
        result["oom_kill_disable"] = True
    return result


def swap_is_counted() -> bool:
    """Whether the kernel limits swap: cgroup v1 does only with swapaccount=1, v2 whenever the kernel has swap."""
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return True
    return os.path.exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")


def cpu(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of Resources about CPUs."""
    result: dict[str, Any] = {}
    if "cpus" in given:
        if other := next((name for name in ("cpu-quota", "cpu-period") if name in given), ""):
            raise UsageError(f"--cpus and --{other} set the same limit: give one of them")
        result |= _cpus(given["cpus"])
    if shares := given.get("cpu-shares", 0):
        result["cpu_shares"] = whole("cpu-shares", shares, 2, 262144)
    if period := given.get("cpu-period", 0):
        result["cpu_period"] = whole("cpu-period", period, 1000, 1_000_000, "write microseconds, from 1000 to 1000000")
    if quota := given.get("cpu-quota", 0):
        result["cpu_quota"] = -1 if quota == -1 else whole("cpu-quota", quota, 1000, _MOST,
                                                           "write at least 1000 microseconds, or -1 for no limit")
    for flag, name in (("cpu-rt-runtime", "cpu_realtime_runtime"), ("cpu-rt-period", "cpu_realtime_period")):
        if number := given.get(flag, 0):
            result[name] = whole(flag, number, 0, _MOST)
    for flag, name, there in (("cpuset-cpus", "cpuset_cpus", "cpu"), ("cpuset-mems", "cpuset_mems", "node")):
        if given.get(flag):
            result[name] = _set(flag, given[flag], there)
    return result


def _cpus(text: str) -> dict[str, int]:
    count = os.cpu_count() or 1
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if number == 0:
        return {}
    if not 0.01 <= number <= count:
        raise wrong("cpus", text, f"write a number from 0.01 to {count}: the host has {count} CPUs")
    return {"cpu_period": CPU_PERIOD, "cpu_quota": round(number * CPU_PERIOD)}


def _set(flag: str, text: str, there: str) -> str:
    """A list such as 0-2,4 of CPUs or memory nodes that the host has."""
    try:
        with open(f"/sys/devices/system/{there}/online", encoding="ascii") as file:
            available = file.read().strip()
    except FileNotFoundError:   # a kernel without NUMA
        available = "0"
    try:
        wanted = _numbers(text)
    except ValueError:
        raise wrong(flag, text, "write numbers and ranges, for example 0-2,4") from None
    if not wanted <= _numbers(available):
        raise wrong(flag, text, f"the host has {available}")
    return text


def _numbers(text: str) -> set[int]:
    result: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        low, high = int(first), int(last if dash else first)
        if not 0 <= low <= high < 65536:
            raise ValueError(part)
        result |= set(range(low, high + 1))
    return result


def pids(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of Resources about processes."""
    flag = "pids" if "pids" in given else "pids-limit"
    limit = given.get(flag, 0)
    if limit in (0, -1):
        return {}
    return {"pids_limit": whole(flag, limit, 1, _MOST, "write a number, or -1 for no limit")}


def block_io(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of Resources about block I/O."""
    result: dict[str, Any] = {}
    if weight := given.get("blkio-weight", 0):
        result["blkio_weight"] = whole("blkio-weight", weight, 10, 1000)
    for text in given.get("blkio-weight-device", []):
        major, minor, value = _device("blkio-weight-device", text, "DEVICE:WEIGHT")
        weight = whole("blkio-weight-device", value, 10, 1000)
        result.setdefault("blkio_weight_devices", []).append(DeviceWeight(major=major, minor=minor, weight=weight))
    for flag, (name, in_bytes) in _RATES.items():
        for text in given.get(flag, []):
            major, minor, value = _device(flag, text, "DEVICE:RATE")
            rate = size(flag, value) if in_bytes else whole(flag, value, 1, _MOST)
            result.setdefault(name, []).append(DeviceRate(major=major, minor=minor, rate=rate))
    return result


def _device(flag: str, text: str, form: str) -> tuple[int, int, str]:
    path, colon, value = text.rpartition(":")
    if not colon or not path.startswith("/dev/"):
        raise wrong(flag, text, f"write {form}, for example /dev/sda:1")
    try:
        found = os.stat(path)
    except OSError as error:
        raise wrong(flag, text, f'"{path}": {error.strerror}') from None
    if not stat.S_ISBLK(found.st_mode):
        raise wrong(flag, text, f'"{path}" is not a block device')
    return os.major(found.st_rdev), os.minor(found.st_rdev), value
