"""`run` in the foreground, when the front waits for the container, and when Python does: the same for the caller."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import COMMAND
from tests.containers import PATIENCE, Bundle, Runtime

TRAP = "trap 'echo got; exit 5' TERM; echo ready; while :; do sleep 0.01; done"


@pytest.fixture
def start(runtime: Runtime) -> Callable[..., subprocess.Popen[str]]:
    """Start a command in the background."""
    def begin(*words: object, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        return subprocess.Popen([*prefix, COMMAND, "--root", runtime.root, *map(str, words)], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env={**os.environ, **runtime.environment})
    return begin


def read_until(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout
    while (line := process.stdout.readline()) != f"{word}\n":
        assert line, process.communicate(timeout=PATIENCE)


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137),
                                                ("kill -USR1 $$", 138)])
def test_the_status_is_the_programs(runtime: Runtime, bundle: Bundle, script: str, status: int) -> None:
    # The first process of a pid namespace takes no signals from within: it is the shell's child that dies.
    done = runtime("run", "c1", bundle.shell(f"echo out; echo err >&2; sh -c '{script}'; exit $?"))
    assert (done.returncode, done.stdout, done.stderr.split()[0]) == (status, "out\n", "err")
    assert runtime("state", "c1").returncode == 1


def test_who_waits(runtime: Runtime, bundle: Bundle, start: Callable[..., subprocess.Popen[str]]) -> None:
    words = ["run", "c1", str(bundle.shell(TRAP))]
    with start(*words) as process:
        read_until(process, "ready")
        place = Path(f"/proc/{process.pid}")
        if runtime.environment.get("PYRUNTIME_FRONT") != "off":
            deadline = time.monotonic() + PATIENCE
            while "PYRUNTIME_WATCHED" not in (place / "environ").read_text():
                assert time.monotonic() < deadline
                time.sleep(0.01)
            rollup = (place / "smaps_rollup").read_text().split()
            assert int(rollup[rollup.index("Pss:") + 1]) < 300, "KiB; an interpreter has 12,000"
        assert (place / "cmdline").read_text().split("\0")[-4:-1] == words
        process.terminate()
        assert process.communicate(timeout=PATIENCE) == ("got\n", "")
    assert process.returncode == 5
    assert runtime("state", "c1").returncode == 1


def test_a_signal_during_the_change(runtime: Runtime, bundle: Bundle, tmp_path: Path,
                                    start: Callable[..., subprocess.Popen[str]]) -> None:
    """It is neither lost, nor does it end `run`."""
    runtime.environment["PYRUNTIME_FRONT"] = "on"
    trace = tmp_path / "trace"
    slowly = ("strace", "-qq", "-o", str(trace), "-e", "trace=execve", "-e", "inject=execve:delay_enter=1000000:when=2")
    with start("run", "c1", bundle.shell(TRAP), prefix=slowly) as strace:
        read_until(strace, "ready")
        time.sleep(0.2)
        os.kill(int(Path(f"/proc/{strace.pid}/task/{strace.pid}/children").read_text()), signal.SIGTERM)
        assert strace.communicate(timeout=PATIENCE) == ("got\n", "")
    assert strace.returncode == 5
    assert "PYRUNTIME_WATCHED" not in trace.read_text() and trace.read_text().count("execve") == 2


def test_what_the_front_leaves_to_python(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """Hooks after the end: with the caller's environment, and the program's exit status."""
    script = f"cat >{tmp_path}/told; env >{tmp_path}/env"
    bundle.shell("exit 3", hooks={"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["A=b"]}]})
    assert runtime("run", "c1", bundle).returncode == 3
    assert '"stopped"' in (tmp_path / "told").read_text()
    assert "PYRUNTIME_WATCHED" not in (tmp_path / "env").read_text()
    assert runtime("state", "c1").returncode == 1


def test_keep(runtime: Runtime, bundle: Bundle) -> None:
    assert runtime("run", "--keep", "c1", bundle.shell("exit 4")).returncode == 4
    assert runtime.state("c1")["status"] == "stopped"
    runtime.ok("delete", "c1")


def test_a_container_that_is_deleted_by_another(runtime: Runtime, bundle: Bundle,
                                                start: Callable[..., subprocess.Popen[str]]) -> None:
    with start("run", "c1", bundle.shell(TRAP)) as process:
        read_until(process, "ready")
        runtime.ok("delete", "--force", "c1")
        assert process.communicate(timeout=PATIENCE)[1] == ""
    assert process.returncode == 137


def test_the_variable_of_another(runtime: Runtime, bundle: Bundle) -> None:
    """It names a process that is not our child, and a container that is not ours to delete."""
    runtime.ok("create", "other", bundle.shell("exit 0"))
    for words in ("1 1 other", "1", "1 1", "x 1 other", "1 9999 other", "0 0 other", "x" * 600):
        done = runtime("run", "c1", bundle.shell("exit 6"), env={"PYRUNTIME_WATCHED": words})
        assert done.returncode == 6
    assert runtime.state("other")["status"] == "created"
    runtime.ok("delete", "--force", "other")


@pytest.mark.parametrize("options", [
    ["--log", "LOG", "--log-format", "json"], ["--debug", "--log", "LOG"], ["--systemd-cgroup=false"], ["--log="],
    ["--root", "HERE/a/../b"], ["--root", "HERE/a..b"], ["--cgroup-manager", "disabled"], ["--"]])
def test_global_options(runtime: Runtime, bundle: Bundle, tmp_path: Path, options: list[str]) -> None:
    """The container is deleted with those of `run`, by the front or by Python."""
    (tmp_path / "a").mkdir()
    options = [word.replace("HERE", str(tmp_path)).replace("LOG", str(tmp_path / "log")) for word in options]
    done = runtime(*options, "run", "c1", bundle.shell("exit 2"))
    assert done.returncode == 2, done.stderr
    assert runtime(*options, "state", "c1").returncode == 1


def test_the_current_directory_as_root(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    done = runtime("--root", ".", "run", "c1", bundle.shell("exit 2"), cwd=state)
    assert (done.returncode, list(state.iterdir())) == (2, []), done.stderr


def test_an_id_like_an_option(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell("exit 3", hooks={"poststop": [{"path": "/bin/true"}]})
    assert runtime("run", "--", "-c1", bundle).returncode == 3
    assert runtime("state", "--", "-c1").returncode == 1


def test_an_interrupt_during_the_deletion(runtime: Runtime, bundle: Bundle, tmp_path: Path,
                                          start: Callable[..., subprocess.Popen[str]]) -> None:
    """Ctrl-C, which the terminal sends to all processes of the foreground: the container is gone, and the status is
    the program's."""
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    bundle.shell("exit 3", hooks={"poststop": [
        {"path": "/bin/sh", "args": ["sh", "-c", f"touch {begun}; sleep 0.5; touch {ended}"]}]})
    with start("run", "c1", bundle, prefix=("setsid",)) as process:
        deadline = time.monotonic() + PATIENCE
        while not begun.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        assert process.communicate(timeout=PATIENCE) == ("", "")
    assert process.returncode == 3
    assert ended.exists()
    assert list(Path(runtime.root).glob("*c1*")) == []
