"""The sandbox service over its socket: a pod without a pause image, and containers in it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles.build import busybox_rootfs
from pyruntime.shim import messages, sandbox_messages
from pyruntime.shim.protobuf import BYTES, Table
from tests.shim.client import Client, Container, Machine, ShimError, until

pytestmark = pytest.mark.timeout(120)
# A message of the CRI with more fields than the shim reads.
POD = Table(hostname=(2, "text"), log_directory=(3, "text"), dns=(4, BYTES), linux=(8, sandbox_messages.LINUX))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    path = tmp_path_factory.mktemp("pods")
    busybox_rootfs(path / "image")
    made = Machine(path)
    yield made
    left = made.monitors()
    mounts = [line for line in made.room.run("cat", "/proc/mounts").stdout.splitlines() if str(path) in line]
    made.close()
    assert left == []
    assert mounts == []


class PodClient(Client):
    """A connection whose methods are those of the sandbox service."""

    methods = sandbox_messages.METHODS

    def __init__(self, path: str) -> None:
        super().__init__(path, sandbox_messages.SERVICE)


class Pod:
    """A pod: the bundle is empty, as containerd's."""

    def __init__(self, machine: Machine, name: str) -> None:
        self.machine = machine
        self.name = name
        self.bundle = machine.path / name
        (self.bundle / "rootfs").mkdir(parents=True)
        self.client = PodClient(machine.start(name, self.bundle))
        machine.clients.append(self.client)

    def create(self, **fields: Any) -> None:
        self.call("CreateSandbox", **self.described(**fields))

    def described(self, **fields: Any) -> dict[str, Any]:
        """The fields of CreateSandbox."""
        linux = {"cgroup_parent": f"/{self.machine.namespace}", **fields.pop("linux", {})}
        config = POD.encode({"hostname": "pod1", "log_directory": "/nowhere", "linux": linux, **fields})
        return {"bundle": str(self.bundle), "options": {"type_url": "runtime.v1.PodSandboxConfig", "value": config}}

    def call(self, method: str, **fields: Any) -> dict[str, Any]:
        return self.client.call(method, id=self.name, **fields)

    def remove(self) -> None:
        self.call("ShutdownSandbox")
        assert self.name in self.machine.monitors()
        self.gone()

    def gone(self) -> None:
        """After ShutdownSandbox, nothing is left."""
        self.client.close()   # the monitor ends with the client's connection, not before
        until(lambda: self.name not in self.machine.monitors())
        assert not os.path.ismount(self.bundle / "rootfs")
        assert os.listdir(self.bundle / "rootfs") == []   # containerd removes it with rmdir(2)


def member(pod: Pod, name: str, pid: int, *args: str) -> Container:
    def edit(config: dict[str, Any]) -> None:
        config["annotations"] = {"io.kubernetes.cri.sandbox-id": pod.name}
        config.pop("hostname")
        config["linux"]["namespaces"] = [
            {"type": "mount"}, {"type": "pid"}, *({"type": kind, "path": f"/proc/{pid}/ns/{name}"} for kind, name in
                                                  (("network", "net"), ("ipc", "ipc"), ("uts", "uts")))]
    return Container(pod.machine, name, *args, edit=edit)


def test_a_pod_and_two_containers(machine: Machine) -> None:
    pod = Pod(machine, "pod")
    assert pod.call("Platform")["platform"]["os"] == "linux"
    pod.create(linux={"sysctls": [{"key": "net.ipv4.ip_forward", "value": "1"}]})
    assert pod.call("SandboxStatus")["state"] == "SANDBOX_NOTREADY"
    started = pod.call("StartSandbox")
    status = pod.call("SandboxStatus", verbose=True)
    assert (status["state"], status["pid"], status["created_at"]) == (
        "SANDBOX_READY", started["pid"], started["created_at"])
    assert json.loads({pair["key"]: pair["value"] for pair in status["info"]}["info"])["pid"] == started["pid"]
    pod.call("PingSandbox")
    writer = member(pod, "writer", started["pid"], "sh", "-c", "echo shared >/dev/shm/file; sleep 100")
    writer.create()
    writer.call("Start")
    reader = member(pod, "reader", started["pid"], "sh", "-c", "until cat /dev/shm/file; do sleep 0.1; done;"
                    "cat /proc/sys/kernel/hostname /proc/sys/net/ipv4/ip_forward /etc/hostname; ls /etc/hosts")
    reader.create()
    reader.call("Start")
    assert reader.call("Wait")["exit_status"] == 0
    assert [line for line in reader.out.all().decode().splitlines() if "No such file" not in line] == [
        "shared", "pod1", "1", "pod1", "/etc/hosts"]
    metrics = pod.call("SandboxMetrics")["metrics"]["data"]
    if metrics["type_url"] == "io.containerd.cgroups.v2.Metrics":
        used = messages.METRICS_2.decode(metrics["value"])["memory"]["usage"]
    else:
        used = messages.METRICS_1.decode(metrics["value"])["memory"]["usage"]["usage"]
    assert used > 0
    writer.call("Kill", signal=9)
    assert writer.call("Wait")["exit_status"] == 137
    for container in (writer, reader):
        container.remove()
    waiting = pod.client.begin("WaitSandbox", id=pod.name)
    pod.call("StopSandbox", timeout=5)
    assert pod.client.answer(waiting, "WaitSandbox")["exit_status"] == 137
    pod.call("StopSandbox")
    assert pod.call("SandboxStatus")["state"] == "SANDBOX_NOTREADY"
    pod.remove()
    until(lambda: machine.sink.of("reader") == ["create", "start", "exit", "delete"])
    assert machine.sink.of("pod") == []


def test_a_pod_survives_its_server(machine: Machine) -> None:
    pod = Pod(machine, "survivor")
    pod.create()
    pid = pod.call("StartSandbox")["pid"]
    waiting = pod.client.begin("WaitSandbox", id=pod.name)
    machine.kill_server()
    status = pod.call("SandboxStatus")
    assert (status["state"], status["pid"]) == ("SANDBOX_READY", pid)
    machine.kill_server()
    pod.call("StopSandbox")
    assert pod.client.answer(waiting, "WaitSandbox")["exit_status"] == 137
    pod.remove()
    assert machine.sink.of("survivor") == []


def test_the_server_is_killed_while_pods_come_and_go(machine: Machine) -> None:
    for number in range(12):
        pod = Pod(machine, f"killed-{number}")
        for method in ("CreateSandbox", "StartSandbox", "StopSandbox", "ShutdownSandbox"):
            fields = pod.described() if method == "CreateSandbox" else {}
            begun = pod.client.begin(method, id=pod.name, **fields)
            time.sleep(number * 0.001)
            machine.kill_server()
            answer = pod.client.answer(begun, method)
            if method == "StartSandbox":
                assert pod.call("SandboxStatus")["pid"] == answer["pid"]
        pod.gone()


def test_a_running_pod_is_shut_down(machine: Machine) -> None:
    pod = Pod(machine, "running")
    pod.create()
    pid = pod.call("StartSandbox")["pid"]
    pod.remove()
    assert machine.room.run("kill", "-0", str(pid)).returncode != 0


def test_the_holder_ends_with_its_monitor(machine: Machine) -> None:
    pod = Pod(machine, "orphan")
    pod.create()
    pid = pod.call("StartSandbox")["pid"]
    machine.room.ok("pkill", "-9", "-f", f"[-]id {pod.name} ")
    until(lambda: machine.room.run("kill", "-0", str(pid)).returncode != 0)
    # What containerd runs now:
    machine.room.ok("sh", "-c", '"$@" >/dev/null', "sh", *machine.words(pod.name, pod.bundle), "delete")
    assert not os.path.ismount(pod.bundle / "rootfs")
    state = Path(f"/run/containerd/pyruntime/{machine.namespace}/{pod.name}")
    assert not Path(machine.room.seen(str(state))).exists()


def test_errors(machine: Machine) -> None:
    pod = Pod(machine, "errors")
    for method in ("StartSandbox", "StopSandbox", "WaitSandbox", "SandboxStatus", "PingSandbox", "SandboxMetrics"):
        with pytest.raises(ShimError) as missing:
            pod.call(method)
        assert missing.value.code == 5
    with pytest.raises(ShimError, match="podsandbox"):
        pod.create(linux={"security": {"namespaces": {"users": {"mode": 0}}}})
    with pytest.raises(ShimError, match="unsupported user namespace mode: 1"):
        pod.create(linux={"security": {"namespaces": {"users": {"mode": 1}}}})
    with pytest.raises(ShimError, match="sysctl"):
        pod.create(linux={"sysctls": [{"key": "kernel.nosuch", "value": "1"}]})
    assert not os.path.ismount(pod.bundle / "rootfs")
    pod.remove()


def test_the_host_s_namespaces(machine: Machine) -> None:
    pod = Pod(machine, "host")
    pod.create(linux={"security": {"namespaces": {"network": 2, "pid": 2, "ipc": 2}}, "cgroup_parent": ""})
    pid = pod.call("StartSandbox")["pid"]
    listed = machine.room.ok("sh", "-c", f"for n in net pid ipc uts mnt; do readlink /proc/{pid}/ns/$n /proc/1/ns/$n;"
                                         " done").split()
    same = {name.partition(":")[0]: name == other for name, other in zip(listed[::2], listed[1::2], strict=True)}
    with pytest.raises(ShimError, match="no cgroup parent"):
        pod.call("SandboxMetrics")
    assert same == {"net": True, "pid": True, "ipc": True, "uts": True, "mnt": False}
    pod.remove()


