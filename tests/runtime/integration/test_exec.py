"""exec: another process in a container. Each flag, inherited properties, errors, and no leftovers."""

from __future__ import annotations

import array
import json
import os
import pty
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pyruntime import Runtime as Library
from pyruntime.errors import ConfigError, NoSuchContainer, StateError, StepError, UsageError
from tests.commands import COMMAND
from tests.containers import Bundle, Runtime, end


@pytest.fixture
def c1(runtime: Runtime, bundle: Bundle) -> Runtime:
    """A runtime with a running container, c1."""
    runtime.ok("run", "-d", "c1", bundle.shell("sleep 1000"))
    return runtime


def sh(runtime: Runtime, script: str, *flags: object, **options: Any) -> str:
    return runtime.ok("exec", *flags, "c1", "sh", "-c", script, **options)


def test_exec_has_the_namespaces_and_cgroup_of_init(c1: Runtime) -> None:
    pid = c1.state("c1")["pid"]
    script = 'for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done; cat /proc/self/cgroup'
    names = [os.readlink(f"/proc/{pid}/ns/{name}") for name in ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")]
    assert sh(c1, script).splitlines() == names + Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    assert sh(c1, "echo *; pwd") == sh(c1, "cd /proc/1/root; echo *; echo /")


@pytest.mark.parametrize(("flags", "script", "expected"), [
    (["--cwd", "/proc"], "pwd", "/proc"),
    (["--env", "A=1", "-e", "B=2,3"], "echo $A $B", "1 2,3"),
    (["--env", "TERM=other"], "echo $TERM", "other"),
    (["--user", "1000"], "echo $(id -u) $(id -g)", "1000 0"),
    (["-u", "1000:1001"], "echo $(id -u) $(id -g)", "1000 1001"),
    (["-g", "5", "--additional-gids", "6"], "id -G", "0 5 6"),
    (["--user", "1234"], "echo $HOME", "/"),
    (["--env", "HOME="], "echo $HOME", "/root"),
    (["--env", "HOME=/x"], "echo $HOME", "/x"),
    (["--cap", "CAP_NET_ADMIN"], "grep CapEff /proc/self/status | cut -f2", "0000000020001420"),
    (["--cap", "CAP_NET_ADMIN"], "grep CapAmb /proc/self/status | cut -f2", "0000000000000000"),
    (["--no-new-privs"], "grep NoNew /proc/self/status | cut -f2", "1"),
    (["--no-new-privs=false"], "grep NoNew /proc/self/status | cut -f2", "0"),
    ([], "tty", "not a tty"),
])
def test_flags(c1: Runtime, flags: list[str], script: str, expected: str) -> None:
    assert c1("exec", *flags, "c1", "sh", "-c", script).stdout.strip() == expected


@pytest.mark.parametrize(("words", "phrases"), [
    (["c1"], ["exec args cannot be empty"]),
    (["nobody", "true"], ['container does not exist: "nobody"']),
    (["c1", "nosuch"], ["exec: process.args[0]", 'exec: "nosuch": executable file not found in $PATH']),
    (["c1", "/x"], ["process.args[0]", 'exec: "/x": stat /x: no such file or directory']),
    (["c1", "/etc/passwd"], ["process.args[0]", 'exec: "/etc/passwd": permission denied']),
    (["c1", "/etc"], ["process.args[0]", 'exec: "/etc": is a directory']),
    (["--cwd", "/x", "c1", "true"], ["process.cwd", 'chdir to cwd ("/x") set in config.json failed: no such file']),
    (["--cwd", "rel", "c1", "true"], ["process.cwd", "Cwd must be an absolute path"]),
    (["--user", "root", "c1", "true"], ['--user "root": bad uid']),
    (["--user", "1:x", "c1", "true"], ['--user "1:x": bad gid']),
    (["--user", "4294967295", "c1", "true"], ["bad uid"]),
    (["-g", "x", "c1", "true"], ['--additional-gids "x"']),
    (["--env", "bad", "c1", "true"], ["process.env[2]", '"bad" is not of the form NAME=value']),
    (["--process", "/nonexistent", "c1"], ["open /nonexistent: no such file or directory"]),
    (["--detach", "--tty", "c1", "true"], ["without setting console socket"]),
    (["--console-socket", "/x", "c1", "true"], ["cannot use console socket"]),
    (["-d", "-t", "--console-socket", "/nonexistent/x", "c1", "true"], ["--console-socket", "No such file"]),
    (["--pid-file", "/nonexistent/x", "c1", "true"], ["--pid-file", "No such file"]),
    (["--pidfd-socket", "/nonexistent/x", "c1", "true"], ["--pidfd-socket", "No such file"]),
    (["--preserve-fds", "-1", "c1", "true"], ["--preserve-fds"]),
    (["--cgroup", "/nonexistent", "c1", "true"], ["--cgroup", "No such file"]),
    (["--cgroup", "../x", "c1", "true"], ["../x is not a sub cgroup path"]),
    (["--cgroup", "a:b:c", "c1", "true"], ["invalid --cgroup argument: a:b:c"]),
    (["--cgroup", "nosuch:/", "c1", "true"], ["unknown controller nosuch in SubCgroupPaths"]),
    (["--apparmor", "x", "c1", "true"], ["process.apparmorProfile"]),
    (["--process-label", "x", "c1", "true"], ["process.selinuxLabel"]),
])
def test_refusals(c1: Runtime, words: list[str], phrases: list[str]) -> None:
    if "--apparmor" in words and Path("/sys/module/apparmor/parameters/enabled").exists():
        pytest.skip("the kernel has AppArmor")
    if "--process-label" in words and Path("/sys/fs/selinux/status").exists():
        pytest.skip("the kernel has SELinux")
    done = c1("exec", *words)
    assert done.returncode == 255
    assert all(phrase in done.stderr for phrase in phrases), done.stderr
    assert c1.state("c1")["status"] == "running"


@pytest.mark.parametrize(("words", "phrase"), [
    ([], '"exec" requires a minimum of 1 argument(s)'), (["--bad", "c1", "true"], "not defined: -bad")])
def test_wrong_command_lines(runtime: Runtime, words: list[str], phrase: str) -> None:
    done = runtime("exec", *words)
    assert done.returncode == 1 and phrase in done.stderr


@pytest.mark.parametrize(("script", "status"), [
    ("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)])
def test_exit_status(c1: Runtime, script: str, status: int) -> None:
    assert c1("exec", "c1", "sh", "-c", script).returncode == status


def test_the_program_may_have_options(c1: Runtime) -> None:
    assert c1.ok("exec", "c1", "echo", "--cwd", "-d", "--") == "--cwd -d --\n"


def test_standard_streams(c1: Runtime, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("given\n")
    with (tmp_path / "in").open() as file:
        done = c1("exec", "c1", "sh", "-c", "cat; echo wrong >&2", stdin=file)
    assert (done.stdout, done.stderr) == ("given\n", "wrong\n")


def test_statuses(runtime: Runtime, bundle: Bundle) -> None:
    runtime.ok("create", "c1", bundle.shell("sleep 1000"))
    assert sh(runtime, "cat /proc/1/comm") == "pyruntime:init\n"   # allowed, as with runc
    runtime.ok("start", "c1")
    runtime.ok("pause", "c1")
    done = runtime("exec", "c1", "true")
    assert done.returncode == 255
    assert "cannot exec in a paused container (use --ignore-paused to override)" in done.stderr
    process = subprocess.Popen([COMMAND, "--root", runtime.root, "exec", "--ignore-paused", "c1", "echo", "thawed"],
                               stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        runtime.ok("resume", "c1")
        assert process.wait(10) == 0 and process.stdout.read() == "thawed\n"
    finally:
        end(process)
        process.stdout.close()
    runtime.ok("kill", "c1", "KILL")
    runtime.await_status("c1", "stopped")
    done = runtime("exec", "c1", "true")
    assert done.returncode == 255 and "cannot exec in a stopped container" in done.stderr


def test_later_changes_of_config_json_have_no_effect(c1: Runtime, bundle: Bundle) -> None:
    bundle.save(process__env=["PATH=/bin", "LATE=1"])
    assert "LATE" not in c1.ok("exec", "c1", "env")
    Path(bundle.path, "config.json").unlink()
    c1.ok("exec", "c1", "true")


def test_the_file_for_exec_is_missing(c1: Runtime) -> None:
    path = c1.root / "c1" / "exec.json"
    path.unlink()
    done = c1("exec", "c1", "true")
    assert done.returncode == 255 and f'"{path}" is missing: delete the container and create it again' in done.stderr


# --- process.json ----------------------------------------------------------------------------------------------------

def _process(path: Path, **members: Any) -> Path:
    path.write_text(json.dumps({"cwd": "/", "args": ["sh", "-c", "env"], "env": ["PATH=/bin", "A=b"], **members}))
    return path


def test_process_file(c1: Runtime, tmp_path: Path) -> None:
    file = _process(tmp_path / "p.json")
    output = c1.ok("exec", "--process", _process(file, args=["env"]), "c1")
    assert output.splitlines() == ["PATH=/bin", "A=b", "HOME=/root"]
    _process(file, user={"uid": 3, "gid": 4, "additionalGids": [9]}, cwd="/tmp", noNewPrivileges=False,
             scheduler={"policy": "SCHED_BATCH", "nice": 5}, ioPriority={"class": "IOPRIO_CLASS_IDLE", "priority": 0},
             rlimits=[{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}], oomScoreAdj=9,
             capabilities={"bounding": ["CAP_KILL"], "permitted": [], "effective": []},
             args=["sh", "-c", "echo $(id -u) $(id -G) $PWD $(cut -d' ' -f19 /proc/self/stat) $(ulimit -c)"
                   " $(cat /proc/self/oom_score_adj);"
                   "grep -e CapBnd -e NoNew /proc/self/status"])
    assert c1.ok("exec", "-p", file, "c1").split() == [
        "3", "4", "9", "/tmp", "5", "0", "9", "CapBnd:", "0000000000000020", "NoNewPrivs:", "0"]


def test_missing_values_of_the_process_file_are_the_containers(c1: Runtime, tmp_path: Path) -> None:
    file = _process(tmp_path / "p.json", args=["grep", "CapBnd", "/proc/self/status"])
    assert c1.ok("exec", "-p", file, "c1").split()[1] == "0000000020000420"


def test_process_from_a_pipe(c1: Runtime, tmp_path: Path) -> None:
    file = _process(tmp_path / "p.json")
    command = f"{COMMAND} --root {c1.root} exec --process /dev/fd/63 c1 63< <(cat {file})"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "A=b\n" in done.stdout, done.stderr


@pytest.mark.parametrize(("text", "phrase"), [
    ("{", "line 1"), ("[]", "process: expected"), ('{"args": [], "cwd": "/"}', "process.args: args must not be empty"),
    ('{"args": ["x"]}', "process.cwd: Cwd property must not be empty"),
    ('{"args": ["x"], "cwd": "rel"}', 'process.cwd: Cwd must be an absolute path, and "rel" is not'),
    ('{"args": ["x"], "cwd": "/", "terminal": "no"}', "process.terminal: expected true or false"),
    ('{"args": ["x"], "cwd": "/", "rlimits": [{"type": "RLIMIT_BAD", "soft": 1, "hard": 1}]}', "wrong rlimit value"),
])
def test_invalid_process_files(c1: Runtime, tmp_path: Path, text: str, phrase: str) -> None:
    (tmp_path / "p.json").write_text(text)
    done = c1("exec", "--process", tmp_path / "p.json", "c1")
    assert done.returncode == 255 and "p.json: " in done.stderr and phrase in done.stderr, done.stderr


def test_cpu_affinity(c1: Runtime, tmp_path: Path) -> None:
    cpu = min(os.sched_getaffinity(0))
    file = _process(tmp_path / "p.json", args=["grep", "Cpus_allowed_list", "/proc/self/status"],
                    execCPUAffinity={"initial": str(cpu), "final": str(cpu)})
    assert c1.ok("exec", "-p", file, "c1").split()[1] == str(cpu)


# --- detached, files and sockets -------------------------------------------------------------------------------------

def test_detached_with_a_pid_file(c1: Runtime, tmp_path: Path) -> None:
    assert c1.ok("exec", "--detach", "--pid-file", "pid", "c1", "sleep", "500", cwd=tmp_path) == ""
    pid = int((tmp_path / "pid").read_text())
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x00500\x00"
    assert str(pid) in c1.ok("ps", "-f", "json", "c1").strip("[]\n").split(",")
    c1.ok("delete", "--force", "c1")
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_failure_removes_the_pid_file(c1: Runtime, tmp_path: Path) -> None:
    for index in range(20, 60):
        done = c1("--debug", "exec", "--pid-file", tmp_path / "pid", "c1", "true",
                  env={"PYRUNTIME_FAULT": f"fail:{index}"})
        if "phase exec (execve" in done.stderr:
            assert done.returncode == 255 and not (tmp_path / "pid").exists()
            return
        (tmp_path / "pid").unlink(missing_ok=True)
    raise AssertionError("no step was the last one")


def _accept(listener: socket.socket, got: list[Any]) -> None:
    connection, _ = listener.accept()
    with connection:
        data, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(16))
        fds = array.array("i")
        for _, _, raw in ancillary:
            fds.frombytes(raw)
        got.extend([data, list(fds), connection.recv(1)])


def _with_socket(runtime: Runtime, path: Path, *words: object) -> list[Any]:
    got: list[Any] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=_accept, args=(listener, got))
        thread.start()
        runtime.ok("exec", *words)
        thread.join(10)
    return got


def test_pidfd_socket(c1: Runtime, tmp_path: Path) -> None:
    name, fds, rest = _with_socket(c1, tmp_path / "s", "-d", "--pidfd-socket", tmp_path / "s", "--pid-file",
                                   tmp_path / "pid", "c1", "sleep", "500")
    try:
        assert len(fds) == 1 and name and rest == b""
        assert f"Pid:\t{(tmp_path / 'pid').read_text()}\n" in Path(f"/proc/self/fdinfo/{fds[0]}").read_text()
    finally:
        os.close(fds[0])


def test_console_socket(c1: Runtime, tmp_path: Path) -> None:
    _, fds, rest = _with_socket(c1, tmp_path / "s", "-d", "-t", "--console-socket", tmp_path / "s", "--user", "5", "c1",
                                "sh", "-c", "tty; stat -c %u $(tty); read line; echo got $line; sleep 0.2")
    master = fds[0]
    try:
        assert len(fds) == 1 and rest == b""
        text = b""
        while not text.endswith(b"/dev/pts/0\r\n5\r\n"):
            text += os.read(master, 1000)
        os.write(master, b"hi\n")   # not before: the terminal's echo would be in between
        while b"got hi" not in text:
            text += os.read(master, 1000)
    finally:
        os.close(master)


def test_terminal_in_the_foreground(c1: Runtime) -> None:
    import fcntl
    import termios
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, array.array("H", [33, 99, 0, 0]))
    process = subprocess.Popen([COMMAND, "--root", c1.root, "exec", "--tty", "c1", "sh", "-c",
                                "stty size; read line; echo got $line; trap 'stty size; exit 5' WINCH; echo set;"
                                " while :; do sleep 0.05; done"],
                               stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    try:
        text = b""
        while b"33 99" not in text:
            text += os.read(master, 1000)
        os.write(master, b"typed\n")
        while b"set" not in text:
            text += os.read(master, 1000)
        assert b"got typed" in text
        fcntl.ioctl(slave, termios.TIOCSWINSZ, array.array("H", [11, 22, 0, 0]))
        process.send_signal(signal.SIGWINCH)
        while b"11 22" not in text:
            text += os.read(master, 1000)
        assert process.wait(10) == 5
    finally:
        end(process)
        os.close(slave)
        os.close(master)


def test_signals_are_forwarded(c1: Runtime) -> None:
    process = subprocess.Popen([COMMAND, "--root", c1.root, "exec", "c1", "sh", "-c",
                                "trap 'echo caught; exit 3' USR1; echo ready; while :; do sleep 0.05; done"],
                               stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.read() == "caught\n"
        assert process.wait(10) == 3
    finally:
        end(process)
        process.stdout.close()


def test_preserved_descriptors_and_no_others(c1: Runtime, tmp_path: Path) -> None:
    for name in ("three", "four", "five"):
        (tmp_path / name).write_text(name + "\n")
    command = f"exec 3<{tmp_path}/three 4<{tmp_path}/four 5<{tmp_path}/five; exec {COMMAND} --root {c1.root} exec" \
              " --preserve-fds 2 c1 sh -c 'ls /proc/self/fd | tr \"\\n\" \" \"; cat <&3; cat <&4'"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert (done.returncode, done.stdout) == (0, "0 1 2 3 4 5 three\nfour\n"), done.stderr


@pytest.mark.parametrize("number", range(3, 12))
def test_no_descriptor_leads_out(c1: Runtime, number: int) -> None:
    """CVE-2024-21626: a working directory in one of the runtime's descriptors. One of them is the container's root."""
    done = c1("exec", "--cwd", f"/proc/self/fd/{number}", "c1", "sh", "-c", "ls -a .. && pwd")
    if done.returncode:
        assert done.returncode == 255 and "process.cwd" in done.stderr
    else:
        assert done.stdout == sh(c1, "ls -a / && echo /")


# --- cgroups -----------------------------------------------------------------------------------------------------

def _hierarchies(runtime: Runtime) -> dict[str, Path]:
    record = json.loads((runtime.root / "c1" / "state.json").read_text())
    return {key: Path(path) for key, path in record["cgroup"].items()}


def test_sub_cgroups(c1: Runtime) -> None:
    paths = _hierarchies(c1)
    for key, path in paths.items():
        (path / "below").mkdir()
        if "cpuset" in key:
            for file in ("cpuset.cpus", "cpuset.mems"):
                (path / "below" / file).write_text((path / file).read_text())
    lines = sh(c1, "cat /proc/self/cgroup", "--cgroup", "below").splitlines()
    assert {line.split(":", 2)[1] for line in lines if line.endswith("/c1/below")} == set(paths)
    plain = sh(c1, "cat /proc/self/cgroup", "--cgroup", "/").splitlines()
    assert {line.split(":", 2)[1] for line in plain if line.endswith("/c1")} == set(paths)


@pytest.mark.skipif(not Path("/sys/fs/cgroup/pids").is_dir(), reason="needs cgroup v1")
def test_a_sub_cgroup_of_some_controllers(c1: Runtime) -> None:
    paths = _hierarchies(c1)
    for key in ("pids", "devices"):
        (paths[key] / "below").mkdir()
    lines = sh(c1, "cat /proc/self/cgroup", "--cgroup", "pids,devices:below").splitlines()
    assert {line.split(":", 2)[1] for line in lines if line.endswith("/c1/below")} == {"pids", "devices"}
    lines = sh(c1, "cat /proc/self/cgroup", "--cgroup", "pids:/below", "--cgroup", "devices:/").splitlines()
    assert {line.split(":", 2)[1] for line in lines if line.endswith("/c1/below")} == {"pids"}


# --- what a container may have become --------------------------------------------------------------------------------

def test_an_init_that_changed_its_root(runtime: Runtime, own_bundle: Bundle) -> None:
    """The root of the mount namespace is used, not the root that a program of the container has set."""
    caps = own_bundle.config["process"]["capabilities"]
    for name in ("bounding", "effective", "permitted"):
        caps[name] = [*caps[name], "CAP_SYS_CHROOT"]
    rootfs = Path(own_bundle.config["root"]["path"])
    (rootfs / "jail/bin").mkdir(parents=True)
    (rootfs / "jail/bin/busybox").write_bytes((rootfs / "bin/busybox").read_bytes())
    (rootfs / "jail/bin/busybox").chmod(0o755)
    runtime.ok("run", "-d", "c1", own_bundle.shell("exec chroot /jail /bin/busybox sleep 1000"))
    pid = runtime.state("c1")["pid"]
    deadline = time.monotonic() + 5
    while not os.readlink(f"/proc/{pid}/root").endswith("/jail") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "jail" in sh(runtime, "ls /").split()


def test_a_reused_pid(c1: Runtime) -> None:
    """After init has exited, its pid may be reused: the start time reveals that."""
    path = c1.root / "c1" / "state.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "started": record["started"] - 1}))
    done = c1("exec", "c1", "true")
    path.write_text(json.dumps(record))
    assert done.returncode == 255 and "cannot exec in a stopped container" in done.stderr


def test_a_script_without_its_interpreter(runtime: Runtime, own_bundle: Bundle) -> None:
    script = Path(own_bundle.config["root"]["path"]) / "bin/script"
    script.write_text("#!/nonexistent/interpreter\n")
    script.chmod(0o755)
    runtime.ok("run", "-d", "c1", own_bundle.shell("sleep 1000"))
    done = runtime("exec", "c1", "script")
    assert done.returncode == 255 and 'exec: "script": no such file or directory' in done.stderr


# --- many, and the library ---------------------------------------------------------------------------------------

def test_twenty_at_once(c1: Runtime) -> None:
    command = [str(COMMAND), "--root", str(c1.root), "exec", "c1", "sh", "-c"]
    processes = [subprocess.Popen([*command, f"sleep 0.2; echo {number}; exit {number}"], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, text=True) for number in range(20)]
    results = [(process.communicate(timeout=60)[0], process.returncode) for process in processes]
    assert results == [(f"{number}\n", number) for number in range(20)]
    assert len(json.loads(c1.ok("ps", "-f", "json", "c1"))) == 1


def test_the_library(c1: Runtime, tmp_path: Path) -> None:
    library = Library(c1.root)
    assert library.exec("c1", ["sh", "-c", "exit 9"]) == 9
    pid = library.exec("c1", ["sh", "-c", "exit $(id -u)"], user="3", env=["A=b"], cwd="/tmp", detach=True)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    assert library.exec("c1", process={"cwd": "/", "args": ["sh", "-c", "exit 4"], "env": ["PATH=/bin"]}) == 4
    statuses: list[int] = []
    thread = threading.Thread(target=lambda: statuses.append(library.exec("c1", ["sh", "-c", "exit 6"])))
    thread.start()
    thread.join(20)
    assert statuses == [6]
    with pytest.raises(StepError, match="executable file not found") as caught:
        library.exec("c1", ["nosuch"])
    assert (caught.value.where, caught.value.step, caught.value.errno) == ("process.args[0]", "find_executable", 2)
    with pytest.raises(UsageError, match="exec args cannot be empty"):
        library.exec("c1")
    with pytest.raises(ConfigError):
        library.exec("c1", ["true"], cwd="rel")
    with pytest.raises(NoSuchContainer):
        library.exec("c2", ["true"])
    library.pause("c1")
    with pytest.raises(StateError, match="paused"):
        library.exec("c1", ["true"])


# --- explain -------------------------------------------------------------------------------------------------

def test_the_plan_is_explained(c1: Runtime) -> None:
    text = c1.ok("explain", "--exec", "c1", "--", "ls", "-l")
    assert "join_container" in text and "args=[ls -l]" in text
    plan = json.loads(c1.ok("explain", "--json", "--exec", "c1", "true"))
    assert plan["steps"][-1]["step"] == "execve"
    done = c1("explain", "--exec", "none", "true")
    assert done.returncode == 1 and 'container does not exist: "none"' in done.stderr
    done = c1("explain", "--exec", "c1")
    assert done.returncode == 1 and "exec args cannot be empty" in done.stderr
    done = c1("explain", "a", "b")
    assert done.returncode == 1 and "requires a maximum of 1 argument(s)" in done.stderr
