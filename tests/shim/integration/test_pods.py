"""Pods that the shim makes itself (`sandboxer = "shim"`) under the current containerd; what containers see in them is
compared with runc in tests/clients/test_cri.py."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from tests.clients import builds
from tests.clients.containerd import Containerd
from tests.clients.cri import Pod
from tests.clients.image import layout
from tests.shim.client import until

pytestmark = pytest.mark.timeout(900)   # the first run builds containerd
ROOT = "/run/containerd/pyruntime/k8s.io"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    if reason := builds.why_not():
        pytest.skip(reason)
    made = Containerd(tmp_path_factory.mktemp("pods"), builds.containerd())
    yield made
    left = made.room.run("sh", "-c", f"ls {ROOT}; grep k8s.io /proc/mounts; ps -eo args | grep '[w]ait=1'").stdout
    made.close()
    assert left == ""


def status(pod: Pod, **fields: Any) -> dict[str, Any]:
    answer = pod.ask("PodSandboxStatus", podSandboxId=pod.id, **fields)
    return {**answer, "state": answer["status"].get("state", "SANDBOX_READY")}   # it is the zero value


def await_not_ready(pod: Pod) -> None:
    def found() -> bool:
        try:
            return bool(status(pod)["state"] == "SANDBOX_NOTREADY")
        except grpc.RpcError as error:   # until containerd has noticed that the monitor is gone
            assert "ttrpc: closed" in str(error)
            return False
    until(found)


def test_no_pause_image_and_no_pause_container(daemon: Containerd) -> None:
    daemon.room.ok("ctr", "-a", "/run/ctd/sock", "-n", "k8s.io", "images", "rm", "localhost/pause:latest")
    with Pod(daemon, "pods", "lean") as pod:
        assert pod.id not in daemon.room.ok("ctr", "-a", "/run/ctd/sock", "-n", "k8s.io", "containers", "ls")
        info = json.loads(status(pod, verbose=True)["info"]["info"])
        pid = info["pid"]
        assert daemon.room.ok("cat", f"/proc/{pid}/cmdline") == "/init\0wait=1\0"
        assert daemon.room.ok("grep", "CapEff", f"/proc/{pid}/status").split() == ["CapEff:", "0" * 16]
        first, second = pod.start("sleep", "100"), pod.start("sleep", "100")
        shared = [daemon.room.ok("readlink", f"/proc/{pid}/ns/{name}").strip() for name in ("ipc", "net", "uts")]
        for container in (first, second):
            seen = pod.exec(container, "ls", "-l", "/proc/self/ns")[1].decode()
            assert re.findall(r"(?:ipc|net|uts):\[\d+\]", seen) == shared
        pod.exec(first, "sh", "-c", "echo shared >/dev/shm/file")
        assert pod.exec(second, "cat", "/dev/shm/file")[1] == b"shared\n"


def test_a_restarted_containerd_finds_the_pod(daemon: Containerd) -> None:
    with Pod(daemon, "pods", "restart") as pod:
        container = pod.start("sleep", "100")
        daemon.daemon.terminate()
        daemon.daemon.wait(30)
        daemon.start()
        assert status(pod)["state"] == "SANDBOX_READY"
        assert pod.exec(container, "echo", "here")[1] == b"here\n"


def test_a_pod_whose_monitor_is_killed_is_not_ready(daemon: Containerd) -> None:
    with Pod(daemon, "pods", "killed") as pod:
        daemon.room.ok("pkill", "-9", "-f", f"[-]id {pod.id} ")
        await_not_ready(pod)


def test_a_pod_whose_holder_is_killed_is_not_ready(daemon: Containerd) -> None:
    with Pod(daemon, "pods", "ended") as pod:
        pid = json.loads(status(pod, verbose=True)["info"]["info"])["pid"]
        daemon.room.ok("kill", "-9", str(pid))
        await_not_ready(pod)


def test_the_server_is_killed(daemon: Containerd) -> None:
    with Pod(daemon, "pods", "served") as pod:
        container = pod.start("sleep", "100")
        daemon.room.ok("pkill", "-9", "-f", "shim-pyruntime-v2 serv[e]")
        assert pod.exec(container, "echo", "here")[1] == b"here\n"
        assert status(pod)["state"] == "SANDBOX_READY"


def test_figures_of_a_pod(daemon: Containerd) -> None:
    with Pod(daemon, "pods", "figures") as pod:
        pod.start("sleep", "100")
        stats = pod.ask("PodSandboxStats", podSandboxId=pod.id)["stats"]["linux"]
        assert int(stats["memory"]["usageBytes"]["value"]) > 0


def test_a_refused_pod_leaves_nothing(daemon: Containerd) -> None:
    with pytest.raises(Exception, match="nosuch"):
        Pod(daemon, "pods", "refused", linux={"sysctls": {"kernel.nosuch": "1"}})
    Pod(daemon, "pods", "refused").__exit__()   # the name is free again


USERS = {"mode": "POD", **{kind: [{"hostId": 300000, "containerId": 0, "length": 65536}] for kind in ("uids", "gids")}}
LOOK = """cat /proc/self/uid_map /proc/self/gid_map; id -u
    for f in hosts hostname resolv.conf; do stat -c '%n %u %a' /etc/$f
    done; stat -c %a /dev/shm/.; echo x >/dev/shm/x && cat /dev/shm/x; echo 1.2.3.4 a >>/etc/hosts && echo written
    cat /proc/sys/net/ipv4/ip_unprivileged_port_start; cat /proc/sys/net/ipv4/ping_group_range; ls /sys/class/net
    touch /file && stat -c %u /file; [ $$ -gt 1 ] && echo other"""


def test_user_namespaces_as_with_a_pause_container(daemon: Containerd) -> None:
    """The network is the pod's, and that of the host; the processes are the container's, and the pod's."""
    def play(handler: str) -> list[Any]:
        found = []
        for number, kinds in enumerate(({"pid": "CONTAINER"}, {"pid": "POD"},
                                        {"network": "NODE", "pid": "CONTAINER"})):
            options = {"securityContext": {"namespaceOptions": {**kinds, "usernsOptions": USERS}}}
            with Pod(daemon, handler, f"users-{number}", linux=options) as pod:
                if handler == "pods":
                    pid = json.loads(status(pod, verbose=True)["info"]["info"])["pid"]
                    assert daemon.room.ok("cat", f"/proc/{pid}/uid_map").split() == ["0", "300000", "65536"]
                if kinds["pid"] == "POD":
                    pod.start("sleep", "100", linux=options)
                found.append(pod.ran(LOOK, linux=options))
        return found
    daemon.load(layout(daemon.room.path / "again"), "localhost/")
    assert play("pods") == play("shim")
