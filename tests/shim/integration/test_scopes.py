"""containerd with our shim on a host with systemd and cgroup v2, with scopes and without; in the guest of tests/vm."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyruntime.runtime.cgroups import scope
from tests.clients.containerd import IMAGE, NAMESPACE, SOCKET, Containerd
from tests.clients.cri import Pod
from tests.shim.client import until

pytestmark = [pytest.mark.timeout(300), pytest.mark.skipif(
    not scope.usable(), reason="systemd does not run here with cgroup v2 alone: tests/vm/run has a guest that does")]
CTR = ("ctr", "--address", SOCKET, "--namespace", NAMESPACE)
TOP = Path("/sys/fs/cgroup")
M = 1 << 20
# Where a container's cgroup is, by the driver: what ctr is told, and the directory.
DRIVERS = {"cgroupfs": (f"/{NAMESPACE}/{{}}", f"{NAMESPACE}/{{}}"),
           "systemd": ("pyshim-tests.slice:pyshim:{}", "pyshim.slice/pyshim-tests.slice/pyshim-{}.scope")}


class Driver:
    """A cgroup driver: containers of ``ctr`` with limits."""

    def __init__(self, daemon: Containerd, name: str) -> None:
        self.daemon, self.name = daemon, name
        self._said, self._place = DRIVERS[name]
        self.options = daemon.room.path / f"{name}.toml"
        self.options.write_text(f"SystemdCgroup = {str(name == 'systemd').lower()}\n")

    def run(self, name: str, *words: str, command: tuple[str, ...] = ("sleep", "1000")) -> Path:
        """Run a container in the background; returns its cgroup."""
        self.ctr("run", "--detach", "--runtime", "io.containerd.pyruntime.v2", "--runtime-config-path",
                 str(self.options), "--cgroup", self._said.format(name), *words, IMAGE, name, *command)
        return TOP / self._place.format(name)

    def ctr(self, *words: str) -> str:
        return self.daemon.room.ok(*CTR, *words)

    def status(self, name: str) -> str:
        return next(words[2] for words in map(str.split, self.ctr("task", "ls").splitlines()) if words[0] == name)

    def remove(self, name: str, group: Path) -> None:
        """Kill and remove a container, and see that nothing is left of its cgroup."""
        self.ctr("task", "rm", "--force", name)
        self.ctr("container", "rm", name)
        assert not group.exists()
        assert name not in units()


def units() -> str:
    return subprocess.run(["systemctl", "list-units", "--all", "--plain", "--no-legend"], capture_output=True,
                          text=True, check=True).stdout


def properties(unit: str, *names: str) -> dict[str, str]:
    shown = subprocess.run(["systemctl", "show", unit, *(f"--property={name}" for name in names)],
                           capture_output=True, text=True, check=True).stdout
    return dict(line.split("=", 1) for line in shown.splitlines())


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    made = Containerd(tmp_path_factory.mktemp("scopes"), None, systemd=True)
    yield made
    made.close()
    assert "pyshim-" not in units().replace("pyshim-tests.slice", "")


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest, daemon: Containerd) -> Driver:
    return Driver(daemon, request.param)


def test_a_life(driver: Driver) -> None:
    name = f"life-{driver.name}"
    group = driver.run(name, "--memory-limit", str(64 * M))

    def read(file: str) -> str:
        return (group / file).read_text().strip()

    if driver.name == "systemd":
        assert properties(group.name, "ActiveState", "Slice", "Delegate", "MemoryMax") == {
            "ActiveState": "active", "Slice": "pyshim-tests.slice", "Delegate": "yes", "MemoryMax": str(64 * M)}
    assert read("memory.max") == str(64 * M)
    init = read("cgroup.procs")
    assert driver.ctr("task", "exec", "--exec-id", "e", name, "sh", "-c", "echo $$ >/dev/null; echo hello") == "hello\n"
    driver.ctr("task", "exec", "--detach", "--exec-id", "f", name, "sleep", "2000")
    until(lambda: len(read("cgroup.procs").split()) == 2)
    assert init in read("cgroup.procs").split()
    driver.ctr("task", "pause", name)
    assert "frozen 1" in read("cgroup.events") and driver.status(name) == "PAUSED"
    driver.ctr("task", "resume", name)
    assert "frozen 0" in read("cgroup.events") and driver.status(name) == "RUNNING"
    driver.ctr("task", "kill", "--all", "--signal", "9", name)
    until(lambda: driver.status(name) == "STOPPED")
    driver.remove(name, group)


def test_metrics_of_the_second_version(driver: Driver) -> None:
    """The message of containerd's own shim for cgroup v2, with the numbers of the files."""
    name = f"metrics-{driver.name}"
    group = driver.run(name, "--memory-limit", str(64 * M), command=(
        "sh", "-c", "i=0; while [ $i -lt 1000 ]; do i=$((i+1)); done; exec sleep 1000"))
    found: dict[str, Any] = {}

    def sleeps() -> bool:
        found.update(json.loads(driver.ctr("task", "metrics", "--format", "json", name)))
        return "usage_usec" in found["cpu"]

    until(sleeps)
    stat = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    assert 0 < found["cpu"]["usage_usec"] <= int(stat["usage_usec"])
    assert found["pids"]["current"] == 1
    memory = found["memory"]
    assert memory["usage_limit"] == 64 * M and 0 < memory["usage"] <= 64 * M and memory["anon"] > 0
    driver.remove(name, group)


def test_out_of_memory(driver: Driver) -> None:
    """The kernel kills: an event, and a count in the metrics of a container that goes on."""
    name = f"oom-{driver.name}"
    log = driver.daemon.room.path / f"{name}.events"
    with log.open("wb") as file, subprocess.Popen(driver.daemon.room.words(*CTR, "events"), stdout=file,
                                                  env=driver.daemon.room.environment) as listener:
        group = driver.run(name, "--memory-limit", str(16 * M), command=(
            "sh", "-c", "head -c 100000000 /dev/zero | sort; sleep 1000"))
        until(lambda: "/tasks/oom" in log.read_text())
        events = json.loads(driver.ctr("task", "metrics", "--format", "json", name))["memory_events"]
        counted = dict(line.split() for line in (group / "memory.events").read_text().splitlines())
        assert events["oom_kill"] == int(counted["oom_kill"]) > 0
        assert driver.status(name) == "RUNNING"
        driver.remove(name, group)
        listener.kill()
    assert f'"container_id":"{name}"' in log.read_text()


@pytest.mark.parametrize("handler", ["shim", "pyruntime"])
def test_a_pod_in_a_slice(daemon: Containerd, handler: str) -> None:
    """What a kubelet with the systemd driver asks for; with our shim, and with containerd's own."""
    place = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pyshim.slice"
    with Pod(daemon, handler, "slice", linux={"cgroupParent": f"/{place}"}) as pod:
        container = pod.start("sleep", "1000", linux={"resources": {"memoryLimitInBytes": 64 * M, "cpuQuota": 50000,
                                                                    "cpuPeriod": 100000}})
        group = TOP / place / f"cri-containerd-{container}.scope"
        assert (group / "memory.max").read_text().strip() == str(64 * M)
        assert (group / "cpu.max").read_text().split() == ["50000", "100000"]
        assert pod.exec(container, "echo", "hello")[1] == b"hello\n"
        pod.ask("UpdateContainerResources", containerId=container, linux={"memoryLimitInBytes": 32 * M})
        assert (group / "memory.max").read_text().strip() == str(32 * M)
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        assert (group / "memory.max").read_text().strip() == str(32 * M)
        usage = pod.ask("ContainerStats", containerId=container)["stats"]
        assert int(usage["memory"]["workingSetBytes"]["value"]) > 0
        pod.ask("StopContainer", containerId=container, timeout=1)
        pod.ask("RemoveContainer", containerId=container)
        assert not group.exists()
    assert "cri-containerd-" not in units()
