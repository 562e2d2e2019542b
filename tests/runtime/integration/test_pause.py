"""pause, resume: freeze and thaw a container's processes; errors with runc's messages."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pyruntime import Runtime as Library
from pyruntime.errors import NoSuchContainer, StateError
from tests.containers import Bundle, Runtime


@pytest.fixture
def counter(runtime: Runtime, own_bundle: Bundle) -> Path:
    """A running container that counts, and the file with its count."""
    own_bundle.shell("n=0; while :; do n=$((n+1)); echo $n >/count; sleep 0.01; done")
    runtime.ok("run", "-d", "c1", own_bundle)
    return Path(own_bundle.config["root"]["path"]) / "count"


def _moves(path: Path) -> bool:
    before = path.read_text() if path.exists() else ""
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        if path.exists() and path.read_text() not in ("", before):
            return True
        time.sleep(0.01)
    return False


def test_pause_and_resume(runtime: Runtime, counter: Path) -> None:
    assert _moves(counter)
    runtime.ok("pause", "c1")
    assert runtime.state("c1")["status"] == "paused"
    assert not _moves(counter)
    done = runtime("pause", "c1")
    assert done.returncode == 1 and 'container not running: "c1" is paused' in done.stderr
    assert "cannot start a container in the paused state" in runtime("start", "c1").stderr
    runtime.ok("resume", "c1")
    assert runtime.state("c1")["status"] == "running"
    assert _moves(counter)
    done = runtime("resume", "c1")
    assert done.returncode == 1 and 'container not paused: "c1" is running' in done.stderr


def test_a_created_container_can_be_paused(runtime: Runtime, bundle: Bundle) -> None:
    runtime.ok("create", "c1", bundle.shell("sleep 100"))
    runtime.ok("pause", "c1")
    assert runtime.state("c1")["status"] == "paused"
    runtime.ok("resume", "c1")
    assert runtime.state("c1")["status"] == "created"
    runtime.ok("start", "c1")


@pytest.mark.parametrize("words", [("kill", "c1", "KILL"), ("delete", "--force", "c1")])
def test_a_paused_container_can_be_ended(runtime: Runtime, counter: Path, words: tuple[str, ...]) -> None:
    runtime.ok("pause", "c1")
    runtime.ok(*words)
    if words[0] == "kill":
        runtime.await_status("c1", "stopped")
        for command, phrase in (("pause", "container not running"), ("resume", "container not paused")):
            done = runtime(command, "c1")
            assert done.returncode == 1 and f'{phrase}: "c1" is stopped' in done.stderr
    else:
        assert runtime("state", "c1").returncode == 1


@pytest.mark.parametrize("command", ["pause", "resume", "ps"])
def test_a_missing_container(runtime: Runtime, command: str) -> None:
    done = runtime(command, "nobody")
    assert done.returncode == 1 and "container does not exist" in done.stderr


def test_the_library(runtime: Runtime, counter: Path) -> None:
    library = Library(runtime.root)
    library.pause("c1")
    assert library.state("c1").status == "paused"
    with pytest.raises(StateError, match="container not running"):
        library.pause("c1")
    library.resume("c1")
    with pytest.raises(StateError, match="container not paused"):
        library.resume("c1")
    with pytest.raises(NoSuchContainer):
        library.pause("other")
