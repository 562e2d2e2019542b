"""exec in containers of various configurations: namespaces, limits, seccomp, and other inherited properties."""

from __future__ import annotations

import array
import json
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.containers import Bundle, Runtime
from tests.runtime.integration.test_exec import sh


def test_inherited_properties(runtime: Runtime, bundle: Bundle) -> None:
    bundle.config["process"].update(
        env=["PATH=/bin", "A=one"], cwd="/tmp", noNewPrivileges=True, oomScoreAdj=77,
        user={"uid": 5, "gid": 6, "additionalGids": [7], "umask": 0o27},
        rlimits=[{"type": "RLIMIT_CORE", "soft": 4096, "hard": 4096}],
        capabilities={name: ["CAP_KILL"] for name in ("bounding", "permitted", "effective", "inheritable", "ambient")})
    runtime.ok("run", "-d", "c1", bundle.shell("sleep 1000"))
    output = sh(runtime, "echo $A $PWD $(id -u) $(id -g) $(id -G) $(umask) $(ulimit -c);"
                "cat /proc/self/oom_score_adj; grep -e ^Cap -e NoNewPrivs /proc/self/status")
    first, score, *status = output.splitlines()
    assert (first, score) == ("one /tmp 5 6 6 7 0027 8", "77")
    assert [line.split()[1] for line in status] == ["0000000000000020"] * 5 + ["1"]


def test_limits_apply(runtime: Runtime, bundle: Bundle) -> None:
    bundle.config["linux"]["resources"]["pids"] = {"limit": 3}
    runtime.ok("run", "-d", "c1", bundle.shell("sleep 1000"))
    done = runtime("exec", "c1", "sh", "-c", "for n in 1 2 3 4 5; do sleep 5 & done; echo never")
    assert "fork" in done.stderr


def test_user_namespace(runtime: Runtime, sample: Any, tmp_path: Path) -> None:
    for parent in (tmp_path, *tmp_path.parents):
        if str(parent) != "/" and parent.stat().st_mode & 0o011 != 0o011:
            parent.chmod(parent.stat().st_mode | 0o011)
    path = sample("userns")
    config = json.loads((path / "config.json").read_text())
    config["process"]["args"] = ["sleep", "1000"]
    (path / "config.json").write_text(json.dumps(config))
    runtime.ok("run", "-d", "c1", path)
    pid = runtime.state("c1")["pid"]
    script = "id -u; cat /proc/self/uid_map; readlink /proc/self/ns/user; touch /tmp/mine && stat -c %u /tmp/mine"
    assert sh(runtime, script).split() == ["0", "0", "100000", "65536", os.readlink(f"/proc/{pid}/ns/user"), "0"]
    assert sh(runtime, "id -u; id -g", "--user", "7:8").split() == ["7", "8"]
    assert os.stat(f"/proc/{pid}/root/tmp/mine").st_uid == 100000


def test_without_new_namespaces(runtime: Runtime, bundle: Bundle) -> None:
    """No pid namespace that ends with init, and a root directory instead of a mount namespace."""
    bundle.config["linux"].update(namespaces=[{"type": "uts"}], maskedPaths=[], readonlyPaths=[])
    bundle.config["mounts"] = []
    bundle.config["root"]["readonly"] = False
    runtime.ok("run", "-d", "c1", bundle.shell("sleep 1000"))
    rootfs = Path(bundle.config["root"]["path"])
    assert sh(runtime, "ls /; pwd").split() == [*sorted(os.listdir(rootfs)), "/"]
    assert sh(runtime, "cat /etc/passwd") == (rootfs / "etc/passwd").read_text()
    runtime.ok("exec", "-d", "c1", "sleep", "999")
    assert len(json.loads(runtime.ok("ps", "-f", "json", "c1"))) == 2
    runtime.ok("delete", "--force", "c1")   # and the fixture checks for leftovers


def test_without_pivot_root(runtime: Runtime, bundle: Bundle) -> None:
    runtime.ok("run", "--no-pivot", "-d", "c1", bundle.shell("sleep 1000"))
    pid = runtime.state("c1")["pid"]
    assert os.stat(f"/proc/{pid}/root/bin").st_ino == int(sh(runtime, "stat -c %i /bin"))
    assert sh(runtime, "ls /") == "\n".join(sorted(os.listdir(f"/proc/{pid}/root"))) + "\n"


def test_the_seccomp_filter_applies(runtime: Runtime, bundle: Bundle) -> None:
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}
    for privileges in (True, False):
        runtime.ok("run", "-d", "c1", bundle.shell("sleep 1000", process__noNewPrivileges=privileges))
        done = runtime("exec", "c1", "sh", "-c", "mkdir /tmp/x; grep -e Seccomp: -e CapEff /proc/self/status")
        assert "not supported" in done.stderr
        assert done.stdout.split() == ["CapEff:", "0000000020000420", "Seccomp:", "2"]
        runtime.ok("delete", "-f", "c1")


def test_seccomp_notifies_of_exec_too(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """The agent gets a listener for each process: that of init, and then that of the exec process with its own pid."""
    states: list[dict[str, Any]] = []

    def agent(listener: socket.socket) -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                data, ancillary, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(16))
                states.append(json.loads(data))
                for _, _, raw in ancillary:
                    os.close(array.array("i", raw)[0])

    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(tmp_path / "agent"), "listenerMetadata": "m",
        "syscalls": [{"names": ["swapoff"], "action": "SCMP_ACT_NOTIFY"}]}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "agent"))
        listener.listen()
        thread = threading.Thread(target=agent, args=(listener,))
        thread.start()
        runtime.ok("run", "-d", "c1", bundle.shell("sleep 1000"))
        runtime.ok("exec", "--pid-file", tmp_path / "pid", "-d", "c1", "sleep", "1000")
        thread.join(10)
    first, second = states
    init = runtime.state("c1")["pid"]
    assert (first["pid"], first["state"]["pid"], first["state"]["status"]) == (init, init, "creating")
    assert (second["pid"], second["state"]["pid"]) == (int((tmp_path / "pid").read_text()), init)
    assert (second["state"]["status"], second["metadata"], second["fds"]) == ("running", "m", ["seccompFd"])


def test_a_joined_network_namespace(runtime: Runtime, bundle: Bundle) -> None:
    runtime.ok("run", "-d", "c2", bundle.shell("sleep 1000"))
    path = f"/proc/{runtime.state('c2')['pid']}/ns/net"
    for node in bundle.config["linux"]["namespaces"]:
        if node["type"] == "network":
            node["path"] = path
    runtime.ok("run", "-d", "c1", bundle.shell("sleep 1000"))
    assert sh(runtime, "readlink /proc/self/ns/net").strip() == os.readlink(path)


def test_time_and_cgroup_namespaces(runtime: Runtime, bundle: Bundle) -> None:
    if not Path("/proc/self/ns/time").exists():
        pytest.skip("needs CONFIG_TIME_NS")
    bundle.config["linux"]["namespaces"] += [{"type": "time"}, {"type": "cgroup"}]
    bundle.config["linux"]["timeOffsets"] = {"boottime": {"secs": 864000}}
    runtime.ok("run", "-d", "c1", bundle.shell("sleep 1000"))
    pid = runtime.state("c1")["pid"]
    assert float(sh(runtime, "cut -d' ' -f1 /proc/uptime")) > 864000
    assert sh(runtime, "readlink /proc/self/ns/cgroup").strip() == os.readlink(f"/proc/{pid}/ns/cgroup")
    assert {line.split(":", 2)[2] for line in sh(runtime, "cat /proc/self/cgroup").splitlines()} == {"/"}


def test_personality(runtime: Runtime, bundle: Bundle) -> None:
    bundle.config["linux"]["personality"] = {"domain": "LINUX32"}
    runtime.ok("run", "-d", "c1", bundle.shell("sleep 1000"))
    assert sh(runtime, "uname -m") != f"{os.uname().machine}\n"
