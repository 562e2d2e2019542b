"""Scale: many containers at once, and very little memory."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.commands import COMMAND
from tests.conftest import compile_c
from tests.containers import Bundle, Runtime


def test_a_hundred_containers_from_two_shells(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell("sleep 1000")
    script = """
    for number in $(seq 50); do
        ( {command} --root {root} create {shell}-$number {bundle} && {command} --root {root} start {shell}-$number ) &
        [ $((number % 10)) = 0 ] && wait
    done
    wait
    """
    shells = [subprocess.Popen(
        ["sh", "-c", script.format(command=COMMAND, root=runtime.root, bundle=bundle, shell=name)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for name in ("one", "two")]
    assert [shell.wait(300) for shell in shells] == [0, 0]
    expected = sorted(f"{shell}-{number}" for shell in ("one", "two") for number in range(1, 51))
    assert runtime.ok("list", "-q").split() == expected
    states = [runtime.state(name) for name in expected]
    assert {state["status"] for state in states} == {"running"}
    assert len({state["pid"] for state in states}) == 100
    shells = [subprocess.Popen(
        ["sh", "-c", f"for number in $(seq 50); do {COMMAND} --root {runtime.root} delete --force {name}-$number"
                     " || exit 1; done"], stdin=subprocess.DEVNULL) for name in ("one", "two")]
    assert [shell.wait(300) for shell in shells] == [0, 0]
    assert runtime.ok("list", "-q") == ""


def test_a_very_small_memory_limit(runtime: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """crun needs 191 KiB for a static /bin/true; no page of an interpreter must ever be charged to the container."""
    if not Path("/sys/fs/cgroup/memory").is_dir() and not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        pytest.skip("no memory controller is mounted")
    source = tmp_path / "true.c"
    source.write_text("int main(void) { return 0; }\n")
    program = compile_c(tmp_path / "true", [source], "-static")
    target = Path(own_bundle.config["root"]["path"]) / "bin/static-true"
    target.write_bytes(program.read_bytes())
    target.chmod(0o755)
    own_bundle.config["linux"]["resources"]["memory"] = {"limit": 191 * 1024}
    own_bundle.save(process__args=["/bin/static-true"])
    assert [runtime("run", f"c{number}", own_bundle).returncode for number in range(5)] == [0] * 5
