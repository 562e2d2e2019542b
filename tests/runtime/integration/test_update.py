"""`update`: limits of a running container, by each flag and by a document, and errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyruntime.errors import UsageError
from pyruntime.runtime.cgroups.host import discover
from pyruntime.runtime.cli.update import _size
from tests.containers import Bundle, Runtime

HOST = discover()
V2 = HOST.find("memory", "memory") is not None and HOST.find("memory", "memory").version == 2  # type: ignore[union-attr]
M = 1 << 20


class Limits:
    """The files of a container's cgroup."""

    def __init__(self, runtime: Runtime, name: str) -> None:
        record = json.loads((runtime.root / name / "state.json").read_text())
        self.paths: dict[str, str] = record["cgroup"]

    def read(self, v1: tuple[str, str], v2: str) -> str:
        """A file: (controller, file) of v1, or the file of v2."""
        if V2:
            return Path(self.paths[""], v2).read_text().strip()
        controller, file = v1
        directory = next(path for key, path in self.paths.items() if controller in key.split(","))
        return Path(directory, file).read_text().strip()


@pytest.fixture
def limits(runtime: Runtime, bundle: Bundle) -> Iterator[Limits]:
    bundle.config["linux"]["resources"] = {"memory": {"limit": 64 * M, "swap": 128 * M}, "pids": {"limit": 20},
                                           "cpu": {"shares": 100, "quota": 500000, "period": 1000000}}
    bundle.shell("sleep 100")
    runtime.ok("run", "--detach", "c1", bundle)
    yield Limits(runtime, "c1")
    runtime.ok("delete", "--force", "c1")


CASES: list[tuple[list[str], tuple[str, str], str, str, str]] = [
    (["--memory", "67108864", "--memory-swap", "96M"], ("memory", "memory.memsw.limit_in_bytes"), "memory.swap.max",
     str(96 * M), str(32 * M)),
    (["--memory", "32M"], ("memory", "memory.limit_in_bytes"), "memory.max", str(32 * M), str(32 * M)),
    (["--memory=1.5GiB", "--memory-swap=2g"], ("memory", "memory.limit_in_bytes"), "memory.max", str(1536 * M),
     str(1536 * M)),
    (["--memory", "-1"], ("memory", "memory.limit_in_bytes"), "memory.max", "9223372036854771712", "max"),
    (["--memory-reservation", "33554432"], ("memory", "memory.soft_limit_in_bytes"), "memory.low", str(32 * M),
     str(32 * M)),
    (["--cpu-period", "900000"], ("cpu", "cpu.cfs_period_us"), "cpu.max", "900000", "500000 900000"),
    (["--cpu-quota", "600000"], ("cpu", "cpu.cfs_quota_us"), "cpu.max", "600000", "600000 1000000"),
    (["--cpu-quota", "-1"], ("cpu", "cpu.cfs_quota_us"), "cpu.max", "-1", "max 1000000"),
    (["--cpu-share", "200"], ("cpu", "cpu.shares"), "cpu.weight", "200", "29"),
    (["--cpuset-cpus", "0"], ("cpuset", "cpuset.cpus"), "cpuset.cpus", "0", "0"),
    (["--cpuset-mems", "0"], ("cpuset", "cpuset.mems"), "cpuset.mems", "0", "0"),
    (["--pids-limit", "10"], ("pids", "pids.max"), "pids.max", "10", "10"),
    (["--pids-limit", "-1"], ("pids", "pids.max"), "pids.max", "max", "max"),
]


@pytest.mark.parametrize(("words", "v1", "v2", "value", "modern"), CASES, ids=[" ".join(case[0]) for case in CASES])
def test_a_flag(runtime: Runtime, limits: Limits, words: list[str], v1: tuple[str, str], v2: str, value: str,
                modern: str) -> None:
    runtime.ok("update", *words, "c1")
    assert limits.read(v1, v2) == (modern if V2 else value)


def test_other_limits_are_kept(runtime: Runtime, limits: Limits) -> None:
    runtime.ok("update", "--pids-limit", "11", "c1")
    assert limits.read(("memory", "memory.limit_in_bytes"), "memory.max") == str(64 * M)


@pytest.mark.parametrize("by", ["file", "stdin"])
def test_a_document(runtime: Runtime, limits: Limits, tmp_path: Path, by: str) -> None:
    document = {"Memory": {"LIMIT": 33554432, "unknown": 1}, "pids": {"limit": 12}, "other": {}, "cpu": None}
    (tmp_path / "resources.json").write_text(json.dumps(document))
    if by == "file":
        runtime.ok("update", "-r", tmp_path / "resources.json", "--pids-limit", "5", "c1")
    else:
        with (tmp_path / "resources.json").open() as file:
            runtime.ok("update", "--resources", "-", "c1", stdin=file)
    assert limits.read(("memory", "memory.limit_in_bytes"), "memory.max") == str(32 * M)
    assert limits.read(("pids", "pids.max"), "pids.max") == "12", "flags do not count beside a document"


@pytest.mark.parametrize(("words", "message"), [
    (["--memory", "bad"], "invalid value for memory: invalid size: 'bad'"),
    (["--cpu-share", "x"], 'invalid value for cpu-share: strconv.ParseUint: parsing "x": invalid syntax'),
    (["--cpu-share", "-1"], "invalid value for cpu-share"),
    (["--cpu-quota", "1.5"], "invalid value for cpu-quota: strconv.ParseInt"),
    (["--blkio-weight", "5000"], "blockIO.weight"),
    (["--cpuset-cpus", "0-99999"], "cpu.cpus"),
    (["--resources", "/nonexistent"], "not found"),
])
def test_an_invalid_value_changes_nothing(runtime: Runtime, limits: Limits, words: list[str],
                                                   message: str) -> None:
    done = runtime("update", "--pids-limit", "7", *words, "c1")
    assert done.returncode == 1 and message in done.stderr, done.stderr
    assert limits.read(("pids", "pids.max"), "pids.max") == "20"


@pytest.mark.parametrize(("text", "message"), [
    ("[]", "expected an object"), ('{"pids": {"limit": "x"}}', "pids.limit"), ("{", "line 1"),
    ('{"memory": {"limit": 5, "swap": 3}}', "memory.swap"),
])
def test_an_invalid_document(runtime: Runtime, limits: Limits, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "resources.json").write_text(text)
    done = runtime("update", "-r", tmp_path / "resources.json", "c1")
    assert done.returncode == 1 and message in done.stderr, done.stderr


def test_a_stopped_container_is_refused(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell("true")
    runtime.ok("create", "c1", bundle)
    runtime.ok("update", "--pids-limit", "5", "c1")   # a created container can be updated
    runtime.ok("start", "c1")
    runtime.await_status("c1", "stopped")
    done = runtime("update", "--pids-limit", "6", "c1")
    assert done.returncode == 1 and "container not running" in done.stderr
    assert "container does not exist" in runtime("update", "--pids-limit", "6", "c2").stderr
    runtime.ok("delete", "c1")


def test_a_denied_device_stays_denied(runtime: Runtime, bundle: Bundle) -> None:
    bundle.config["linux"]["resources"] = {"devices": [{"allow": False, "access": "rwm"}], "pids": {"limit": 50}}
    bundle.config["linux"]["devices"] = [{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]
    bundle.shell("while :; do read -t 0 line < /dev/kmsg && exit 7; done 2>/dev/null")
    runtime.ok("run", "--detach", "c1", bundle)
    for number in range(30):
        runtime.ok("update", "--pids-limit", str(20 + number), "c1")
    assert runtime.state("c1")["status"] == "running", "it could read the device"
    runtime.ok("delete", "--force", "c1")


@pytest.mark.parametrize(("text", "size"), [
    ("0", 0), ("1", 1), ("4k", 4096), ("4K", 4096), ("50M", 50 * M), ("50mb", 50 * M), ("1GiB", 1 << 30),
    ("1.5g", 3 << 29), ("2T", 2 << 40), ("-1", -1), ("12b", 12),
])
def test_sizes(text: str, size: int) -> None:
    assert _size("memory", text) == size


@pytest.mark.parametrize("text", ["", "x", "1x", "--1", "1.2.3", "-5", "1 2", "k", "²"])
def test_invalid_sizes(text: str) -> None:
    with pytest.raises(UsageError, match="invalid size"):
        _size("memory", text)


def test_the_library(runtime: Runtime, limits: Limits) -> None:
    from pyruntime import Runtime as Library
    from pyruntime.errors import ConfigError, StateError

    library = Library(runtime.root)
    library.update("c1", {"pids": {"limit": 33}})
    assert limits.read(("pids", "pids.max"), "pids.max") == "33"
    found: dict[str, Any] = library.stats("c1")
    assert found["pids"] == {"current": found["pids"]["current"], "limit": 33} and found["pids"]["current"] >= 1
    with pytest.raises(ConfigError, match="resources"):
        library.update("c1", {"pids": {"limit": "x"}})
    library.kill("c1", "KILL")
    runtime.await_status("c1", "stopped")
    with pytest.raises(StateError):
        library.stats("c1")
