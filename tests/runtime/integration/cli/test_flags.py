"""Flags that other tests do not cover, and their effect on a program, a hook or an agent."""

from __future__ import annotations

import array
import json
import os
import re
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.commands import COMMAND
from tests.conftest import compile_c
from tests.containers import PATIENCE, Bundle, Runtime

RUNC = shutil.which("runc")


# --- create and run ------------------------------------------------------------------------------------------------

# keyctl(2): the number of the session keyring (KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING) and its name.
KEYRING = """
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void)
{
	char text[200] = "";
	long key = syscall(SYS_keyctl, 0, -3, 0);
	syscall(SYS_keyctl, 6, key, text, sizeof text);
	printf("%ld %s\\n", key, text);
	return 0;
}
"""


@pytest.fixture
def keys(own_bundle: Bundle, tmp_path: Path) -> Bundle:
    """A bundle with a program that prints its session keyring."""
    if not Path("/proc/keys").exists():
        pytest.skip("the kernel has no key retention service (CONFIG_KEYS)")
    (tmp_path / "keyring.c").write_text(KEYRING)
    program = compile_c(Path(own_bundle.config["root"]["path"]) / "bin/keyring", [tmp_path / "keyring.c"], "-static")
    program.chmod(0o755)
    return own_bundle.shell("sleep 100")


@pytest.mark.parametrize("command", ["create", "run"])
def test_the_session_keyring(runtime: Runtime, keys: Bundle, command: str) -> None:
    assert re.fullmatch(r"\d+ keyring;0;0;[0-9a-f]+;_ses\.c0\n", runtime.ok("run", "c0", keys.save(
        process__args=["keyring"])))
    runtime.ok(command, *(["--detach"] if command == "run" else []), "c1", keys.shell("sleep 100"))
    first, second = (runtime.ok("exec", "c1", "keyring") for _ in range(2))
    assert first.endswith(";_ses.c1\n") and first == second   # exec joins the keyring, and creates none
    assert runtime.ok("exec", "--user", "5:6", "c1", "keyring").split()[0] == first.split()[0]


@pytest.mark.parametrize("command", ["create", "run"])
def test_no_new_keyring(runtime: Runtime, keys: Bundle, command: str) -> None:
    words = ["--detach"] if command == "run" else []
    runtime.ok(command, *words, "--no-new-keyring", "c1", keys)
    assert "_ses.c1" not in runtime.ok("exec", "c1", "keyring")
    runtime.ok(command, *words, "--no-new-keyring=false", "c2", keys)
    assert "_ses.c2" in runtime.ok("exec", "c2", "keyring")


@pytest.mark.parametrize("command", ["create", "run"])
def test_pidfd_socket(runtime: Runtime, bundle: Bundle, tmp_path: Path, command: str) -> None:
    got: list[Any] = []

    def serve() -> None:
        with listener.accept()[0] as connection:
            data, fds, _, _ = socket.recv_fds(connection, 4096, 4)
            got.extend([data, list(fds), connection.recv(1)])

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        runtime.ok(command, *(["-d"] if command == "run" else []), "--pidfd-socket", "s", "c1",
                   bundle.shell("sleep 100"), cwd=tmp_path)
        thread.join(PATIENCE)
    data, fds, rest = got
    try:
        assert len(fds) == 1 and 1 <= len(data) < 4096 and rest == b""
        assert f"Pid:\t{runtime.state('c1')['pid']}\n" in Path(f"/proc/self/fdinfo/{fds[0]}").read_text()
    finally:
        for fd in fds:
            os.close(fd)


@pytest.mark.parametrize("command", ["create", "run"])
def test_no_pivot(runtime: Runtime, bundle: Bundle, command: str) -> None:
    bundle.shell("echo /*; sleep 100")
    runtime.ok(command, *(["--detach"] if command == "run" else []), "--no-pivot", "c1", bundle)
    inside = runtime.ok("exec", "c1", "sh", "-c", "cd /../..; echo *")
    assert inside == runtime.ok("exec", "c1", "sh", "-c", "cd /; echo *") and "bin" in inside


def test_pid_file_and_bundle(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """Both are relative to the caller's working directory."""
    bundle.shell("sleep 100")
    runtime.ok("run", "-d", "-b", bundle.path.name, "--pid-file=pid", "c1", cwd=tmp_path)
    text = (tmp_path / "pid").read_text()
    assert text == str(runtime.state("c1")["pid"]) and runtime.state("c1")["bundle"] == str(bundle)


@pytest.mark.parametrize("flag", ["", "--no-subreaper"])
def test_subreaper(runtime: Runtime, bundle: Bundle, flag: str) -> None:
    """An orphan of the container becomes a child of a foreground run, unless --no-subreaper is given."""
    bundle.config["linux"]["namespaces"] = [entry for entry in bundle.config["linux"]["namespaces"]
                                              if entry["type"] != "pid"]
    bundle.shell("(sleep 1234 & echo $!; sh -c 'echo $PPID'; true); sleep 100")
    command = [str(COMMAND), "--root", str(runtime.root), "run", *([flag] if flag else []), "c1", str(bundle)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        orphan, parent = int(process.stdout.readline()), int(process.stdout.readline())
        while parent_of(orphan) == parent:   # until it has exited
            assert process.poll() is None
        adopted = parent_of(orphan) == process.pid
        runtime.ok("kill", "c1", "KILL")
        process.wait(PATIENCE)
    assert adopted is (not flag)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize("command", [["run"], ["run", "-d"], ["create"]])
def test_pipes_belong_to_the_programs_user(runtime: Runtime, bundle: Bundle, command: list[str]) -> None:
    """A program of any user can open /dev/stdout by its name; files and /dev/null keep their owners."""
    bundle.shell("echo by name >/dev/stdout", process__user={"uid": 1000, "gid": 1000})
    before = os.stat("/dev/null")
    with subprocess.Popen([str(word) for word in (COMMAND, "--root", runtime.root, *command, "c1", bundle)],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.wait(PATIENCE) == 0 and process.stdout is not None
        if command == ["create"]:
            runtime.ok("start", "c1")
        assert process.stdout.read() == "by name\n"
    after = os.stat("/dev/null")
    assert (before.st_uid, before.st_gid, before.st_mode) == (after.st_uid, after.st_gid, after.st_mode)


def test_files_keep_their_owner(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("x")
    with (tmp_path / "in").open() as file:
        runtime.ok("run", "c1", bundle.shell("cat", process__user={"uid": 1000, "gid": 1000}), stdin=file)
    assert (tmp_path / "in").stat().st_uid == 0


# --- debug -----------------------------------------------------------------------------------------------------------

def test_debug_messages(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """The phrases that callers and their tests match; none of them on standard error."""
    bundle.shell("sleep 100", linux__seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []})
    log = tmp_path / "log"
    done = runtime("--debug", "--log", log, "run", "-d", "c1", bundle)
    assert (done.returncode, done.stderr) == (0, "")
    text = log.read_text()
    for phrase in ("nsexec container setup", "child process in init()", "init: closing the pipe to signal completion",
                   '"seccomp filter flags: 4"', "phase cgroup: cgroup_create <- linux.cgroupsPath"):
        assert phrase in text, phrase
    assert all("level=debug" in line and " func=" in line for line in text.splitlines())
    log.unlink()
    process = tmp_path / "process.json"
    process.write_text(json.dumps({"cwd": "/", "args": ["true"], "env": ["PATH=/bin"],
                                   "user": {"uid": 0, "gid": 0}, "execCPUAffinity": {"initial": "0"}}))
    assert runtime.ok("--debug", "--log", log, "exec", "-p", process, "c1") == ""
    text = log.read_text()
    for phrase in ("nsexec container setup", "child process in init()", "setns_init: about to exec", "affinity: 0x1"):
        assert phrase in text, phrase


@pytest.mark.parametrize(("flags", "number"), [
    (None, 4), ([], 0), (["SECCOMP_FILTER_FLAG_LOG"], 2), (["SECCOMP_FILTER_FLAG_TSYNC"], 0),
    (["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"], 6)])
def test_flags_of_the_filter(runtime: Runtime, bundle: Bundle, tmp_path: Path, flags: list[str] | None,
                             number: int) -> None:
    section: dict[str, Any] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
    if flags is not None:
        section["flags"] = flags
    runtime.ok("--debug", "--log", tmp_path / "log", "run", "c1", bundle.shell("true", linux__seccomp=section))
    assert f'"seccomp filter flags: {number}"' in (tmp_path / "log").read_text()


# --- update ----------------------------------------------------------------------------------------------------------

def cgroup(runtime: Runtime, controller: str, v1: str, v2: str) -> str:
    paths = json.loads((runtime.root / "c1/state.json").read_text())["cgroup"]
    place = next((path for key, path in paths.items() if controller in key.split(",")), None)
    file = Path(place, v1) if place else Path(paths[""], v2)
    if not file.exists():
        pytest.skip(f"the kernel has no {file.name}")
    return file.read_text().strip()


@pytest.mark.parametrize(("words", "controller", "v1", "v2", "value"), [
    (["--cpu-burst", "50000", "--cpu-quota", "50000", "--cpu-period", "100000"], "cpu", "cpu.cfs_burst_us",
     "cpu.max.burst", "50000"),
    (["--cpu-idle", "1"], "cpu", "cpu.idle", "cpu.idle", "1"),
    (["--blkio-weight", "100"], "blkio", "blkio.bfq.weight", "io.bfq.weight", "100"),
    (["--cpu-rt-period", "900000", "--cpu-rt-runtime", "0"], "cpu", "cpu.rt_period_us", "cpu.rt_period_us", "900000"),
])
def test_limits_that_some_kernels_lack(runtime: Runtime, bundle: Bundle, words: list[str], controller: str, v1: str,
                                          v2: str, value: str) -> None:
    runtime.ok("run", "-d", "c1", bundle.shell("sleep 100"))
    cgroup(runtime, controller, v1, v2)
    runtime.ok("update", *words, "c1")
    assert cgroup(runtime, controller, v1, v2).split()[-1] == value


@pytest.mark.parametrize("flag", ["--kernel-memory", "--kernel-memory-tcp"])
def test_kernel_memory_is_ignored(runtime: Runtime, bundle: Bundle, flag: str) -> None:
    runtime.ok("run", "-d", "c1", bundle.shell("sleep 100"))
    done = runtime("update", flag, "50M", "c1")
    assert done.returncode == 0 and "Kernel memory settings are ignored and will be removed" in done.stderr


@pytest.mark.parametrize("flag", ["--l3-cache-schema", "--mem-bw-schema"])
def test_intel_rdt_needs_a_resctrl_filesystem(runtime: Runtime, bundle: Bundle, flag: str) -> None:
    if " resctrl " in Path("/proc/mounts").read_text():
        pytest.skip("the host has resctrl")
    runtime.ok("run", "-d", "c1", bundle.shell("sleep 100"))
    done = runtime("update", flag, "L3:0=f", "c1")
    assert done.returncode == 1 and ("resctrl" in done.stderr or "RDT" in done.stderr), done.stderr


# --- kill, list, events, state -------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["USR1", "SIGUSR1", "usr1", "sigusr1", "10"])
def test_signals_by_name(runtime: Runtime, bundle: Bundle, name: str) -> None:
    runtime.ok("run", "-d", "c1", bundle.shell("trap 'exit 0' USR1; echo; while :; do sleep 0.05; done"))
    while not int(re.search(r"SigCgt:\t(\w+)", Path(  # type: ignore[index]
            f"/proc/{runtime.state('c1')['pid']}/status").read_text())[1], 16) >> 9 & 1:
        pass
    runtime.ok("kill", "c1", "0")
    runtime.ok("kill", "c1", name)
    runtime.await_status("c1", "stopped")


@pytest.mark.parametrize("flag", ["--all", "-a"])
def test_kill_all(runtime: Runtime, bundle: Bundle, flag: str) -> None:
    runtime.ok("run", "-d", "c1", bundle.shell("sleep 100 & wait"))
    runtime.ok("kill", flag, "c1", "KILL")
    runtime.await_status("c1", "stopped")
    assert runtime.ok("ps", "--format=json", "c1") == "null\n"


def test_formats_of_list(runtime: Runtime, bundle: Bundle) -> None:
    runtime.root.mkdir(0o700)
    assert runtime.ok("list", "--format", "json") == "null\n"
    assert runtime.ok("list", "--quiet") == ""
    runtime.ok("create", "c1", bundle.shell("sleep 100", annotations={"a.b": "c"}))
    state = runtime.state("c1")
    text = runtime.ok("list", "-f", "json")
    assert text.count("\n") == 1 and ": " not in text and ", " not in text
    assert list(json.loads(text)[0]) == ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created",
                                         "annotations", "owner"]
    assert json.loads(text)[0] == {**state, "owner": "root"}
    heading, row = runtime.ok("list").splitlines()
    assert heading.startswith("ID          PID         STATUS      BUNDLE")
    assert row.split() == ["c1", str(state["pid"]), "created", str(bundle), state["created"], "root"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", state["created"])
    assert heading.index("STATUS") == row.index("created")


def test_format_of_state(runtime: Runtime, bundle: Bundle) -> None:
    runtime.ok("create", "c1", bundle.shell("sleep 100", annotations={"a.b": "c"}))
    text = runtime.ok("state", "c1")
    assert re.fullmatch(r'\{\n  "ociVersion": "1\.3\.0",\n  "id": "c1",\n  "pid": \d+,\n  "status": "created",\n'
                        r'  "bundle": ".*",\n  "rootfs": ".*",\n  "created": ".*Z",\n  "annotations": \{\n'
                        r'    "a\.b": "c"\n  \},\n  "owner": ""\n\}\n', text)
    runtime.ok("create", "c2", bundle.shell("sleep 100", ociVersion="1.0.2", annotations={}))
    state = runtime.state("c2")
    assert state["ociVersion"] == "1.0.2" and "annotations" not in state


def test_interval_of_events(runtime: Runtime, bundle: Bundle) -> None:
    runtime.ok("run", "-d", "c1", bundle.shell("sleep 100"))
    process = subprocess.Popen([COMMAND, "--root", runtime.root, "events", "--interval=50ms", "c1"], text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        for _ in range(3):
            assert process.stdout.readline().startswith('{"type":"stats","id":"c1","data":{"cpu":')
        runtime.ok("delete", "-f", "c1")
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_modes_of_the_state_directory(runtime: Runtime, bundle: Bundle) -> None:
    runtime.ok("create", "c1", bundle.shell("true"))
    assert runtime.root.stat().st_mode & 0o777 == 0o700
    assert (runtime.root / "c1/state.json").stat().st_mode & 0o777 == 0o600


# --- hooks -----------------------------------------------------------------------------------------------------------

def test_the_input_of_hooks(runtime: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """The state on standard input, compact and without a newline; working directory and environment depend on the
    kind."""
    script = 'cat >{}/state.$KIND; pwd >{}/pwd.$KIND; env | sort >{}/env.$KIND'
    outside = script.format(*[tmp_path] * 3)
    rootfs = Path(own_bundle.config["root"]["path"])
    kinds = {"prestart": outside, "createRuntime": outside, "createContainer": outside,
             "startContainer": script.format(*["/tmp"] * 3), "poststart": outside, "poststop": outside}
    own_bundle.config["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", f"KIND={kind}; {text}"]}]
                                  for kind, text in kinds.items()}
    own_bundle.shell("sleep 100", process__env=["PATH=/bin", "MARK=container"], annotations={"k": "v"})
    for name in ("lib", "lib64", "usr", "etc"):
        if Path("/", name).exists() and not (rootfs / name).exists():
            (rootfs / name).mkdir()
    runtime.ok("create", "c1", own_bundle, env={"MARK": "runtime"})
    pid = runtime.state("c1")["pid"]
    runtime.ok("start", "c1", env={"MARK": "runtime"})
    runtime.ok("delete", "-f", "c1", env={"MARK": "runtime"})
    bundle, root = str(own_bundle), str(rootfs)
    for kind, status, number, cwd, mark in (
            ("prestart", "created", pid, bundle, "MARK=runtime"), ("createRuntime", "creating", pid, bundle,
                                                                    "MARK=runtime"),
            ("createContainer", "creating", 1, root, ""), ("startContainer", "created", 1, "/", "MARK=container"),
            ("poststart", "running", pid, bundle, "MARK=runtime"), ("poststop", "stopped", None, bundle,
                                                                     "MARK=runtime")):
        place = rootfs / "tmp" if kind == "startContainer" else tmp_path
        text = (place / f"state.{kind}").read_text()
        state = json.loads(text)
        expected: dict[str, Any] = {"ociVersion": "1.3.0", "id": "c1", "status": status}
        if number is not None:
            expected["pid"] = number
        expected |= {"bundle": bundle, "annotations": {"k": "v"}}
        assert (list(state), state) == (list(expected), expected), kind
        assert "\n" not in text and '": ' not in text, kind
        assert (place / f"pwd.{kind}").read_text() == f"{cwd}\n", kind
        env = (place / f"env.{kind}").read_text()
        assert (mark in env if mark else "MARK=" not in env), (kind, env)


def test_hooks_with_a_timeout_and_failing_hooks(runtime: Runtime, bundle: Bundle) -> None:
    bundle.config["hooks"] = {"prestart": [{"path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1}]}
    done = runtime("create", "c1", bundle.shell("true"))
    assert done.returncode == 1
    assert "error running prestart hook #0: hook ran past specified timeout of 1.0s" in done.stderr
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/true"}, {"path": "/bin/sh", "args": [
        "sh", "-c", "echo said; exit 3"]}]}
    done = runtime("create", "c1", bundle.save())
    assert "error running createRuntime hook #1" in done.stderr and "exit status 3" in done.stderr
    assert "said" in done.stderr
    bundle.config["hooks"] = {"poststop": [{"path": "/bin/false"}]}
    runtime.ok("create", "c1", bundle.save())
    done = runtime("delete", "-f", "c1")
    assert done.returncode == 0 and "poststop hook #0" in done.stderr


# --- the contents of a default container ------------------------------------------------------------------------------

def test_a_default_container_is_the_same_as_with_runc(runtime: Runtime, tmp_path: Path, shared_rootfs: Path) -> None:
    """Mounts with their options, devices and links, environment, limits and capabilities, compared line by line."""
    if not RUNC:
        pytest.skip("needs runc for the comparison")
    runtime.ok("spec", "-b", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    script = r"""
    cut -d' ' -f5- /proc/self/mountinfo | sed 's/ - \([a-z0-9]*\) .*/ \1/; s/ master:[0-9]*//; s/size=[0-9k]*//' | sort
    ls -lA /dev | awk '{print $1, $3, $4, $5, $6, $NF}' | sed 's/ [A-Z][a-z][a-z] / /'
    ls -ld / /proc /sys /dev/shm /dev/mqueue /dev/pts | awk '{print $1, $3, $4, $NF}'
    env | sort; id; umask; pwd; hostname | wc -l
    grep -e Cap -e NoNew -e Seccomp: /proc/self/status
    grep -v 'Max processes' /proc/self/limits
    cat /proc/self/oom_score_adj; ls /proc/self/fd | wc -l; cat /proc/net/dev | wc -l
    cat /proc/kcore /proc/keys 2>&1 | wc -c; ls /proc/acpi /proc/scsi 2>&1 | sort
    for at in /proc/sys/kernel/hostname /sys/x /x /dev/x /dev/shm/x; do (echo y >$at) 2>&1 | sed 's/.*: //'; done
    """
    config["ociVersion"] = "1.0.2"   # old releases refuse newer versions
    config["process"].update(terminal=False, args=["sh", "-c", script])
    config["root"]["path"] = str(shared_rootfs)
    config["linux"]["namespaces"] = [entry for entry in config["linux"]["namespaces"] if entry["type"] != "cgroup"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    ours = runtime.ok("run", "-b", tmp_path, "c1")
    theirs = subprocess.run([RUNC, "--root", tmp_path / "runc", "run", "-b", tmp_path, f"{tmp_path.name}-runc"],
                            capture_output=True, text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL)
    if theirs.returncode:
        pytest.skip(f"runc cannot run this: {theirs.stderr}")
    assert _comparable(ours) == _comparable(theirs.stdout)


def _comparable(text: str) -> list[str]:
    """Without the mounts that differ intentionally (docs/differences.md): masked paths, and /sys/fs/cgroup."""
    masks = re.compile(r"(/proc/\S+|/sys/firmware|/sys/fs/cgroup) \S+ (dev)?tmpfs$")
    return [line for line in text.splitlines() if not masks.match(line)]


def test_init_while_it_waits(runtime: Runtime, bundle: Bundle) -> None:
    runtime.ok("create", "c1", bundle.shell("true"))
    pid = runtime.state("c1")["pid"]
    assert Path(f"/proc/{pid}/comm").read_text() == "pyruntime:init\n"
    assert Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"pyruntime-init\0")
    for fd in os.listdir(f"/proc/{pid}/fd"):
        target = os.readlink(f"/proc/{pid}/fd/{fd}")
        assert int(fd) < 3 or target == "/" or target.startswith("socket:"), (fd, target)


def test_only_the_master_end_of_the_terminal_is_sent(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """One connection, one message, one descriptor: receivers refuse anything else."""
    got: list[Any] = []

    def serve() -> None:
        with listener.accept()[0] as connection:
            data, ancillary, flags, _ = connection.recvmsg(4096, socket.CMSG_SPACE(64))
            fds = array.array("i")
            for _, _, raw in ancillary:
                fds.frombytes(raw)
            got.extend([data, list(fds), len(ancillary), flags, connection.recv(1)])

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        runtime.ok("run", "-d", "--console-socket", "s", "c1", bundle.shell("sleep 100", process__terminal=True),
                   cwd=tmp_path)
        thread.join(PATIENCE)
    data, fds, messages, flags, rest = got
    try:
        assert (len(fds), messages, flags, rest) == (1, 1, 0, b"") and 1 <= len(data) <= 4095
        pid = runtime.state("c1")["pid"]
        assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)] == ["/dev/pts/0"] * 3
        assert int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[4])   # a controlling terminal
    finally:
        for fd in fds:
            os.close(fd)
