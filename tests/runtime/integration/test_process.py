"""The descriptors, environment and user of the program and its hooks."""

from __future__ import annotations

import json
import os
import pty
import resource
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pyruntime.errors import PyruntimeError
from pyruntime.runtime.lifecycle.store import StateDirectory, StateRecord, default_root
from tests.commands import COMMAND
from tests.conftest import TOP
from tests.containers import PATIENCE, Bundle, Runtime, end


@pytest.mark.parametrize("closed", ["0", "1", "2", "0 1 2"])
def test_closed_standard_descriptors_become_dev_null(runtime: Runtime, bundle: Bundle, closed: str) -> None:
    bundle.save(process__args=["sleep", "100"])
    redirections = " ".join(f"{fd}<&-" for fd in closed.split())
    script = f'exec {redirections}; exec "$0" --root "$1" run --detach c1 "$2"'
    with subprocess.Popen(["sh", "-c", script, COMMAND, runtime.root, bundle.path], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert process.wait(PATIENCE) == 0
    fds = f"/proc/{runtime.state('c1')['pid']}/fd"
    assert {fd: os.readlink(f"{fds}/{fd}") for fd in os.listdir(fds)} == dict.fromkeys("012", "/dev/null")


def test_start_container_hooks_inherit_a_long_environment(runtime: Runtime, bundle: Bundle) -> None:
    bundle.config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "env | grep -c ^LONG"]}]}
    bundle.config["process"]["env"] += [f"LONG{number}=x" for number in range(4096)]
    bundle.shell("env | grep -c ^LONG")
    assert runtime.ok("run", "c1", bundle) == "4096\n4096\n"


def in_terminal(runtime: Runtime, bundle: Bundle) -> str:
    """The output of `run` on a separate terminal."""
    command = " ".join(map(str, (COMMAND, "--root", runtime.root, "run", "c1", bundle)))
    return subprocess.run(["script", "-qec", command, "/dev/null"], stdin=subprocess.DEVNULL, check=False,
                          capture_output=True, text=True, timeout=PATIENCE).stdout


@pytest.mark.parametrize("terminal", [False, True])
def test_start_container_hooks_know_home(runtime: Runtime, bundle: Bundle, terminal: bool) -> None:
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "echo hook $HOME"]}
    bundle.config["hooks"] = {"startContainer": [hook, {**hook, "env": ["A=b"]}]}
    env = [entry for entry in bundle.config["process"]["env"] if not entry.startswith("HOME=")]
    bundle.shell("echo program", process__env=env, process__terminal=terminal)
    said = in_terminal(runtime, bundle) if terminal else runtime.ok("run", "c1", bundle)
    # A hook with its own environment has only that.
    said = said.replace("^@", "")   # end of input, as shown by script(1)
    assert [line.strip() for line in said.splitlines()][:3] == ["hook /root", "hook", "program"]


@pytest.mark.parametrize(("script", "words"), [
    ("echo first; echo second >&2; exit 3", "exited with status 3, output: first"),
    ("kill -9 $$", "killed by signal 9"),
    ("echo last; kill -9 $$", "killed by signal 9, output: last")])
def test_the_output_of_a_failed_hook_with_a_terminal(runtime: Runtime, bundle: Bundle, script: str,
                                                          words: str) -> None:
    bundle.config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    bundle.shell("true", process__terminal=True)
    assert words in in_terminal(runtime, bundle)


@pytest.mark.parametrize("size", [10, 5000, 500_000])
def test_a_seccomp_agent_gets_a_state_of_any_length(runtime: Runtime, bundle: Bundle, tmp_path: Path,
                                                    size: int) -> None:
    # 5000 bytes of annotations are common; half a megabyte does not fit in the socket buffer at once.
    path = tmp_path / "agent"
    bundle.shell("true", annotations={"a": "x" * size}, linux__seccomp={
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(path),
        "syscalls": [{"names": ["getcwd"], "action": "SCMP_ACT_NOTIFY"}]})
    received: list[Any] = []

    def serve() -> None:
        with agent.accept()[0] as connection:
            data, fds, _, _ = socket.recv_fds(connection, 65536, 1)
            while more := connection.recv(65536):
                data += more
        received.extend([json.loads(data), len(fds)])
        for fd in fds:
            os.close(fd)

    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(path))
        agent.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        runtime.ok("run", "c1", bundle)
        thread.join(PATIENCE)
    assert received[0]["state"]["annotations"] == {"a": "x" * size} and received[1] == 1


def test_few_descriptors_are_sufficient(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell("true")
    runtime.ok("run", "c1", bundle, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))


def test_id_mapping_helpers_do_not_outlive_a_killed_runtime() -> None:
    script = ("import os; from pyruntime.system import kernel;"
              "print(kernel._bindings().lib.k_user_namespace_process(), flush=True); os.kill(os.getpid(), 9)")
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=False, cwd=TOP)
    deadline = time.monotonic() + PATIENCE
    while Path(f"/proc/{int(done.stdout)}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_fallback_state_directory_is_private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    uid = 4_000_000_000 + os.getpid()   # an unused ID, so that no directory exists
    place = Path(f"/tmp/pyruntime-{uid}")
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    place.mkdir(0o777)
    try:
        with pytest.raises(PyruntimeError, match="not a directory that only you may write"):
            default_root()
        os.chown(place, uid, uid)
        place.chmod(0o777)
        with pytest.raises(PyruntimeError, match="not a directory that only you may write"):
            default_root()
        place.chmod(0o755)
        assert default_root() == f"{place}/pyruntime"
    finally:
        place.rmdir()


def test_directories_above_the_state_are_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        StateDirectory(str(tmp_path / "a/b"), "c1").claim(StateRecord(id="c1"))
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700


def test_rootless_with_a_cgroup_namespace(runtime: Runtime, bundle: Bundle) -> None:
    # A user without a writable hierarchy still gets a new cgroup namespace.
    bundle.config["linux"]["namespaces"] = [*(entry for entry in bundle.config["linux"]["namespaces"]
                                              if entry["type"] != "cgroup"), {"type": "cgroup"}]
    bundle.config["linux"].pop("resources", None)
    bundle.shell("readlink /proc/self/ns/cgroup")
    script = ('for at in /sys/fs/cgroup/*; do mountpoint -q $at && mount -o remount,bind,ro $at; done;'
              'exec "$0" --root "$1" --rootless true run c1 "$2"')
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, COMMAND, runtime.root, bundle.path], check=False,
                          timeout=PATIENCE, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() not in ("", os.readlink("/proc/self/ns/cgroup"))


def test_no_signal_is_ignored_or_blocked(runtime: Runtime, bundle: Bundle) -> None:
    bundle.save(process__args=["grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"])
    command = ["env", "--ignore-signal=PIPE,TERM,HUP,QUIT", "--block-signal=USR1,CHLD,INT", str(COMMAND), "--root",
               str(runtime.root), "run", "c1", str(bundle.path)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=PATIENCE)
    assert done.stdout.split() == [b"SigBlk:", b"0000000000000000", b"SigIgn:", b"0000000000000000"]


def test_input_before_raw_mode_is_not_lost(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell('read line; test "$line" = typed', process__terminal=True)
    master, slave = pty.openpty()
    os.write(master, b"typed\n")
    with subprocess.Popen([COMMAND, "--root", runtime.root, "run", "c1", bundle.path], stdin=slave, stdout=slave,
                          stderr=slave, start_new_session=True) as process:
        os.close(slave)
        try:
            assert process.wait(10) == 0
        finally:
            end(process)
            os.close(master)
