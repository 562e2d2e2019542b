"""tests/vm/run and tools/vm, as far as they need no guest."""

from __future__ import annotations

import errno
import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import TOP


def module(program: str) -> ModuleType:
    """A program as a module."""
    loader = importlib.machinery.SourceFileLoader(program.replace("/", "_"), str(TOP / program))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    loaded = importlib.util.module_from_spec(spec)
    loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def run() -> ModuleType:
    """tests/vm/run as a module."""
    return module("tests/vm/run")


@pytest.fixture(scope="module")
def vm() -> ModuleType:
    """tools/vm as a module."""
    return module("tools/vm")


def test_the_tree_is_copied_while_it_changes(run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that run beside it write to the tree, and remove what they have written."""
    tree = tmp_path / "checkout"
    (tree / "pyruntime/builder").mkdir(parents=True)
    (tree / "build").mkdir()
    (tree / "ending/below").mkdir(parents=True)
    (tree / "leading").symlink_to("kept")
    for name in ("pyruntime/builder/kept", "vanishing", "kept"):
        (tree / name).write_text(name)
    link, readlink, scandir = os.link, os.readlink, os.scandir

    def raced(source: str, target: str, **options: bool) -> None:
        if source.endswith("vanishing"):
            os.unlink(source)
        link(source, target, **options)

    def read(path: str) -> str:
        os.unlink(path)
        return readlink(path)

    def listed(path: str | Path) -> Iterator[os.DirEntry[str]]:
        if str(path).endswith("below"):
            shutil.rmtree(tree / "ending")
        return scandir(path)

    monkeypatch.setattr(os, "link", raced)
    monkeypatch.setattr(os, "readlink", read)
    monkeypatch.setattr(os, "scandir", listed)
    copy = run.stage(tmp_path, tree)
    found = sorted(str(path.relative_to(copy)) for path in copy.rglob("*"))
    assert found == ["ending", "kept", "pyruntime", "pyruntime/builder", "pyruntime/builder/kept"]


def test_a_file_that_cannot_be_copied(run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout/secret").touch()

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "secret")

    monkeypatch.setattr(os, "link", refused)
    monkeypatch.setattr(shutil, "copy2", refused)
    with pytest.raises(shutil.Error, match="secret"):
        run.stage(tmp_path, tmp_path / "checkout")


@pytest.mark.parametrize(("variable", "value", "said"), [
    ("VM_ARCH", "riscv64", "VM_ARCH=riscv64: there is a guest for amd64 and arm64 only")])
def test_a_guest_that_there_is_not(variable: str, value: str, said: str) -> None:
    done = subprocess.run([TOP / "tools/vm", "run", "true"], env={**os.environ, variable: value}, capture_output=True,
                          text=True, check=False, timeout=60)
    assert said in done.stderr and "Traceback" not in done.stderr and done.returncode


@pytest.mark.parametrize(("mirror", "archive"), [
    ("", "http://deb.debian.org/debian"), ("http://mirror.example/debian", "http://mirror.example/debian")])
def test_the_archive_on_another_distribution(vm: ModuleType, monkeypatch: pytest.MonkeyPatch, mirror: str,
                                             archive: str) -> None:
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"ID": "ubuntu", "VERSION_CODENAME": "noble"})
    monkeypatch.setenv("VM_MIRROR", mirror)
    assert vm.archives() == [f"deb {archive} {vm.RELEASE} main"]


def test_an_archive_that_cannot_be_verified(vm: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    """Without the keys debootstrap would only warn."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/sbin/{name}")
    monkeypatch.setattr(vm, "archives", lambda: pytest.fail("it goes on"))
    monkeypatch.setattr(vm, "KEYRING", tmp_path / "debian-archive-keyring.gpg")
    with pytest.raises(SystemExit) as stopped:
        vm.build_disk(tmp_path)
    assert stopped.value.code == 125 and "install debian-archive-keyring" in capsys.readouterr().err
