"""The examples of the pages about the library, and the tests that docs/threat-model.md names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import pyruntime
from bundles.build import busybox_rootfs
from docs.api import ORDER, reference
from pyruntime import Engine, ImageStore, Sandbox
from tests.conftest import TOP
from tests.images.integration.registries import serve
from tests.pocker.integration.lab import Lab


def examples(page: str) -> str:
    """The Python examples of a page, as one program."""
    found = re.findall(r"^```python\n(.*?)^```", (TOP / "docs" / page).read_text(), re.M | re.S)
    assert found, page
    return "\n".join(found)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with an image of busybox."""
    busybox_rootfs(tmp_path / "rootfs")
    subprocess.run(["tar", "-C", str(tmp_path / "rootfs"), "-cf", str(tmp_path / "box.tar"), "."], check=True)
    ImageStore(tmp_path / "store").import_archive(str(tmp_path / "box.tar"), "busybox")
    return tmp_path / "store"


def run(code: str, store: Path, place: Path, prefix: tuple[str, ...] = ()) -> str:
    """The output of a program that must succeed."""
    place.mkdir(exist_ok=True)
    environment = {**os.environ, "PYRUNTIME_STORE": str(store), "POCKER_ROOT": f"{place}/root",
                   "POCKER_RUN": f"{place}/run", "HOME": str(place), "PYTHONPATH": str(TOP)}
    done = subprocess.run([*prefix, sys.executable, "-c", f"import os; os.chdir({str(place)!r})\n{code}"], text=True,
                          capture_output=True, check=False, env=environment, timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_service(store: Path, tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    lab = Lab(tmp_path / "lab", store)
    try:
        run(examples("services.md"), store, lab.path, tuple(lab.prefix))
        assert lab.ok("ps", "-aq") == ""
        lab.clear()
        lab.check()
    finally:
        lab.close()


def test_sandboxes_in_a_network(store: Path, tmp_path: Path) -> None:
    example = re.search(r'^    with Sandbox\("busybox", network="back"\)(.*\n(    .*\n)+)',
                        (TOP / "docs/sandbox.md").read_text(), re.M)
    assert example and "assert" in example[0]
    (tmp_path / "lab").mkdir()
    lab = Lab(tmp_path / "lab", store)
    try:
        lab.ok("network", "create", "back")
        run(f"from pyruntime import Sandbox\n{textwrap.dedent(example[0])}print('done')", store, lab.path,
            tuple(lab.prefix))
        lab.ok("network", "rm", "back")
        lab.clear()
        lab.check()
    finally:
        lab.close()


def test_an_image(store: Path, tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    with serve(tmp_path / "registry") as registry:
        code = examples("images-python.md").replace("registry.example/", f"{registry.host}/")
        assert "registry.example" not in code
        told = run(code, store, tmp_path / "place")
    assert re.fullmatch(r"pushed sha256:[0-9a-f]{64}\n", told)


def test_the_way_from_docker_py(store: Path, tmp_path: Path) -> None:
    run(examples("docker-py.md"), store, tmp_path / "place")
    table = (TOP / "docs/docker-py.md").read_text()
    for owner in (Engine, ImageStore):
        for names in re.findall(rf"`{owner.__name__}\.(\w+)[^|]*", table):
            assert hasattr(owner, names), names
    for name in re.findall(r"`box\.(\w+)", table):
        assert hasattr(Sandbox, name), name


def test_the_guide(store: Path, tmp_path: Path) -> None:
    told = run(examples("guides/python.md"), store, tmp_path / "place")
    assert re.fullmatch(r"stopped after 0\.\d s of processor time\n", told)


def test_the_attempts_of_the_threat_model_exist() -> None:
    tests = "".join(path.read_text() for path in (TOP / "tests/sandbox").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", (TOP / "docs/threat-model.md").read_text())
    assert len(named) > 15
    assert [name for name in named if f"def {name}(" not in tests] == []


def test_the_reference_is_up_to_date() -> None:
    assert (TOP / "docs/api.md").read_text() == reference(), "run `python -m docs.api > docs/api.md`"
    assert set(pyruntime.__all__) - {"__version__", "errors"} <= set(ORDER)
