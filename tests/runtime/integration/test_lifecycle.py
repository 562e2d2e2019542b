"""create, start, state, kill, delete, run, list: runtime.md's operations and their errors."""

from __future__ import annotations

import array
import json
import os
import pty
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.commands import COMMAND
from tests.containers import Bundle, Runtime, end


def test_a_whole_life(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell("sleep 100", annotations={"a.b/c": "d"})
    runtime.ok("create", "c1", bundle)
    state = runtime.state("c1")
    assert state["ociVersion"] == "1.3.0" and state["id"] == "c1" and state["status"] == "created"
    assert state["bundle"] == str(bundle) and state["annotations"] == {"a.b/c": "d"}
    assert Path(f"/proc/{state['pid']}/comm").read_text() == "pyruntime:init\n"
    runtime.ok("start", "c1")
    running = runtime.state("c1")
    assert (running["status"], running["pid"]) == ("running", state["pid"])
    assert os.readlink(f"/proc/{state['pid']}/exe").endswith("busybox")
    runtime.ok("kill", "c1", "KILL")
    runtime.await_status("c1", "stopped")
    assert runtime.state("c1")["pid"] == 0
    runtime.ok("delete", "c1")
    gone = runtime("state", "c1")
    assert gone.returncode == 1 and "container does not exist" in gone.stderr


@pytest.mark.parametrize(("words", "phrase"), [
    (["start", "c1"], "cannot start an already running container"),
    (["delete", "c1"], "cannot delete container c1 that is not stopped: running"),
    (["create", "c1", "{bundle}"], "container with given ID already exists"),
    (["kill", "c1", "NOSUCH"], 'unknown signal "NOSUCH"'),
    (["start", "other"], "container does not exist"),
    (["kill", "other"], "container does not exist"),
    (["delete", "other"], "container does not exist"),
    (["create", "a/b", "{bundle}"], "invalid container ID format"),
    (["create", "..", "{bundle}"], "invalid container ID format"),
    (["create", "", "{bundle}"], "container id cannot be empty"),
    (["create", "c2", "/nonexistent"], "JSON specification file config.json not found"),
    (["create"], 'requires a minimum of 1 argument(s)'),
    (["create", "--bad", "c2"], "flag provided but not defined: -bad"),
    (["nosuch"], "No help topic for 'nosuch'"),
])
def test_refusals(runtime: Runtime, bundle: Bundle, words: list[str], phrase: str) -> None:
    bundle.shell("sleep 100")
    runtime.ok("run", "--detach", "c1", bundle)
    done = runtime(*(word.format(bundle=bundle) for word in words))
    assert done.returncode != 0
    assert phrase in done.stderr
    assert runtime.state("c1")["status"] == "running"


def test_refusals_of_a_stopped_container(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell("true")
    runtime.ok("run", "-d", "c1", bundle)
    runtime.await_status("c1", "stopped")
    assert "container not running" in runtime("kill", "c1").stderr
    assert "cannot start a container that has stopped" in runtime("start", "c1").stderr
    runtime.ok("delete", "c1")
    assert "does not exist" in runtime("delete", "c1").stderr
    runtime.ok("delete", "--force", "c1")


def test_only_shims_can_delete_a_created_container_without_force(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell("sleep 100")
    runtime.ok("create", "c1", bundle)
    refused = runtime("delete", "c1")
    assert refused.returncode == 1 and "cannot delete container c1 that is not stopped: created" in refused.stderr
    assert runtime.state("c1")["status"] == "created"
    runtime.ok("delete", "c1", env={"TTRPC_ADDRESS": "/run/containerd/containerd.sock.ttrpc"})
    assert runtime("state", "c1").returncode == 1


@pytest.mark.parametrize("words", [["delete", "--force", "c1"], ["delete", "c1"]])
def test_the_next_delete_removes_leftovers_of_a_killed_delete(runtime: Runtime, words: list[str]) -> None:
    """The ID was already released, so no command would find the rest by the ID."""
    done = subprocess.Popen(["true"])
    done.wait()
    left = runtime.root / f"~c1.{done.pid}.{done.pid}"
    left.mkdir(parents=True)
    (left / "state.json").write_text("{}")
    assert runtime(*words).returncode == (0 if "--force" in words else 1)
    assert not left.exists()


def test_create_removes_leftovers_of_a_killed_delete(runtime: Runtime, bundle: Bundle) -> None:
    """The front's `delete` does not: it would have to look at the directories of all containers."""
    done = subprocess.Popen(["true"])
    done.wait()
    left = runtime.root / f"~c2.{done.pid}.{done.pid}"
    left.mkdir(parents=True)
    (left / "state.json").write_text("{}")
    runtime.ok("create", "c1", bundle.shell("true"))
    assert not left.exists()


def test_later_changes_of_config_json_have_no_effect(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.shell("echo first; exit 7")
    output = tmp_path / "output"
    with output.open("w") as file:
        subprocess.run([COMMAND, "--root", runtime.root, "create", "c1", str(bundle)], stdout=file, check=True,
                       stdin=subprocess.DEVNULL)
    bundle.shell("echo second")
    runtime.ok("start", "c1")
    runtime.await_status("c1", "stopped")
    assert output.read_text() == "first\n"


def test_create_without_process(runtime: Runtime, bundle: Bundle) -> None:
    del bundle.config["process"]
    runtime.ok("create", "c1", bundle.save())
    assert runtime.state("c1")["status"] == "created"
    done = runtime("start", "c1")
    assert done.returncode == 1 and "process property must not be empty" in done.stderr
    assert runtime.state("c1")["status"] == "stopped"


@pytest.mark.parametrize(("args", "phrase"), [
    (["nosuchcmd"], 'exec: "nosuchcmd": executable file not found in $PATH'),
    (["/x"], 'exec: "/x": stat /x: no such file or directory'),
    (["/etc/passwd"], 'exec: "/etc/passwd": permission denied'),
])
def test_a_program_that_cannot_be_run_fails_create(runtime: Runtime, bundle: Bundle, args: list[str],
                                                   phrase: str) -> None:
    done = runtime("create", "c1", bundle.save(process__args=args))
    assert done.returncode == 1 and phrase in done.stderr and "process.args" in done.stderr
    assert not (runtime.root / "c1").exists()


def test_a_program_that_the_kernel_refuses_fails_start(runtime: Runtime, own_bundle: Bundle) -> None:
    script = Path(own_bundle.config["root"]["path"]) / "bin/script"
    script.write_text("#!/nonexistent/interpreter\n")
    script.chmod(0o755)
    own_bundle.save(process__args=["script"])
    runtime.ok("create", "c1", own_bundle)
    done = runtime("start", "c1")
    assert done.returncode == 1 and "no such file or directory" in done.stderr
    runtime.await_status("c1", "stopped")


@pytest.mark.parametrize(("script", "status"), [
    ("exit 0", 0), ("exit 42", 42), ("kill -9 $$", 137), ("kill -15 $$", 143)])
def test_run_returns_the_exit_status(runtime: Runtime, bundle: Bundle, script: str, status: int) -> None:
    # Without a pid namespace: its init is protected from its own signals.
    bundle.config["linux"]["namespaces"] = [{"type": kind} for kind in ("mount", "ipc", "uts")]
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["destination"] not in ("/sys",)]
    assert runtime("run", "c1", bundle.shell(script)).returncode == status


def test_run_forwards_signals(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell("trap 'echo caught; exit 3' USR1; echo ready; while :; do sleep 0.05; done")
    process = subprocess.Popen([COMMAND, "--root", runtime.root, "run", "c1", str(bundle)], stdout=subprocess.PIPE,
                               stdin=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.read() == "caught\n"
        assert process.wait(10) == 3
    finally:
        end(process)
        process.stdout.close()


def test_run_keep(runtime: Runtime, bundle: Bundle) -> None:
    runtime.ok("run", "--keep", "c1", bundle.shell("true"))
    assert runtime.state("c1")["status"] == "stopped"
    runtime.ok("delete", "c1")


def test_pid_file(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    runtime.ok("create", "--pid-file", "pid", "c1", bundle.shell("sleep 9"), cwd=tmp_path)
    assert (tmp_path / "pid").read_text() == str(runtime.state("c1")["pid"])


def test_pid_file_that_cannot_be_written(runtime: Runtime, bundle: Bundle) -> None:
    done = runtime("create", "--pid-file", "/proc/nonexistent/pid", "c1", bundle.shell("sleep 9"))
    assert done.returncode == 1 and "--pid-file" in done.stderr
    assert not (runtime.root / "c1").exists()


def _accept(listener: socket.socket, got: list[object]) -> None:
    connection, _ = listener.accept()
    with connection:
        data, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(16))
        fds = array.array("i")
        for _, _, raw in ancillary:
            fds.frombytes(raw)
        got.extend([data, list(fds), connection.recv(1)])


def test_console_socket(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.shell("tty; stty size; ls -l /dev/console | cut -c1; read line; echo got $line; sleep 0.2",
                 process__terminal=True, process__consoleSize={"height": 25, "width": 81})
    path = str(tmp_path / "console")
    got: list[object] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=_accept, args=(listener, got))
        thread.start()
        runtime.ok("create", "--console-socket", path, "c1", bundle)
        thread.join(10)
    name, fds, rest = got
    assert isinstance(fds, list) and len(fds) == 1 and rest == b"" and 1 <= len(name) <= 4095  # type: ignore[arg-type]
    master = fds[0]
    try:
        runtime.ok("start", "c1")
        text = b""
        while not text.endswith(b"c\r\n"):  # before that, the terminal would echo the input between these lines
            text += os.read(master, 1000)
        assert text == b"/dev/pts/0\r\n25 81\r\nc\r\n"
        os.write(master, b"hi\n")
        while b"got hi" not in text:
            text += os.read(master, 1000)
    finally:
        os.close(master)


def test_a_terminal_needs_a_receiver(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.shell("true", process__terminal=True)
    assert "without setting console socket" in runtime("create", "c1", bundle).stderr
    bundle.shell("true", process__terminal=False)
    assert "cannot use console socket" in runtime("create", "--console-socket", "x", "c1", bundle).stderr
    bundle.shell("true", process__terminal=True)
    done = runtime("create", "--console-socket", tmp_path / "nobody", "c1", bundle)
    assert "--console-socket" in done.stderr and "No such file" in done.stderr


def test_run_with_a_terminal(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell("stty size; read line; echo got $line; exit 5", process__terminal=True)
    master, slave = pty.openpty()
    import fcntl
    import termios
    fcntl.ioctl(slave, termios.TIOCSWINSZ, array.array("H", [33, 99, 0, 0]))
    process = subprocess.Popen([COMMAND, "--root", runtime.root, "run", "c1", str(bundle)], stdin=slave, stdout=slave,
                               stderr=slave, start_new_session=True)
    os.close(slave)
    try:
        text = b""
        while b"33 99" not in text:
            text += os.read(master, 1000)
        os.write(master, b"typed\n")
        while b"got typed" not in text:
            text += os.read(master, 1000)
        assert process.wait(10) == 5
    finally:
        end(process)
        os.close(master)


def test_preserved_descriptors(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.shell("ls /proc/self/fd | tr '\\n' ' '; cat <&3; cat <&4")
    files = []
    for text in ("three", "four", "five"):
        (tmp_path / text).write_text(text + "\n")
        files.append(os.open(tmp_path / text, os.O_RDONLY))
    command = f"exec 3<{tmp_path}/three 4<{tmp_path}/four 5<{tmp_path}/five; exec {COMMAND} --root {runtime.root} run" \
              f" --preserve-fds 2 c1 {bundle}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    for fd in files:
        os.close(fd)
    assert done.returncode == 0, done.stderr
    # `ls` itself opens the directory with the first free number.
    assert done.stdout == "0 1 2 3 4 5 three\nfour\n"


def test_only_one_of_many_creates_gets_the_id(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.shell("sleep 100")
    command = [str(COMMAND), "--root", str(runtime.root), "create", "same", str(bundle)]
    files = [open(tmp_path / f"error{number}", "w+") for number in range(8)]   # noqa: SIM115
    racers = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file) for file in files]
    assert sorted(process.wait(60) for process in racers) == [0] + [1] * 7
    for file in files:
        file.close()
    errors = [(tmp_path / f"error{number}").read_text() for number in range(8)]
    assert sum("already exists" in error for error in errors) == 7
    assert runtime.state("same")["status"] == "created"


@pytest.mark.parametrize("dies", [False, True])
def test_only_one_of_many_starts_succeeds(runtime: Runtime, bundle: Bundle, dies: bool) -> None:
    """Their requests wait while init is stopped: it reads one, or none if it is killed then."""
    runtime.ok("create", "c1", bundle.shell("sleep 100"))
    init = runtime.state("c1")["pid"]
    os.kill(init, signal.SIGSTOP)
    command = [str(COMMAND), "--root", str(runtime.root), "start", "c1"]
    racers = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    deadline = time.monotonic() + 10
    while not all("skb_wait" in Path(f"/proc/{racer.pid}/wchan").read_text() for racer in racers):   # in recv(2)
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(init, signal.SIGKILL if dies else signal.SIGCONT)
    errors = [racer.communicate(timeout=20)[1] for racer in racers]
    assert sorted(racer.returncode for racer in racers) == ([1] if dies else [0]) + [1] * 3
    # An init that is just dying has closed its socket, but is still there.
    refused = "cannot start a(n already running container| container that has stopped)" if dies else (
        "cannot start an already running container")
    assert sum(bool(re.search(refused, error)) for error in errors) == 3 + dies, errors


def test_list(runtime: Runtime, bundle: Bundle) -> None:
    assert runtime("list").returncode == 1   # a root that was named must exist
    for name in ("b", "a"):
        runtime.ok("create", name, bundle.shell("sleep 100"))
    assert runtime.ok("list", "-q") == "a\nb\n"
    rows = json.loads(runtime.ok("list", "-f", "json"))
    assert [(row["id"], row["status"], row["owner"]) for row in rows] == [
        ("a", "created", "root"), ("b", "created", "root")]
    assert runtime.ok("list").splitlines()[0].split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_log_file(runtime: Runtime, bundle: Bundle, tmp_path: Path, form: str) -> None:
    log = tmp_path / "log"
    done = runtime("--log", log, "--log-format", form, "create", "c1", bundle.save(process__args=["nosuch"]))
    assert done.returncode == 1 and done.stderr.startswith("config.json: process.args[0]")
    line = log.read_text().splitlines()[-1]
    if form == "json":
        entry = json.loads(line)
        assert entry["level"] == "error" and "executable file not found" in entry["msg"]
        assert entry["path"] == "process.args[0]" and entry["step"] == "find_executable"
        time.strptime(entry["time"], "%Y-%m-%dT%H:%M:%SZ")
    else:
        assert line.startswith('time="') and "level=error" in line


def test_help_and_version() -> None:
    for words in ([], ["--help"], ["help"]):
        done = subprocess.run([COMMAND, *words], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("NAME:\n   pyruntime - ")
    from pyruntime.runtime.cli.main import COMMANDS
    for name in COMMANDS:
        done = subprocess.run([COMMAND, name, "--help"], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[1].startswith(f"   pyruntime {name} - ")
    version = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert version[0].startswith("pyruntime version ") and version[2] == "spec: 1.3.0"


def test_spec_runs(runtime: Runtime, tmp_path: Path, shared_rootfs: Path) -> None:
    runtime.ok("spec", "--bundle", tmp_path)
    assert "exists. Remove it first" in runtime("spec", "-b", tmp_path).stderr
    config = json.loads((tmp_path / "config.json").read_text())
    config["process"].update(terminal=False, args=["true"])
    config["root"]["path"] = str(shared_rootfs)
    (tmp_path / "config.json").write_text(json.dumps(config))
    runtime.ok("run", "c1", "-b", tmp_path)


def test_features(runtime: Runtime) -> None:
    features = json.loads(runtime.ok("features"))
    assert features["ociVersionMax"] == "1.3.0" and "rro" in features["mountOptions"]
    from pyruntime.runtime.config.validate import validate
    assert validate(features, "features") == []
