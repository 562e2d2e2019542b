"""The examples of docs/sandbox.md, in their order, as one program."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from pyruntime import ImageStore
from tests.conftest import TOP


def test_the_examples(rootfs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                      capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PYRUNTIME_STORE", str(tmp_path / "store"))
    subprocess.run(["tar", "-C", str(rootfs), "-cf", str(tmp_path / "box.tar"), "."], check=True)
    ImageStore().import_archive(str(tmp_path / "box.tar"), "busybox")
    examples = re.findall(r"^```python\n(.*?)^```", (TOP / "docs/sandbox.md").read_text(), re.M | re.S)
    assert len(examples) >= 6
    names: dict[str, object] = {}
    for example in examples:
        exec(compile(example, "docs/sandbox.md", "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    told = re.findall(r"^ *print\(\S+\)   # (.*)$", "".join(examples), re.M)
    assert len(told) >= 2 and set(told) <= set(printed)
