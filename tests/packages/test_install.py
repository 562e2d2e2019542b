"""`make install`: the commands for all users, with the host's own Python, which may not be that of .venv."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import TOP

COMMANDS = ("pyruntime", "pyimage", "pocker")


def _make(*words: object) -> None:
    done = subprocess.run(["make", "-s", *map(str, words)], cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where `make install` has installed; nothing is left of it after `make uninstall`."""
    place = tmp_path_factory.mktemp("installed") / "own"
    _make("install", f"PREFIX={place}")
    yield place
    _make("uninstall", f"PREFIX={place}")
    left = [path for path in place.rglob("*") if not path.is_dir()]
    assert not left, left


def _run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in words], env={"PATH": os.environ["PATH"]}, cwd="/", capture_output=True,
                          text=True, check=False, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_run_from_their_snapshots(prefix: Path, name: str) -> None:
    """The host's interpreter may be none that can be moved, as Debian's: its heap is below every other mapping."""
    command = prefix / "bin" / name
    for words in (["--help"], *(["completion", shell] for shell in ("bash", "zsh", "fish"))):
        done, other = _run(command, *words), _run("env", "PYRUNTIME_SNAPSHOT=off", command, *words)
        assert done.returncode == 0 and done.stdout == other.stdout and not done.stderr, (words, done)
    if os.uname().machine == "x86_64":
        snapshots = list(prefix.glob(f"lib/pyruntime/lib/python3*/site-packages/*/commandline/__pycache__/{name}.*"))
        assert [path.stat().st_size > 1 << 20 for path in snapshots] == [True], snapshots


def test_a_restored_process_can_use_much_memory(prefix: Path, tmp_path: Path) -> None:
    """The allocator gets more from the kernel, in small pieces and in large ones."""
    bundle = tmp_path / "bundle"
    (bundle / "rootfs").mkdir(parents=True)
    assert _run(prefix / "bin/pyruntime", "spec", "--bundle", bundle).returncode == 0
    config = (bundle / "config.json").read_text()
    many = ", ".join(f'"name-{number}": "{number:>200}"' for number in range(40_000))
    (bundle / "config.json").write_text(config.replace('"linux":', f'"annotations": {{{many}}}, "linux":', 1))
    done = _run(prefix / "bin/pyruntime", "validate", bundle)
    assert done.returncode == 0 and done.stdout.endswith("config.json: valid\n"), done.stderr[-2000:]


def test_what_belongs_to_a_command(prefix: Path) -> None:
    assert _run(prefix / "bin/containerd-shim-pyruntime-v2", "-v").returncode == 0
    for path in ("share/man/man1/pocker-run.1", "share/man/man1/pyruntime.1", "share/zsh/site-functions/_pyruntime",
                 "share/fish/vendor_completions.d/pyimage.fish", "share/bash-completion/completions/pocker"):
        assert (prefix / path).stat().st_size > 100, path
    tools = {path.name for path in (prefix / "lib/pyruntime/bin").iterdir() if not path.name.startswith("python")}
    assert tools == {*COMMANDS, "containerd-shim-pyruntime-v2"}
    for manager in ("system", "user"):
        units = {path.name: path.read_text() for path in (prefix / f"lib/systemd/{manager}").iterdir()}
        assert set(units) == {"pocker-restart.service", "pocker-prune.service", "pocker-prune.timer"}
        assert f"ExecStart={prefix}/bin/pocker start --all" in units["pocker-restart.service"]
        for line in "".join(units.values()).splitlines():   # each command line exists
            if line.startswith("ExecStart="):
                words = line.removeprefix("ExecStart=").split()
                options = [word.partition("=")[0] for word in words if word.startswith("--")]
                told = _run(*[word for word in words if not word.startswith("-") and "=" not in word], "--help").stdout
                assert options == [option for option in options if option in told], (words, told)


def test_the_documented_apparmor_profile_is_for_the_programs(prefix: Path) -> None:
    """A profile is not found by a symbolic link, which the commands in PREFIX/bin are."""
    text = (TOP / "docs/hosts.md").read_text()
    for name in COMMANDS:
        program = (prefix / "bin" / name).resolve().relative_to(prefix)
        assert f"profile pyruntime /usr/{{,local/}}{program.parent}/{{{','.join(COMMANDS)}}} " in text


def test_another_directory_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "lib/pyruntime").mkdir(parents=True)
    (tmp_path / "lib/pyruntime/kept").write_text("kept")
    done = subprocess.run(["make", "-s", "uninstall", f"PREFIX={tmp_path}"], cwd=TOP, capture_output=True, text=True,
                          check=False)
    assert done.returncode and "is not an installation of pyruntime" in done.stderr
    assert (tmp_path / "lib/pyruntime/kept").read_text() == "kept"


@pytest.mark.parametrize("target", ["install", "uninstall"])
def test_another_program_is_not_removed(tmp_path: Path, target: str) -> None:
    """Such as one that pip has installed; it is found before anything is removed or installed."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/pocker").write_text("kept")
    done = subprocess.run(["make", "-s", target, f"PREFIX={tmp_path}"], cwd=TOP, capture_output=True, text=True,
                          check=False)
    assert done.returncode and f"{tmp_path}/bin/pocker is not of an installation" in done.stderr
    assert (tmp_path / "bin/pocker").read_text() == "kept" and os.listdir(tmp_path) == ["bin"]


def test_python_of_the_host_is_used(prefix: Path) -> None:
    """Not that of .venv, which may be one that only its owner can execute."""
    used = (prefix / "lib/pyruntime/bin/python3").resolve()
    assert used == (Path("/usr/bin/python3") if Path("/usr/bin/python3").exists() else Path(sys.executable)).resolve()
