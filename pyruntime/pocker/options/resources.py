"""The flags that limit a container: linux.resources, rlimits, the cgroup above it, kernel parameters.

Docker's meaning, where the kernel's numbers alone leave it open: --cpus is a quota of a period of 100 ms; memory and
swap together are twice the memory where only that is limited; 0 is "no limit" wherever it would mean nothing.
"""

from __future__ import annotations

import os
import stat

from pyruntime.commandline.limits import parent, ulimit
from pyruntime.commandline.units import pair, size, whole, wrong
from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.options.settings import Settings

PERIOD = 100_000                # microseconds: the kernel's own cpu.cfs_period_us
LEAST_MEMORY = 6 << 20          # below it not even the set-up of a container gets through
_MOST = (1 << 63) - 1
# Flag -> (member of blockIO, whether it is a number of bytes)
_RATES = {"device-read-bps": ("throttleReadBpsDevice", True),
          "device-write-bps": ("throttleWriteBpsDevice", True),
          "device-read-iops": ("throttleReadIOPSDevice", False),
          "device-write-iops": ("throttleWriteIOPSDevice", False)}


def read(settings: Settings, given: dict[str, Any]) -> None:
    """What the flags say, into the settings. Raises UsageError."""
    parts = {"memory": memory(given), "cpu": cpu(given), "pids": pids(given), "blockIO": block_io(given)}
    settings.limits = {name: part for name, part in parts.items() if part}
    settings.ulimits = [ulimit(text) for text in given.get("ulimit", [])]
    if "oom-score-adj" in given:
        settings.oom_score = whole("oom-score-adj", given["oom-score-adj"], -1000, 1000)
    if "cgroup-parent" in given:
        settings.cgroup_parent = parent(given["cgroup-parent"])
    settings.sysctls = dict(pair("sysctl", text) for text in given.get("sysctl", []))


def memory(given: dict[str, Any]) -> dict[str, Any]:
    """linux.resources.memory."""
    result: dict[str, Any] = {}
    flag = "mem" if "mem" in given else "memory"
    limit = size(flag, given[flag]) if flag in given else 0
    if limit:
        if limit < LEAST_MEMORY:
            raise wrong(flag, given[flag], "a container needs 6m at least")
        result["limit"] = limit
    swap = given.get("memory-swap", "")
    if swap and swap != "0":
        if not limit:
            raise wrong("memory-swap", swap, "it is the limit of memory and swap together: give --memory too")
        number = -1 if swap == "-1" else size("memory-swap", swap)
        if 0 <= number < limit:
            raise wrong("memory-swap", swap, f'it is the limit of memory and swap together, so --memory "{given[flag]}"'
                        " at least; -1 for no limit")
        result["swap"] = number
    elif limit and swap_is_counted():
        result["swap"] = 2 * limit
    if "memory-reservation" in given:
        reservation = size("memory-reservation", given["memory-reservation"])
        if limit and reservation > limit:
            raise wrong("memory-reservation", given["memory-reservation"], f'no more than --memory "{given[flag]}"')
        result["reservation"] = reservation
    if "memory-swappiness" in given and given["memory-swappiness"] != -1:
        result["swappiness"] = whole("memory-swappiness", given["memory-swappiness"], 0, 100)
    if given.get("oom-kill-disable"):
        if not limit:
            raise UsageError("--oom-kill-disable without --memory would halt the whole machine instead: give both")
        result["disableOOMKiller"] = True
    return result


def swap_is_counted() -> bool:
    """Whether the kernel limits swap: cgroup v1 does with swapaccount=1 only, v2 where it has swap at all."""
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return True
    return os.path.exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")


def cpu(given: dict[str, Any]) -> dict[str, Any]:
    """linux.resources.cpu."""
    result: dict[str, Any] = {}
    if "cpus" in given:
        if other := next((name for name in ("cpu-quota", "cpu-period") if name in given), ""):
            raise UsageError(f"--cpus and --{other} say the same in two ways: give one of them")
        result |= _cpus(given["cpus"])
    if shares := given.get("cpu-shares", 0):
        result["shares"] = whole("cpu-shares", shares, 2, 262144)
    if period := given.get("cpu-period", 0):
        result["period"] = whole("cpu-period", period, 1000, 1_000_000, "write microseconds, from 1000 to 1000000")
    if quota := given.get("cpu-quota", 0):
        result["quota"] = -1 if quota == -1 else whole("cpu-quota", quota, 1000, _MOST,
                                                       "write microseconds of a period, at least 1000; -1 for no limit")
    for flag, name in (("cpu-rt-runtime", "realtimeRuntime"), ("cpu-rt-period", "realtimePeriod")):
        if number := given.get(flag, 0):
            result[name] = whole(flag, number, 0, _MOST)
    for flag, name, there in (("cpuset-cpus", "cpus", "cpu"), ("cpuset-mems", "mems", "node")):
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
        raise wrong("cpus", text, f"write a number from 0.01 to {count}: this machine has {count} CPUs")
    return {"period": PERIOD, "quota": round(number * PERIOD)}


def _set(flag: str, text: str, there: str) -> str:
    """A list such as 0-2,4 of what this machine has."""
    try:
        with open(f"/sys/devices/system/{there}/online", encoding="ascii") as file:
            available = file.read().strip()
    except FileNotFoundError:   # a kernel without NUMA
        available = "0"
    try:
        wanted = _numbers(text)
    except ValueError:
        raise wrong(flag, text, "write numbers and ranges, as 0-2,4") from None
    if not wanted <= _numbers(available):
        raise wrong(flag, text, f"this machine has {available}")
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
    """linux.resources.pids."""
    flag = "pids" if "pids" in given else "pids-limit"
    limit = given.get(flag, 0)
    return {} if limit in (0, -1) else {"limit": whole(flag, limit, 1, _MOST, "write a number, or -1 for no limit")}


def block_io(given: dict[str, Any]) -> dict[str, Any]:
    """linux.resources.blockIO."""
    result: dict[str, Any] = {}
    if weight := given.get("blkio-weight", 0):
        result["weight"] = whole("blkio-weight", weight, 10, 1000)
    for text in given.get("blkio-weight-device", []):
        major, minor, value = _device("blkio-weight-device", text, "DEVICE:WEIGHT")
        weight = whole("blkio-weight-device", value, 10, 1000)
        result.setdefault("weightDevice", []).append({"major": major, "minor": minor, "weight": weight})
    for flag, (name, in_bytes) in _RATES.items():
        for text in given.get(flag, []):
            major, minor, value = _device(flag, text, "DEVICE:RATE")
            rate = size(flag, value) if in_bytes else whole(flag, value, 1, _MOST)
            result.setdefault(name, []).append({"major": major, "minor": minor, "rate": rate})
    return result


def _device(flag: str, text: str, form: str) -> tuple[int, int, str]:
    path, colon, value = text.rpartition(":")
    if not colon or not path.startswith("/dev/"):
        raise wrong(flag, text, f"write {form}, as /dev/sda:1")
    try:
        found = os.stat(path)
    except OSError as error:
        raise wrong(flag, text, f'"{path}": {error.strerror}') from None
    if not stat.S_ISBLK(found.st_mode):
        raise wrong(flag, text, f'"{path}" is not a block device')
    return os.major(found.st_rdev), os.minor(found.st_rdev), value
