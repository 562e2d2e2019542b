"""``import pyruntime``: the operations of the command, typed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import pyruntime
from pyruntime import Runtime as Library
from pyruntime.errors import ConfigError, ContainerExists, NoSuchContainer, PyruntimeError, StateError, UsageError
from pyruntime.runtime.lifecycle.parent import Parent
from tests.containers import Bundle, Runtime


def test_all_matches_the_module() -> None:
    assert set(pyruntime.__all__) == {
        "AsyncPool", "AsyncSandbox", "BuildRequest", "Builder", "Done", "Engine", "HostMount", "ImageStore", "Limits",
        "Pool", "Runtime", "Sandbox", "State", "Template", "__version__", "errors", "run_sandboxed",
        "run_sandboxed_async"}
    assert set(pyruntime.__all__) <= set(dir(pyruntime))
    for name in pyruntime.__all__:
        assert getattr(pyruntime, name)
    with pytest.raises(AttributeError):
        pyruntime.nothing  # noqa: B018


def test_a_whole_life(runtime: Runtime, bundle: Bundle) -> None:
    library = Library(runtime.root)
    bundle.shell("sleep 100", annotations={"a": "b"})
    state = library.create("c1", bundle.path)
    assert (state.status, state.annotations, state.oci_version) == ("created", {"a": "b"}, "1.3.0")
    with pytest.raises(ContainerExists):
        library.create("c1", bundle.path)
    library.start("c1")
    assert [(item.id, item.status) for item in library.list()] == [("c1", "running")]
    with pytest.raises(StateError, match="already running"):
        library.start("c1")
    with pytest.raises(UsageError, match="unknown signal"):
        library.kill("c1", "NOSUCH")
    library.kill("c1", "KILL")
    while library.state("c1").status != "stopped":
        time.sleep(0.01)
    library.delete("c1")
    with pytest.raises(NoSuchContainer):
        library.state("c1")


def test_a_fork_of_the_caller_does_not_delay_a_launch(runtime: Runtime, bundle: Bundle) -> None:
    """As another thread may make it while the stub is being started: its copies of our descriptors stay open."""
    children = []

    class Forking(Parent):
        def spawn(self, program: int, words: list[str], descriptors: Sequence[tuple[int, int]]) -> int:
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(0)
            children.append(child)
            return super().spawn(program, words, descriptors)

    library, begin = Library(runtime.root), time.monotonic()
    bundle.shell("sleep 100")
    library.create("c1", bundle.path, parent=Forking())
    try:
        library.start("c1")
        assert library.exec("c1", ["sh", "-c", "exit 3"], parent=Forking()) == 3
        assert time.monotonic() - begin < 30
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def test_delete_waits_for_a_program_that_creates_the_container(runtime: Runtime, bundle: Bundle,
                                                               tmp_path: Path) -> None:
    """`delete --force` kills a `create` command, but not a program with other containers and other work."""
    script = f"echo >{tmp_path}/hook; sleep 1"
    bundle.shell("sleep 100", hooks={"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]})
    with ThreadPoolExecutor(1) as threads:
        created = threads.submit(Library(runtime.root).create, "c1", bundle.path)
        while not (tmp_path / "hook").exists():
            time.sleep(0.01)
        runtime.ok("delete", "--force", "c1")
        assert created.result().status == "created"
    assert runtime("state", "c1").returncode == 1


def test_run_returns_the_status(runtime: Runtime, bundle: Bundle) -> None:
    assert Library(runtime.root).run("c1", bundle.shell("exit 7").path) == 7


def test_calls_from_several_threads(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """Including calls that wait: signals remain with the main thread."""
    library = Library(runtime.root)
    rootfs = Path(bundle.config["root"]["path"])
    bundles = [Bundle(tmp_path / f"bundle{number}", rootfs).shell(f"exit {number}") for number in range(8)]

    def whole(number: int) -> tuple[int, str]:
        status = library.run(f"run{number}", bundles[number].path)
        name = f"life{number}"
        library.create(name, bundles[number].shell("sleep 1000").path)
        library.start(name)
        assert library.exec(name, ["sh", "-c", f"exit {number}"]) == number
        assert library.pids(name)
        library.pause(name)
        library.resume(name)
        library.kill(name, "KILL")
        library.delete(name, force=True)
        return status, name

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(whole, range(8))) == [(number, f"life{number}") for number in range(8)]
    assert list(library.list()) == []


def test_problems_are_typed(runtime: Runtime, bundle: Bundle) -> None:
    bundle.save(process__cwd="rel", hostname=7)
    with pytest.raises(ConfigError) as caught:
        Library(runtime.root).create("c1", bundle.path)
    assert {problem.where for problem in caught.value.problems} == {"process.cwd", "hostname"}
    assert isinstance(caught.value, PyruntimeError) and caught.value.exit_code == 1


def test_warnings_are_passed_to_the_caller(runtime: Runtime, bundle: Bundle) -> None:
    heard: list[str] = []
    bundle.config["process"]["capabilities"]["bounding"] = ["CAP_KILL", "CAP_NEW_AND_UNKNOWN"]
    Library(runtime.root, warn=heard.append).run("c1", bundle.shell("true").path)
    assert any("CAP_NEW_AND_UNKNOWN" in text for text in heard)
