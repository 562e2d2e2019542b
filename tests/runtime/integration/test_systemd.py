"""The systemd cgroup driver: D-Bus calls to a fake systemd on any host, and containers with the real systemd if it is
running (tests/vm)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles.build import busybox_rootfs
from pyruntime import Runtime as Library
from pyruntime.errors import HostError, SystemdError
from pyruntime.runtime.cgroups import systemd_bus
from pyruntime.runtime.cgroups.host import discover
from pyruntime.system.processes import start_time
from tests.commands import COMMAND
from tests.conftest import TOP
from tests.containers import PATIENCE, Bundle, Runtime, end

HOST = discover()
M = 1 << 20
REAL = Path("/run/systemd/system").is_dir()
with_fake = pytest.mark.skipif(HOST.layout == "v2", reason="the fake systemd delegates no cgroup v2 controllers")
with_v2 = pytest.mark.skipif(HOST.layout != "v2", reason="the files are those of cgroup v2")
with_systemd = pytest.mark.skipif(not REAL, reason="systemd is not running: see tests/vm")


class Fake:
    """The fake systemd, and the calls that it received."""

    def __init__(self, directory: Path, runtime: Runtime) -> None:
        self.base = f"/pyruntime-fake-{os.getpid()}"
        self.log = directory / "calls"
        self.address = f"unix:path={directory}/bus"
        self.socket = f"{directory}/bus"
        self.processes: list[subprocess.Popen[Any]] = []
        runtime.environment["DBUS_SYSTEM_BUS_ADDRESS"] = self.address
        self._start(["dbus-daemon", "--config-file", str(_bus_config(directory)), "--nofork"])
        self._await(lambda: Path(self.socket).exists())

    def begin(self, behaviour: str = "") -> None:
        """Start it."""
        self._start([sys.executable, "-m", "tests.runtime.integration.fake_systemd", self.socket, self.base,
                     str(self.log), behaviour])
        self._await(self._answers)

    def _start(self, command: list[str]) -> None:
        self.processes.append(subprocess.Popen(command, cwd=TOP, stdin=subprocess.DEVNULL))

    def _answers(self) -> bool:
        os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = self.address
        try:
            systemd_bus.ask(user=False)
        except HostError:
            return False
        finally:
            del os.environ["DBUS_SYSTEM_BUS_ADDRESS"]
        return True

    def _await(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not true():
            assert all(process.poll() is None for process in self.processes), "it ended"
            assert time.monotonic() < deadline, "it does not come up"
            time.sleep(0.02)

    def calls(self, method: str = "") -> list[Any]:
        """The bodies of the calls so far, or only of one method."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [body for name, body in lines if name == method] if method else [name for name, _ in lines]

    def cgroups(self) -> list[str]:
        """The cgroups below its own cgroup."""
        return [directory for item in HOST.all() for directory, _, _ in os.walk(item.mountpoint + self.base)]

    def end(self) -> None:
        for process in reversed(self.processes):
            end(process)


def _bus_config(directory: Path) -> Path:
    path = directory / "bus.conf"
    path.write_text(f"""<busconfig><type>system</type><listen>unix:path={directory}/bus</listen>
        <policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
        <allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>""")
    return path


@pytest.fixture
def fake(tmp_path: Path, runtime: Runtime) -> Iterator[Fake]:
    if not shutil.which("dbus-daemon"):
        pytest.fail("dbus-daemon is not installed: run tools/install-deps test")
    made = Fake(tmp_path, runtime)
    yield made
    left = made.cgroups()
    for path in reversed(left):
        os.rmdir(path)
    made.end()
    assert not left


def _properties(call: list[Any]) -> dict[str, Any]:
    return {name: value[1] for name, value in call[2]}


def _cgroups_of(pid: int) -> dict[str, str]:
    return {key: path for _, key, path in (line.split(":", 2) for line in
                                           Path(f"/proc/{pid}/cgroup").read_text().splitlines())}


# --- the protocol ----------------------------------------------------------------------------------------------------

@with_fake
def test_a_life(fake: Fake, runtime: Runtime, bundle: Bundle) -> None:
    fake.begin()
    bundle.config["linux"]["resources"] = {"memory": {"limit": 64 * M}, "pids": {"limit": 20}}
    bundle.config["linux"]["cgroupsPath"] = "a-b.slice:p:c1"
    bundle.config["annotations"] = {"org.systemd.property.TimeoutStopSec": "7"}
    bundle.shell("sleep 1000")
    runtime.ok("--systemd-cgroup", "create", "c1", bundle)
    [body] = fake.calls("StartTransientUnit")
    assert body[:2] == ["p-c1.scope", "fail"] and body[3] == []
    told = _properties(body)
    assert told["Slice"] == "a-b.slice" and told["Delegate"] is True and told["DefaultDependencies"] is False
    assert told["MemoryLimit"] == 64 * M and told["TasksMax"] == 20 and told["TimeoutStopUSec"] == 7_000_000
    assert ["/dev/char/1:3", "rwm"] in told["DeviceAllow"]

    place = f"{fake.base}/a.slice/a-b.slice/p-c1.scope"
    pid = runtime.state("c1")["pid"]
    assert set(_cgroups_of(pid).values()) == {place}, "init is in the scope in every hierarchy"
    [holder] = told["PIDs"]
    assert holder != pid and not Path(f"/proc/{holder}").exists(), "the process that kept the scope has exited"
    for item in HOST.all():
        procs = Path(item.mountpoint + place, "cgroup.procs")
        assert procs.read_text().split() == [str(pid)]

    runtime.ok("--systemd-cgroup", "start", "c1")
    assert runtime.ok("--systemd-cgroup", "exec", "c1", "sh", "-c", "echo in").strip() == "in"
    runtime.ok("--systemd-cgroup", "pause", "c1")
    assert runtime.state("c1")["status"] == "paused"
    runtime.ok("--systemd-cgroup", "resume", "c1")
    runtime.ok("--systemd-cgroup", "update", "--pids-limit", "7", "--cpu-quota", "50000", "c1")
    [body] = fake.calls("SetUnitProperties")
    assert body[:2] == ["p-c1.scope", True]
    assert _properties(body) == {"TasksMax": 7, "CPUQuotaPerSecUSec": 500_000, "CPUQuotaPeriodUSec": 100_000}
    runtime.ok("--systemd-cgroup", "kill", "c1", "KILL")
    runtime.await_status("c1", "stopped")
    runtime.ok("--systemd-cgroup", "delete", "c1")
    assert fake.calls("StopUnit") == [["p-c1.scope", "replace"]]
    assert not fake.cgroups()


@with_fake
def test_all_processes_in_the_hosts_pid_namespace_are_killed(fake: Fake, runtime: Runtime, bundle: Bundle) -> None:
    fake.begin()
    bundle.config["linux"]["namespaces"] = [item for item in bundle.config["linux"]["namespaces"]
                                            if item["type"] != "pid"]
    runtime.ok("--cgroup-manager=systemd", "run", "-d", "c1", bundle.shell("sleep 1000 & sleep 1000"))
    runtime.ok("delete", "--force", "c1")   # the record has the owner of the cgroup


@with_fake
def test_a_failed_unit_is_reset(fake: Fake, runtime: Runtime, bundle: Bundle) -> None:
    fake.begin("leftover")
    runtime.ok("--systemd-cgroup", "create", "c1", bundle.shell("true"))
    assert fake.calls("ResetFailedUnit")[0] == ["pyruntime-c1.scope"] and len(fake.calls("StartTransientUnit")) == 2
    runtime.ok("delete", "--force", "c1")


@with_fake
def test_an_active_unit_is_not_changed(fake: Fake, runtime: Runtime, bundle: Bundle) -> None:
    fake.begin()
    bundle.config["linux"]["cgroupsPath"] = "x.slice:p:same"
    runtime.ok("--systemd-cgroup", "create", "c1", bundle.shell("sleep 1000"))
    pid = runtime.state("c1")["pid"]
    done = runtime("--systemd-cgroup", "create", "c2", bundle)
    assert done.returncode == 1 and "Unit p-same.scope was already loaded" in done.stderr
    assert "linux.cgroupsPath (p-same.scope)" in done.stderr, "the place in the document"
    assert runtime("state", "c2").returncode == 1
    killed = runtime("--systemd-cgroup", "create", "c3", bundle, env={"PYRUNTIME_FAULT": "kill:0"})
    assert killed.returncode == -9
    runtime.ok("delete", "--force", "c3")   # the unit never belonged to the container
    assert runtime.state("c1")["status"] == "created"
    assert set(_cgroups_of(pid).values()) == {f"{fake.base}/x.slice/p-same.scope"}
    runtime.ok("delete", "--force", "c1")


@with_fake
def test_a_job_that_fails(fake: Fake, runtime: Runtime, bundle: Bundle) -> None:
    fake.begin("failed")
    done = runtime("--systemd-cgroup", "create", "c1", bundle.shell("true"))
    assert done.returncode == 1
    assert 'systemd: start "pyruntime-c1.scope": its job ended as "failed"' in done.stderr


@with_fake
def test_a_job_that_does_not_end(fake: Fake, runtime: Runtime, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.begin("mute")
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", fake.address)
    monkeypatch.setattr(systemd_bus, "PATIENCE", 0.2)
    library = Library(runtime.root, cgroup_manager="systemd")
    with pytest.raises(SystemdError, match=r"its job did not end within 0\.2 s"):
        library.create("c1", bundle.shell("true").path)
    assert fake.calls("StopUnit"), "what may come yet is stopped"


@with_fake
def test_an_update_that_systemd_refuses_is_reverted(fake: Fake, runtime: Runtime, bundle: Bundle) -> None:
    fake.begin("refuse")
    bundle.config["linux"]["resources"] = {"pids": {"limit": 20}}
    runtime.ok("--systemd-cgroup", "run", "-d", "c1", bundle.shell("sleep 1000"))
    done = runtime("--systemd-cgroup", "update", "--pids-limit", "7", "c1")
    assert done.returncode == 1 and "SetUnitProperties: Value specified is out of range" in done.stderr
    record = json.loads((runtime.root / "c1" / "state.json").read_text())
    assert Path(record["cgroup"]["pids"], "pids.max").read_text().strip() == "20"
    runtime.ok("delete", "--force", "c1")


@with_fake
@pytest.mark.parametrize("fault", ["fail:0", "fail:1", "fail:30", "fail:-1", "kill:0", "after:0", "kill:1", "kill:30"])
def test_a_failed_step_leaves_nothing(fake: Fake, runtime: Runtime, bundle: Bundle, fault: str) -> None:
    fake.begin()
    bundle.shell("true")
    kind, _, number = fault.partition(":")
    if number == "-1":   # the last host step: the process that keeps the scope exits
        plan = json.loads(runtime.ok("--systemd-cgroup", "explain", "--json", bundle,
                                     env={"DBUS_SYSTEM_BUS_ADDRESS": fake.address}))
        number = next(str(index) for index, step in enumerate(plan["steps"]) if step["step"] == "cgroup_release")
    done = runtime("--systemd-cgroup", "create", "c1", bundle, env={"PYRUNTIME_FAULT": f"{kind}:{number}"})
    assert done.returncode != 0
    if runtime("state", "c1").returncode == 0:   # the runtime itself was killed
        runtime.ok("delete", "--force", "c1")
    assert runtime("state", "c1").returncode == 1


def test_the_scopes_holder_exits_with_the_runtime(tmp_path: Path) -> None:
    from pyruntime.runtime.compiler.compile import Plan
    from pyruntime.runtime.lifecycle.launch import Launch

    launch = Launch(Plan([], [], {}, []), {}, 0, lambda text: None)
    pid = launch.hold()
    assert Path(f"/proc/{pid}/comm").exists()
    os.close(launch._holder[1])   # as the kernel does if the runtime dies
    assert os.waitpid(pid, 0)[1] == 0


# --- without systemd -------------------------------------------------------------------------------------------------

def test_without_systemd(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    address = f"unix:path={tmp_path}/none"
    done = runtime("--systemd-cgroup", "create", "c1", bundle.shell("true"), env={"DBUS_SYSTEM_BUS_ADDRESS": address})
    assert done.returncode == 1
    assert f'the systemd cgroup driver needs the system bus, but none answers at "{address}"' in done.stderr
    assert "No such file or directory" in done.stderr and "use the cgroupfs driver" in done.stderr


def test_a_bus_without_systemd(fake: Fake, runtime: Runtime, bundle: Bundle) -> None:
    done = runtime("--systemd-cgroup", "create", "c1", bundle.shell("true"))
    assert done.returncode == 1 and "needs systemd, but it does not reply on its bus" in done.stderr


def test_an_invalid_bus_address(runtime: Runtime, bundle: Bundle) -> None:
    done = runtime("--systemd-cgroup", "create", "c1", bundle.shell("true"),
                   env={"DBUS_SYSTEM_BUS_ADDRESS": "tcp:host=127.0.0.1,port=1"})
    assert done.returncode == 1 and "is not that of a local socket" in done.stderr


def test_the_bus_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert systemd_bus.address_of(user=True)[0] == f"/run/user/{os.geteuid()}/bus"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/x")
    assert systemd_bus.address_of(user=True)[0] == "/x/bus"
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "tcp:host=x;unix:abstract=/a%20b,guid=1")
    assert systemd_bus.address_of(user=True)[0] == "\0/a b"


# --- the options -----------------------------------------------------------------------------------------------------

def test_every_command_accepts_the_option(runtime: Runtime, bundle: Bundle) -> None:
    """containerd passes the option with each call; commands that create nothing do not need systemd."""
    runtime.ok("run", "-d", "c1", bundle.shell("sleep 1000"))
    for words in (["state", "c1"], ["list"], ["ps", "c1"], ["exec", "c1", "true"], ["pause", "c1"], ["resume", "c1"],
                  ["update", "--pids-limit", "10", "c1"], ["events", "--stats", "c1"], ["kill", "c1", "0"],
                  ["features"], ["delete", "--force", "c1"]):
        runtime.ok("--systemd-cgroup", *words)


def test_conflicting_and_invalid_options(runtime: Runtime, bundle: Bundle) -> None:
    done = runtime("--cgroup-manager", "x", "create", "c1", bundle.shell("true"))
    assert done.returncode == 1 and 'invalid --cgroup-manager value "x"' in done.stderr
    done = runtime("--systemd-cgroup", "--cgroup-manager=cgroupfs", "create", "c1", bundle)
    assert done.returncode == 1 and "contradict each other" in done.stderr


def test_no_cgroup_at_all(runtime: Runtime, bundle: Bundle) -> None:
    bundle.config["linux"]["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    runtime.ok("--cgroup-manager=disabled", "run", "-d", "c1", bundle.shell("sleep 1000"))
    pid = runtime.state("c1")["pid"]
    assert _cgroups_of(pid) == _cgroups_of(os.getpid())
    runtime.ok("exec", "c1", "true")
    done = runtime("pause", "c1")
    assert done.returncode == 1 and "has no cgroup" in done.stderr
    runtime.ok("delete", "--force", "c1")
    assert not start_time(pid)
    bundle.config["linux"]["namespaces"].append({"type": "cgroup"})
    bundle.add_mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro")
    bundle.shell("cut -d: -f3 /proc/self/cgroup | sort -u")
    assert runtime.ok("--cgroup-manager=disabled", "run", "c1", bundle) == "/\n", "nevertheless a new cgroup namespace"
    bundle.config["linux"]["resources"] = {"pids": {"limit": 5}}
    done = runtime("--cgroup-manager=disabled", "create", "c1", bundle.save())
    assert done.returncode == 1 and "config.json: linux.resources.pids.limit: a limit needs a cgroup" in done.stderr


def test_another_configuration_file(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.shell("echo from the other")
    shutil.move(bundle.path / "config.json", tmp_path / "other.json")
    assert runtime.ok("run", "--config", tmp_path / "other.json", "--bundle", bundle, "c1") == "from the other\n"
    assert "execve" in runtime.ok("explain", "--config", tmp_path / "other.json", bundle)
    done = runtime("create", "--config", tmp_path / "none.json", "c1", bundle)
    assert done.returncode == 1 and "none.json not found" in done.stderr
    (tmp_path / "other.json").write_text('{"ociVersion": 5}')
    done = runtime("create", "--config", tmp_path / "other.json", "c1", bundle)
    assert done.returncode == 1 and "other.json: ociVersion" in done.stderr


def test_a_period_alone_keeps_the_quota(runtime: Runtime, bundle: Bundle) -> None:
    """cgroup v2 has both in one line, which always starts with the quota."""
    from pyruntime.runtime.cgroups.update import cpu_max

    bundle.config["linux"]["resources"] = {"cpu": {"quota": 50000, "period": 100000}}
    runtime.ok("run", "-d", "c1", bundle.shell("sleep 1000"))
    runtime.ok("update", "--cpu-period", "200000", "c1")
    record = json.loads((runtime.root / "c1" / "state.json").read_text())
    assert cpu_max(record["cgroup"]) == (50000, 200000)


# --- the real one ----------------------------------------------------------------------------------------------------

def show(unit: str, *names: str, user: bool = False) -> dict[str, str]:
    command = ["systemctl", *(["--user", "-M", "user@.host"] if user else []), "show", unit, "-p", ",".join(names)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(line.partition("=")[::2] for line in text.splitlines())


def units() -> str:
    return subprocess.run(["systemctl", "list-units", "--all", "--plain", "--no-legend"], capture_output=True,
                          text=True, check=True).stdout


@with_systemd
@with_v2
def test_a_scope(runtime: Runtime, bundle: Bundle) -> None:
    bundle.config["linux"]["resources"] = {
        "memory": {"limit": 64 * M, "reservation": 32 * M}, "pids": {"limit": 20},
        "cpu": {"shares": 200, "quota": 33333, "period": 100000, "cpus": "0"}}
    bundle.config["linux"]["cgroupsPath"] = "pyrt-tests.slice:p:c1"
    bundle.config["annotations"] = {"org.systemd.property.TimeoutStopSec": "7",
                                    "org.systemd.property.CollectMode": "'inactive-or-failed'"}
    runtime.ok("--systemd-cgroup", "run", "-d", "c1", bundle.shell("sleep 1000"))
    found = show("p-c1.scope", "ActiveState", "Slice", "ControlGroup", "MemoryMax", "MemoryLow", "TasksMax",
                 "CPUWeight", "AllowedCPUs", "Delegate", "DevicePolicy", "TimeoutStopUSec", "CollectMode",
                 "CPUQuotaPeriodUSec")
    assert found == {
        "ActiveState": "active", "Slice": "pyrt-tests.slice", "ControlGroup": "/pyrt.slice/pyrt-tests.slice/p-c1.scope",
        "MemoryMax": str(64 * M), "MemoryLow": str(32 * M), "TasksMax": "20", "CPUWeight": "29", "AllowedCPUs": "0",
        "Delegate": "yes", "DevicePolicy": "strict", "TimeoutStopUSec": "7s", "CollectMode": "inactive-or-failed",
        "CPUQuotaPeriodUSec": "100ms"}
    group = Path("/sys/fs/cgroup" + found["ControlGroup"])

    def read(file: str) -> str:
        return (group / file).read_text().strip()

    assert [read(file) for file in ("memory.max", "pids.max", "cpu.max", "cpu.weight")] == [
        str(64 * M), "20", "33333 100000", "29"]
    assert read("cgroup.procs") == str(runtime.state("c1")["pid"])
    runtime.ok("--systemd-cgroup", "update", "--memory", "32M", "--pids-limit", "9", "--cpu-period", "50000", "c1")
    assert [read(file) for file in ("memory.max", "pids.max", "cpu.max")] == [str(32 * M), "9", "33333 50000"]
    subprocess.run(["systemctl", "daemon-reload"], check=True)   # systemd writes its own values
    subprocess.run(["systemctl", "set-property", "--runtime", "p-c1.scope", "CPUWeight=30"], check=True)
    assert [read(file) for file in ("memory.max", "pids.max", "cpu.weight")] == [str(32 * M), "9", "30"]
    assert int(read("cpu.max").split()[0]) >= 33333
    done = runtime("exec", "c1", "sh", "-c", "cat /dev/null && ! cat /dev/kmsg 2>/dev/null && cat /proc/self/cgroup")
    assert done.returncode == 0, done.stderr
    assert not done.stdout or "p-c1.scope" in done.stdout or done.stdout == "0::/\n"
    runtime.ok("pause", "c1")
    assert "frozen 1" in read("cgroup.events")
    runtime.ok("resume", "c1")
    runtime.ok("--systemd-cgroup", "kill", "c1", "KILL")
    runtime.await_status("c1", "stopped")
    runtime.ok("--systemd-cgroup", "delete", "c1")
    assert not group.exists() and "p-c1.scope" not in units()


@with_systemd
@pytest.mark.parametrize("how", ["kill", "systemctl stop", "delete"])
def test_ways_to_end_a_scope(runtime: Runtime, bundle: Bundle, how: str) -> None:
    bundle.config["annotations"] = {"org.systemd.property.TimeoutStopSec": "1"}   # a shell as pid 1 ignores SIGTERM
    runtime.ok("--systemd-cgroup", "run", "-d", "c1", bundle.shell("sleep 1000"))
    pid = runtime.state("c1")["pid"]
    if how == "kill":
        os.kill(pid, signal.SIGKILL)
    elif how == "systemctl stop":
        subprocess.run(["systemctl", "stop", "pyruntime-c1.scope"], check=True)
    if how != "delete":
        runtime.await_status("c1", "stopped")
    runtime.ok("delete", "--force", "c1")
    assert "pyruntime-c1.scope" not in units()


@with_systemd
def test_the_name_of_a_failed_scope_can_be_used_again(runtime: Runtime, bundle: Bundle) -> None:
    """With RuntimeMaxSec the scope fails, and remains as a failed unit."""
    bundle.config["annotations"] = {"org.systemd.property.RuntimeMaxSec": "1",
                                    "org.systemd.property.TimeoutStopSec": "1"}
    runtime.ok("--systemd-cgroup", "run", "-d", "c1", bundle.shell("sleep 1000"))
    runtime.await_status("c1", "stopped")
    deadline = time.monotonic() + PATIENCE
    while "failed" not in show("pyruntime-c1.scope", "ActiveState")["ActiveState"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    shutil.rmtree(runtime.root / "c1")   # the record is lost
    del bundle.config["annotations"]
    runtime.ok("--systemd-cgroup", "run", "-d", "c1", bundle.save())
    assert show("pyruntime-c1.scope", "ActiveState")["ActiveState"] == "active"
    runtime.ok("delete", "--force", "c1")
    assert "pyruntime-c1.scope" not in units()


@with_systemd
def test_a_create_that_fails_leaves_no_unit(runtime: Runtime, bundle: Bundle) -> None:
    done = runtime("--systemd-cgroup", "create", "c1", bundle.save(process__args=["nosuch"]))
    assert done.returncode == 1 and "executable file not found" in done.stderr
    assert "pyruntime-c1.scope" not in units()
    bundle.config["annotations"] = {"org.systemd.property.NoSuchThing": "1"}
    done = runtime("--systemd-cgroup", "create", "c1", bundle.save(process__args=["true"]))
    assert done.returncode == 1 and "systemd: StartTransientUnit:" in done.stderr and "NoSuchThing" in done.stderr


ROOTLESS = r"""
set -e
runtime="$0 --root $1/state"
cd "$1"
$runtime --systemd-cgroup run -d c1 . </dev/null
unit=$(systemctl --user show pyruntime-c1.scope -p ControlGroup --value)
group=/sys/fs/cgroup$unit
echo "unit $unit"; echo "limits $(cat $group/pids.max) $(cat $group/memory.max)"
$runtime exec c1 true
$runtime exec -d c1 sleep 1000
echo "processes $(wc -l <$group/cgroup.procs)"
$runtime pause c1; $runtime state c1 | grep -q '"paused"'; $runtime resume c1
$runtime --systemd-cgroup update --pids-limit 7 c1
echo "after $(cat $group/pids.max) $(systemctl --user show pyruntime-c1.scope -p TasksMax --value)"
$runtime events --stats c1 | grep -q '"pids":{"current":2,"limit":7}'
$runtime --systemd-cgroup delete --force c1
if test -e $group || systemctl --user list-units --all --plain | grep '^pyruntime-c1'; then exit 1; fi
echo done
"""


@with_systemd
@with_v2
@pytest.mark.parametrize("where", ["service", "login", "namespace"])
def test_a_user(where: str, shared_rootfs: Path, bundle: Bundle) -> None:
    """From a service of the user's systemd; from a login session, whose cgroup the user cannot leave; and by rootless
    Podman, as root of a user namespace, whose user ID differs on the bus."""
    if subprocess.run(["id", "user"], capture_output=True, check=False).returncode:
        pytest.skip("there is no user called user with a running systemd")
    home = Path("/home/user/rootless")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    ours = Bundle(home, shared_rootfs)
    from pyruntime.runtime.config.template import template

    number = 0 if where == "namespace" else 1000
    ours.config = template(rootless=True, uid=number, gid=number, unified=True)
    ours.config["process"].update(terminal=False, args=["sleep", "1000"], rlimits=[])
    ours.config["root"]["path"] = str(shared_rootfs)
    ours.config["linux"]["resources"] = {"pids": {"limit": 20}, "memory": {"limit": 32 * M}}
    ours.save()
    subprocess.run(["chown", "-R", "user:", str(home)], check=True)
    if where != "login":
        words = ["systemd-run", "-qP", "--user", "-M", "user@.host", "--",
                 *(["unshare", "--map-root-user"] if where == "namespace" else []), "sh", "-c", ROOTLESS, COMMAND, home]
    else:
        script = home / "script"
        script.write_text(ROOTLESS)
        words = ["su", "-l", "user", "-c",
                 f"XDG_RUNTIME_DIR=/run/user/1000 sh -c \"$(cat {script})\" {COMMAND} {home}"]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False,
                          timeout=PATIENCE * 4, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [
        "unit /user.slice/user-1000.slice/user@1000.service/user.slice/pyruntime-c1.scope", f"limits 20 {32 * M}",
        "processes 2", "after 7 7", "done"]
    shutil.rmtree(home)


PODMAN = r"""
set -e
export CONTAINERS_CONF=/tmp/podman-$(id -u).conf
printf '[engine]\nruntime_supports_nocgroup = ["pyruntime"]\nruntime_supports_json = ["pyruntime"]\n' >$CONTAINERS_CONF
p() { podman --cgroup-manager systemd --events-backend file --runtime "$runtime" "$@"; }
runtime=$0; rootfs=$1; user=$2
p run -d --name web --network none --pids-limit 50 --memory 64m --rootfs $rootfs sleep 1000 >/dev/null
unit=libpod-$(p inspect web --format '{{.Id}}').scope
echo $(systemctl $user show $unit -p MemoryMax -p TasksMax -p ActiveState --value)
p exec web echo in exec
p pause web >/dev/null; p unpause web >/dev/null
p update --memory 32m web >/dev/null
cat /sys/fs/cgroup$(systemctl $user show $unit -p ControlGroup --value)/memory.max
p rm -f -t 0 web >/dev/null
echo left: $(systemctl $user list-units --all --plain --no-legend 'libpod-*')
p run --rm --network none --cgroups=disabled --rootfs $rootfs echo without cgroups
"""


@with_systemd
@with_v2
@pytest.mark.skipif(not shutil.which("podman"), reason="Podman is not installed: see tests/vm/README.md")
@pytest.mark.parametrize("user", [False, True], ids=["root", "rootless"])
def test_podman(user: bool, tmp_path: Path) -> None:
    """Podman's default on hosts with systemd; without root, it calls the runtime as root of its user namespace."""
    home = Path("/home/user") if user else tmp_path
    rootfs = home / "podman-rootfs"
    busybox_rootfs(rootfs)
    subprocess.run(["chown", "-R", "user:" if user else "root:", str(rootfs)], check=True)
    words = ["bash", "-c", PODMAN, COMMAND, rootfs, *(["--user"] if user else [])]
    if user:
        script = home / "podman-script"
        script.write_text(PODMAN)
        words = ["systemd-run", "-qP", "--user", "-M", "user@.host", "--", "bash", "-c",
                 f'exec bash -c "$(cat {script})" {COMMAND} {rootfs} --user']
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False,
                          timeout=PATIENCE * 4, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(done.stdout.splitlines()[0].split()) == {str(64 * M), "50", "active"}
    assert done.stdout.splitlines()[1:] == ["in exec", str(32 * M), "left:", "without cgroups"]
    shutil.rmtree(rootfs)
