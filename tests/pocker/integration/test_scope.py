"""Containers on a host where systemd manages cgroup v2, as on current distributions; in the guest of tests/vm."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from pyruntime.runtime.cgroups import scope
from tests.commands import BIN
from tests.pocker.integration.command import Pocker
from tests.pocker.integration.lab import Lab, gone

pytestmark = pytest.mark.skipif(not scope.usable(), reason="systemd does not run here with cgroup v2 alone:"
                                " tests/vm/run has a guest where it does")
NONE = ("--network", "none")
TOP = Path("/sys/fs/cgroup")


def place(pid: int) -> str:
    """The cgroup of a process."""
    return Path(f"/proc/{pid}/cgroup").read_text().rpartition("0::")[2].strip()


def limit(pocker: Pocker, name: str, file: str) -> str:
    """A file of the cgroup of a container that runs."""
    return (TOP / place(pocker.run_file(name)["pid"]).lstrip("/") / file).read_text().strip()


def test_limits_outlive_changes_by_systemd(pocker: Pocker) -> None:
    pocker.ok("run", "-d", "--name", "it", *NONE, "-m", "64m", "--memory-swap", "96m", "--cpus", "0.5", "--cpu-shares",
              "512", "--cpuset-cpus", "0", "--pids-limit", "50", "busybox", "sleep", "1000")
    name, run = os.readlink(pocker.root / "names" / "it"), pocker.run_file("it")
    assert place(run["pid"]) == f"/system.slice/pocker-{name}.scope/container"
    assert place(run["monitor"][0]) == f"/system.slice/pocker-{name}.scope/monitor"
    expected = {"memory.max": str(64 << 20), "memory.swap.max": str(32 << 20), "cpu.max": "50000 100000",
                "cpuset.cpus": "0", "pids.max": "50"}
    assert {file: limit(pocker, "it", file) for file in expected} == expected
    weight = limit(pocker, "it", "cpu.weight")
    assert 1 < int(weight) < 100
    subprocess.run(["systemctl", "daemon-reload"], check=True, timeout=120)
    assert {file: limit(pocker, "it", file) for file in expected} == expected
    assert limit(pocker, "it", "cpu.weight") == weight
    pocker.ok("update", "--memory", "128m", "--memory-swap", "-1", "--cpus", "0.25", "--pids-limit", "60", "it")
    expected |= {"memory.max": str(128 << 20), "memory.swap.max": "max", "cpu.max": "25000 100000", "pids.max": "60"}
    assert {file: limit(pocker, "it", file) for file in expected} == expected


def test_status_and_usage(pocker: Pocker) -> None:
    pocker.ok("run", "-d", "--name", "it", *NONE, "-m", "64m", "busybox", "sh", "-c", "sleep 1000 & sleep 2000; true")
    pocker.eventually(lambda: "sleep 2000" in pocker.ok("top", "it"), "it runs")
    assert "sleep 1000" in pocker.ok("top", "it")
    memory, pids = pocker.ok("stats", "--no-stream", "--format", "{{.MemUsage}}|{{.PIDs}}", "it").split("|")
    assert memory.endswith("/ 64MiB") and not memory.startswith("0B") and pids == "3"
    pocker.ok("pause", "it")
    assert limit(pocker, "it", "cgroup.freeze") == "1" and pocker.statuses() == {"it": "paused"}
    pocker.ok("unpause", "it")
    assert limit(pocker, "it", "cgroup.freeze") == "0"


def test_devices_are_those_that_are_named(pocker: Pocker) -> None:
    look = "mknod /d c 10 229; mknod /z c 1 5; (head -c1 /z | wc -c; : </d) 2>&1; true"   # 10:229 is fuse
    words = ("run", "--rm", *NONE)
    assert pocker.ok(*words, "busybox", "sh", "-c", look).endswith("Operation not permitted")
    said = pocker.ok(*words, "--device-cgroup-rule", "c 10:229 r", "busybox", "sh", "-c", look)
    assert said == "1"


def test_a_slice_and_a_directory_of_ones_own(pocker: Pocker) -> None:
    pocker.ok("run", "-d", "--name", "one", *NONE, "--cgroup-parent", "pockertest-own.slice", "busybox", "sleep",
              "1000")
    container = os.readlink(pocker.root / "names" / "one")
    assert place(pocker.run_file("one")["pid"]) == (
        f"/pockertest.slice/pockertest-own.slice/pocker-{container}.scope/container")
    pocker.ok("run", "-d", "--name", "two", *NONE, "--cgroup-parent", "/pockertest/below", "busybox", "sleep", "1000")
    assert place(pocker.run_file("two")["pid"]).startswith("/pockertest/below/")
    pocker.ok("rm", "-f", "one", "two")
    for path in (TOP / "pockertest/below", TOP / "pockertest"):
        if path.exists():
            path.rmdir()


def test_it_restarts_at_once(pocker: Pocker) -> None:
    """While systemd may still be removing the scope of the previous run."""
    pocker.ok("run", "-d", "--name", "it", *NONE, "busybox", "sleep", "1000")
    for _ in range(3):
        pocker.ok("restart", "-t", "0", "it")
    pocker.ok("run", "--name", "policy", *NONE, "--restart", "on-failure:2", "-d", "busybox", "false")
    pocker.eventually(lambda: pocker.ok("inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "policy") == "2 exited",
                      "the container was restarted twice")
    os.kill(pocker.run_file("it")["monitor"][0], 9)
    pocker.ok("rm", "-f", "it")


def test_systemd_may_stop_it(pocker: Pocker) -> None:
    """As at a shutdown of the host: the container may exit by itself, and its exit status is known."""
    pocker.ok("run", "-d", "--name", "it", *NONE, "busybox", "sh", "-c",
              "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.1; done")
    pocker.eventually(lambda: "ready" in pocker.ok("logs", "it"), "the trap is set")
    unit = f"pocker-{os.readlink(pocker.root / 'names' / 'it')}.scope"
    subprocess.run(["systemctl", "stop", unit], check=True, timeout=120)
    pocker.eventually(lambda: pocker.statuses() == {"it": "exited"}, "it has ended")
    assert pocker.ok("wait", "it") == "5" and "bye" in pocker.ok("logs", "it")


def test_names_are_served_after_the_first_container_has_stopped(lab: Lab) -> None:
    lab.ok("network", "create", "blue")
    for name in ("first", "second", "third"):
        lab.ok("run", "-d", "--name", name, "--network", "blue", "busybox", "sleep", "1000")
    unit = f"pocker-{os.readlink(lab.root / 'names' / 'first')}.scope"
    server = int((lab.run / "networks/names").read_text().split()[0])
    assert place(server).endswith(f"/pocker-names-{server}.scope")
    subprocess.run(["systemctl", "stop", unit], check=True, timeout=120)
    assert not gone(server)
    assert lab.ok("exec", "second", "nslookup", "third").count("Address") >= 2


USER = 1000


@pytest.mark.skipif(not Path(f"/run/user/{USER}/bus").exists(), reason=f"user {USER} has no systemd of his own here")
def test_a_users_containers_are_limited_by_his_own_systemd(pocker: Pocker, tmp_path: Path) -> None:
    """Without root, from a session: the user's systemd creates the scope, and delegated controllers can set limits."""
    import pwd
    import tempfile

    name = pwd.getpwuid(USER).pw_name
    archive = tmp_path / "busybox.tar"
    pocker.ok("save", "-o", archive, "busybox")
    with tempfile.TemporaryDirectory(prefix="pocker-user-") as home:
        os.chmod(home, 0o755)
        os.chown(home, USER, USER)
        os.rename(archive, f"{home}/busybox.tar")
        script = f"""
set -e; cd {home}; export HOME={home} PATH={BIN}:/usr/sbin:/usr/bin:/sbin:/bin
trap 'pocker rm -f it >/dev/null 2>&1; read pid <"$XDG_RUNTIME_DIR/pocker/namespace" || :; pid=${{pid#[}};
      kill "${{pid%%,*}}"' EXIT
pocker load -q -i busybox.tar >/dev/null
pocker run -d --name it --network none -m 64m --pids-limit 50 busybox sleep 1000 >/dev/null
pid=$(pocker inspect -f '{{{{.State.Pid}}}}' it)
cgroup=$(cut -d: -f3 /proc/$pid/cgroup); echo $cgroup
cat /sys/fs/cgroup$cgroup/memory.max /sys/fs/cgroup$cgroup/pids.max
pocker exec it cat /proc/self/cgroup
pocker pause it; pocker unpause it; pocker stop -t 0 it
export DBUS_SESSION_BUS_ADDRESS=unix:path=/run/dbus/system_bus_socket   # there is a systemd, but not his
pocker run --rm --network none busybox echo without a scope
pocker run --rm --network none -m 64m busybox echo unlimited 2>&1 || :
"""
        os.chmod(f"{home}/busybox.tar", 0o644)
        # In a cgroup that root owns, as in a session: only systemd can move processes out of it.
        done = subprocess.run(["setpriv", "--reuid", str(USER), "--regid", str(USER), "--init-groups", "env", "-i",
                               f"XDG_RUNTIME_DIR=/run/user/{USER}", f"USER={name}", "sh", "-c", script],
                              capture_output=True, text=True, check=False, timeout=300, stdin=subprocess.DEVNULL)
        lines = done.stdout.splitlines()
        assert done.returncode == 0 and len(lines) >= 9, (done.stdout, done.stderr)
        assert lines[0].startswith(f"/user.slice/user-{USER}.slice/user@{USER}.service/")
        assert lines[0].endswith(".scope/container") and lines[1:4] == [str(64 << 20), "50", "0::/"]
        assert lines[7] == "without a scope" and "error: " in lines[8] and "unlimited" not in done.stdout, lines
        subprocess.run(["rm", "-rf", f"{home}/.local"], check=True)


def test_nothing_is_left_of_a_start_that_failed(pocker: Pocker) -> None:
    pocker.fails("run", "--rm", *NONE, "-u", "nobody-knows", "busybox", "true", status=125)
    deadline = time.monotonic() + 30
    while [path for path in TOP.glob("system.slice/pocker-*") if "names" not in path.name]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
