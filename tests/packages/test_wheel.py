"""The source archive and the wheel: their contents, and the start-up time of installed commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PADDING, TOP

COMMANDS = ("pyruntime", "pyimage", "pocker")
MUSL_STUB = 130_000   # bytes; with glibc it has 700,000


def _build(where: Path, kind: str, target: Path) -> Path:
    """Build a source archive or a wheel of a source tree with the build backend, like pip and `python -m build`."""
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(target)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=where, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return target / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive of the files in git."""
    tree = tmp_path_factory.mktemp("tree")
    known = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=TOP,
                           capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, known):
        if (TOP / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / name, tree / name)
    return _build(tree, "sdist", tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def wheel(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built only from the source archive."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(archive) as file:
        file.extractall(unpacked, filter="data")
    return _build(next(unpacked.iterdir()), "wheel", archive.parent)


@pytest.fixture(scope="module")
def prefix(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A virtual environment with the wheel; dependencies are those of this environment."""
    place = tmp_path_factory.mktemp("prefix")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    subprocess.run([sys.executable, "-m", "pip", "--quiet", "--python", place / "bin/python", "install", "--no-deps",
                    "--no-index", wheel], check=True)
    packages = next(place.glob("lib/python3*/site-packages"))
    for needed in Path(sys.prefix).glob("lib/python3*/site-packages/*"):
        if not (packages / needed.name).exists() and not needed.name.startswith(("__editable__", "pyruntime")):
            (packages / needed.name).symlink_to(needed)
    yield place


def test_the_source_archive_has_what_a_build_needs(archive: Path) -> None:
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"Makefile", "tools/install-deps", "pyruntime/native/stub/stub.c", "pyruntime/native/front/main.c",
            "pyruntime/native/monitor/monitor.c", "spec/runtime/config.json"} <= names
    assert not [name for name in names if name.endswith((".so", "/stub/stub", "/monitor/monitor", ".pyc"))]


def test_one_wheel_is_for_all_pythons(wheel: Path) -> None:
    """The stable ABI of the oldest one."""
    assert wheel.name.split("-")[2:4] == ["cp311", "abi3"]


def test_the_wheel_has_the_programs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        sizes = {info.filename: info.file_size for info in file.infolist()}
        modes = {info.filename: info.external_attr >> 16 for info in file.infolist()}
    for name in ("stub", "monitor", "proxy", "init"):
        program = f"pyruntime/native/{name}/{name}"
        assert 0 < sizes[program] < MUSL_STUB + PADDING, name
        assert modes[program] & 0o111, name
    for name in COMMANDS:
        assert any(path.endswith(f".data/data/bin/{name}") for path in sizes), name


@pytest.mark.parametrize("command", COMMANDS)
def test_installed_commands(prefix: Path, tmp_path: Path, command: str) -> None:
    """Also through a symbolic link, and without site, which the interpreter imports unless started with -S."""
    (tmp_path / "elsewhere").symlink_to(prefix / "bin" / command)
    for path in (prefix / "bin" / command, tmp_path / "elsewhere"):
        done = subprocess.run([path, "version" if command == "pocker" else "--version"], capture_output=True, text=True,
                              check=False, env={"PATH": os.environ["PATH"]}, cwd="/")
        assert done.returncode == 0 and "0." in done.stdout, done.stderr
    assert list(prefix.glob("lib/python3*/site-packages/pyruntime/__pycache__/all.*.bytecode")), "no file of bytecode"
    if os.uname().machine == "x86_64":
        place = "lib/python3*/site-packages/pyruntime/commandline/__pycache__"
        snapshots = list(prefix.glob(f"{place}/{command}.snapshot"))
        assert len(snapshots) == 1 and snapshots[0].stat().st_size > 1 << 20, "the first command takes a snapshot"
    profile = tmp_path / "opened"
    subprocess.run(["strace", "-f", "-e", "trace=openat,execve", "-o", profile, prefix / "bin" / command, "--help"],
                   check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PYRUNTIME_SNAPSHOT": "off"})
    said = profile.read_text()
    assert "-IS" in said and "pyvenv.cfg" in said and ".pth" not in said


def test_the_installed_shim(prefix: Path) -> None:
    """It finds the package, which has the server."""
    done = subprocess.run([prefix / "bin/containerd-shim-pyruntime-v2", "-info"], capture_output=True, check=False,
                          env={"PATH": os.environ["PATH"]}, cwd="/", stdin=subprocess.DEVNULL)
    assert b"io.containerd.pyruntime.v2" in done.stdout and b"ociVersionMax" in done.stdout, done.stderr


def test_the_installed_command_is_the_front(prefix: Path, tmp_path: Path) -> None:
    """It answers by itself what needs no Python: here, that there is no container."""
    tmp_path.chmod(0o700)
    trace = tmp_path / "trace"
    command = [str(prefix / "bin/pyruntime"), "--root", str(tmp_path), "list", "-q"]
    subprocess.run(["strace", "-f", "-e", "trace=execve", "-o", str(trace), *command], check=True)
    assert trace.read_text().count("execve(") == 1


def test_a_command_without_its_package_says_so(prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    shutil.copy(prefix / "bin/pocker", tmp_path / "bin/pocker")
    done = subprocess.run([tmp_path / "bin/pocker", "ps"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith("error: the package pyruntime is not installed beside")
