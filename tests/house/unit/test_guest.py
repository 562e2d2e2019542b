"""tests/vm/run and tools/vm, as far as they need no guest."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import TOP


@pytest.fixture(scope="module")
def run() -> ModuleType:
    """tests/vm/run as a module."""
    loader = importlib.machinery.SourceFileLoader("vm_run", str(TOP / "tests/vm/run"))
    spec = importlib.util.spec_from_loader("vm_run", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_tree_is_copied_while_it_changes(run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that run beside it write to the tree, and remove what they have written."""
    tree = tmp_path / "checkout"
    (tree / "pyruntime/builder").mkdir(parents=True)
    (tree / "build").mkdir()
    for name in ("pyruntime/builder/kept", "vanishing", "kept"):
        (tree / name).write_text(name)
    link = os.link

    def raced(source: str, target: str, **options: bool) -> None:
        if source.endswith("vanishing"):
            os.unlink(source)
        link(source, target, **options)

    monkeypatch.setattr(os, "link", raced)
    copy = run.stage(tmp_path, tree)
    found = sorted(str(path.relative_to(copy)) for path in copy.rglob("*"))
    assert found == ["kept", "pyruntime", "pyruntime/builder", "pyruntime/builder/kept"]


@pytest.mark.parametrize(("variable", "value", "said"), [
    ("VM_ARCH", "riscv64", "VM_ARCH=riscv64: there is a guest for amd64 and arm64 only")])
def test_a_guest_that_there_is_not(variable: str, value: str, said: str) -> None:
    done = subprocess.run([TOP / "tools/vm", "run", "true"], env={**os.environ, variable: value}, capture_output=True,
                          text=True, check=False, timeout=60)
    assert said in done.stderr and "Traceback" not in done.stderr and done.returncode
