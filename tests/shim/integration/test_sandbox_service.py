"""The sandbox service over its socket: a pod without a pause image, and containers in it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        self.path = machine.start(name, self.bundle)
        self.client = PodClient(self.path)
        machine.clients.append(self.client)

    def create(self, **fields: Any) -> None:
        self.call("CreateSandbox", **self.described(**fields))

    def described(self, **fields: Any) -> dict[str, Any]:
        """The fields of CreateSandbox."""
        linux = {"cgroup_parent": f"/{self.machine.namespace}", **fields.pop("linux", {})}
        netns = fields.pop("netns", "")
        config = POD.encode({"hostname": "pod1", "log_directory": "/nowhere", "linux": linux, **fields})
        return {"bundle": str(self.bundle), "netns": netns, "options": {
            "type_url": "runtime.v1.PodSandboxConfig", "value": config}}

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
    writer.start()
    reader = member(pod, "reader", started["pid"], "sh", "-c", "until cat /dev/shm/file; do sleep 0.1; done;"
                    "cat /proc/sys/kernel/hostname /proc/sys/net/ipv4/ip_forward /etc/hostname; ls /etc/hosts")
    reader.start()
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


# --- other orders of the calls ---------------------------------------------------------------------------------------


@contextmanager
def slow_creation(machine: Machine) -> Iterator[Callable[[], None]]:
    """CreateSandbox waits for the host's /etc/hosts until the function is called."""
    machine.room.ok("sh", "-c", "mkfifo /run/hosts && mount --bind /run/hosts /etc/hosts")
    fifo = machine.room.seen("/run/hosts")

    def go_on() -> None:
        with open(fifo, "w") as file:   # waits for the reader
            file.write("192.0.2.1 slow\n")
    try:
        yield go_on
    finally:
        machine.room.ok("sh", "-c", "umount /etc/hosts && rm /run/hosts")


def begin_create(pod: Pod) -> int:
    begun = pod.client.begin("CreateSandbox", id=pod.name, **pod.described())
    until(lambda: pod.machine.mounts(pod.bundle))
    return begun


def test_a_creation_that_nobody_repeats_is_shut_down(machine: Machine) -> None:
    """The server and containerd are killed during CreateSandbox."""
    pod = Pod(machine, "abandoned")
    with slow_creation(machine):
        begin_create(pod)
        pod.client.close()
        machine.kill_server()
        pod.client = PodClient(pod.path)
        pod.remove()
    assert pod.name not in state_directories(machine)


def test_shut_down_during_creation(machine: Machine) -> None:
    pod = Pod(machine, "hasty")
    with slow_creation(machine) as go_on:
        begun = begin_create(pod)
        ending = pod.client.begin("ShutdownSandbox", id=pod.name)
        go_on()
        pod.client.answer(begun, "CreateSandbox")
        pod.client.answer(ending, "ShutdownSandbox")
    pod.gone()
    assert pod.name not in state_directories(machine)


def test_a_creation_is_repeated(machine: Machine) -> None:
    """The server is killed while it prepares the pod."""
    pod = Pod(machine, "repeated")
    with slow_creation(machine) as go_on:
        begun = begin_create(pod)
        machine.kill_server()
        go_on()
        pod.client.answer(begun, "CreateSandbox")
    assert pod.call("StartSandbox")["pid"] > 0
    with pytest.raises(ShimError, match="already exists"):
        pod.create()
    with pytest.raises(ShimError, match="cannot start a running process"):
        pod.call("StartSandbox")
    pod.remove()


def test_stopped_before_it_is_started(machine: Machine) -> None:
    pod = Pod(machine, "created")
    pod.create()
    waiting = [pod.client.begin("WaitSandbox", id=pod.name) for _ in range(2)]
    stopping = [pod.client.begin("StopSandbox", id=pod.name) for _ in range(4)]
    for begun in stopping:
        pod.client.answer(begun, "StopSandbox")
    assert [pod.client.answer(begun, "WaitSandbox")["exit_status"] for begun in waiting] == [137, 137]
    with pytest.raises(ShimError, match="cannot start a stopped process"):
        pod.call("StartSandbox")
    ending = [pod.client.begin("ShutdownSandbox", id=pod.name) for _ in range(4)]
    for begun in ending:
        pod.client.answer(begun, "ShutdownSandbox")
    pod.gone()


def test_the_holder_is_killed(machine: Machine) -> None:
    pod = Pod(machine, "unheld")
    pod.create()
    pid = pod.call("StartSandbox")["pid"]
    waiting = pod.client.begin("WaitSandbox", id=pod.name)
    machine.room.ok("kill", "-9", str(pid))
    ended = pod.client.answer(waiting, "WaitSandbox")
    status = pod.call("SandboxStatus")
    assert (status["state"], status["pid"], status["exited_at"]) == ("SANDBOX_NOTREADY", 0, ended["exited_at"])
    with pytest.raises(ShimError, match="not running"):
        pod.call("PingSandbox")
    pod.call("StopSandbox")
    pod.remove()


def test_containers_outlive_their_pod(machine: Machine) -> None:
    """containerd stops them before; here it does not."""
    pod = Pod(machine, "left")
    pod.create()
    container = member(pod, "outlives", pod.call("StartSandbox")["pid"], "sh", "-c", "sleep 1000")
    container.start()
    pod.remove()
    assert container.call("State")["status"] == 2
    container.end()


def test_a_pod_and_a_container_are_not_taken_for_each_other(machine: Machine) -> None:
    container = Container(machine, "plain", "sleep", "1000")
    container.start()
    client = PodClient(container.path)
    for method in ("StartSandbox", "StopSandbox", "WaitSandbox", "SandboxStatus", "PingSandbox", "SandboxMetrics",
                   "ShutdownSandbox"):
        with pytest.raises(ShimError, match="plain is no sandbox") as refused:
            client.call(method, id="plain")
        assert refused.value.code == 5
    client.close()
    assert container.call("State")["status"] == 2
    container.end()


def test_another_id(machine: Machine) -> None:
    pod = Pod(machine, "named")
    pod.create()
    pod.call("StartSandbox")
    for method in ("StopSandbox", "ShutdownSandbox"):
        with pytest.raises(ShimError):
            pod.client.call(method, id="other")
    assert pod.call("SandboxStatus")["state"] == "SANDBOX_READY"
    pod.remove()


def test_a_container_with_a_long_configuration(machine: Machine) -> None:
    """Kubernetes puts the services of a cluster into the environment."""
    pod = Pod(machine, "long")
    pod.create()
    container = member(pod, "longer", pod.call("StartSandbox")["pid"], "cat", "/etc/hostname")
    path = container.bundle / "config.json"
    config = json.loads(path.read_text())
    config["process"]["env"] = ["PATH=/bin", *(f"VARIABLE{number}={'x' * 1000}" for number in range(1500))]
    path.write_text(json.dumps(config))
    container.start()
    assert container.call("Wait")["exit_status"] == 0
    assert container.out.all() == b"pod1\n"
    container.remove()
    pod.remove()


@pytest.mark.parametrize("annotations", [["io.kubernetes.cri.sandbox-id"], {"io.kubernetes.cri.sandbox-id": "../x"},
                                         {"io.kubernetes.cri.sandbox-id": 5}, {"io.kubernetes.cri.sandbox-id": "no"}])
def test_containers_with_other_annotations(machine: Machine, annotations: Any) -> None:
    """They are no pod's of this shim: the library judges them."""
    container = Container(machine, f"odd-{''.join(filter(str.isalnum, str(annotations)))}", "true",
                          edit=lambda config: config.update(annotations=annotations))
    if isinstance(annotations, dict) and all(isinstance(value, str) for value in annotations.values()):
        container.start()
        assert container.call("Wait")["exit_status"] == 0
        container.remove()
    else:
        with pytest.raises(ShimError, match=r"annotations.*expected an? "):
            container.create()
        container.out.all()
        container.call("Shutdown")


# --- user namespaces -------------------------------------------------------------------------------------------------

USERS = {"mode": 0, **{kind: [{"inside": 0, "outside": 200000, "size": 65536}] for kind in ("uids", "gids")}}
OF_USERS = {"security": {"namespaces": {"users": USERS}}}


def network_of(machine: Machine, name: str, first: int) -> str:
    """The path of a network namespace that belongs to a user namespace whose root is this ID, as containerd makes
    them."""
    path = f"/run/{name}"
    machine.room.ok("sh", "-c", f"""set -e
        unshare --user --net sleep 100 & pid=$!
        until [ "$(readlink /proc/$pid/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
        for kind in uid gid; do echo "0 {first} 65536" >/proc/$pid/${{kind}}_map; done
        touch {path}; mount --bind /proc/$pid/ns/net {path}
        kill $pid""")
    return path


def state_directories(machine: Machine) -> list[str]:
    return os.listdir(machine.room.seen(f"/run/containerd/pyruntime/{machine.namespace}"))


@pytest.mark.parametrize("given", [True, False])
def test_a_pod_with_a_user_namespace(machine: Machine, given: bool) -> None:
    """Its root may not search the directory of the bundle, which is containerd's."""
    pod = Pod(machine, f"users-{given}")
    pod.bundle.chmod(0o700)
    pod.create(linux=OF_USERS, **({"netns": network_of(machine, pod.name, 200000)} if given else {}))
    pid = pod.call("StartSandbox")["pid"]
    maps = machine.room.ok("cat", f"/proc/{pid}/uid_map", f"/proc/{pid}/gid_map").split()
    assert maps == ["0", "200000", "65536"] * 2
    assert machine.room.ok("grep", "^Uid", f"/proc/{pid}/status").split()[1] == "200000"

    container = member(pod, f"{pod.name}-member", pid, "sh", "-c", """cd /etc; stat -c %u hosts hostname /dev/shm; id -u
        echo 127.0.0.1 me >hosts; touch /dev/shm/x && hostname other && echo 1 >/proc/sys/net/ipv4/ip_forward
        cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ifconfig lo down && echo down""")
    join_users(container, pid)
    container.create(rootfs=[{"type": "bind", "source": str(machine.path / "image"), "options": [
        "rbind", "rw", "uidmap=0:200000:65536", "gidmap=0:200000:65536"]}])
    container.call("Start")
    assert container.call("Wait")["exit_status"] == 0
    container.remove()
    assert container.out.all().decode().split() == ["0", "0", "0", "0", "0", "down"]
    pod.remove()


def join_users(container: Container, pid: int) -> None:
    path = container.bundle / "config.json"
    config = json.loads(path.read_text())
    config["linux"]["namespaces"].append({"type": "user", "path": f"/proc/{pid}/ns/user"})
    config["linux"]["sysctl"] = {}
    for kind in ("uidMappings", "gidMappings"):
        config["linux"][kind] = [{"containerID": 0, "hostID": 200000, "size": 65536}]
    config["process"]["capabilities"] = {kind: ["CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]
                                         for kind in ("bounding", "effective", "permitted")}
    config["mounts"] = [{**mount, "options": [option for option in mount.get("options", []) if option != "gid=5"]}
                        for mount in config["mounts"]]
    path.write_text(json.dumps(config))


def test_a_user_namespace_and_the_host_s_network(machine: Machine) -> None:
    pod = Pod(machine, "users-host")
    pod.create(linux={"security": {"namespaces": {"network": 2, "users": USERS}}})
    pid = pod.call("StartSandbox")["pid"]
    assert machine.room.ok("cat", f"/proc/{pid}/uid_map").split() == ["0", "200000", "65536"]
    assert machine.room.ok("readlink", f"/proc/{pid}/ns/net") == machine.room.ok("readlink", "/proc/1/ns/net")
    pod.remove()


def test_user_namespaces_that_are_refused(machine: Machine) -> None:
    pod = Pod(machine, "users-refused")
    for users, message in (
            ({**USERS, "mode": 1}, "unsupported user namespace mode: 1"), ({**USERS, "mode": 2}, "has ID mappings"),
            ({"mode": 0}, "needs uidMappings"), ({**USERS, "gids": []}, "needs gidMappings")):
        with pytest.raises(ShimError, match=message):
            pod.create(linux={"security": {"namespaces": {"users": users}}})
    for path, message in ((network_of(machine, "other", 300000), "permission denied"),
                          ("/proc/1/ns/net", "belongs to the host's user namespace"), ("/run/nosuch", "/run/nosuch")):
        with pytest.raises(ShimError, match=message):
            pod.create(linux=OF_USERS, netns=path)
        assert not os.path.ismount(pod.bundle / "rootfs")
        assert pod.name not in state_directories(machine)
    pod.remove()
