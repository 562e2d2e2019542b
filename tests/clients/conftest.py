"""Each version of containerd, for the modules that use one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import builds
from tests.clients.containerd import Containerd
from tests.criu import provided

VERSIONS = ["debian", "current"]


@pytest.fixture(scope="module")
def containerd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    for needed in (shutil.which("containerd") or "containerd", "/usr/lib/cni/bridge"):
        if not Path(needed).exists():
            pytest.fail(f"{needed} is not installed: run tools/install-deps test")
    if request.param == "current" and (reason := builds.why_not()):
        pytest.skip(reason)
    programs = builds.containerd() if request.param == "current" else None
    made = Containerd(tmp_path_factory.mktemp("containerd"), programs, tools=provided()[0])
    yield made
    made.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every case with the current version. With Debian's version only those that the module lists, because of the time
    they take; CLIENTS=all runs every case with both."""
    if "containerd" not in metafunc.fixturenames:
        return
    if "case" not in metafunc.fixturenames:
        metafunc.parametrize("containerd", VERSIONS, indirect=True, scope="module")
        return
    every = list(metafunc.module.CASES)
    few = every if os.environ.get("CLIENTS") == "all" else metafunc.module.WITH_DEBIAN
    assert set(few) <= set(every)
    metafunc.parametrize(("containerd", "case"), [*(("debian", case) for case in few),
                                                  *(("current", case) for case in every)],
                         indirect=["containerd"], scope="module")


@pytest.hookimpl(trylast=True)   # after pytest has sorted them by the numbers of their parameters
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with the same version are neighbours in each module: otherwise nearly each test would start a daemon."""
    def version(item: pytest.Item) -> str:
        return str(item.callspec.params.get("containerd", "")) if hasattr(item, "callspec") else ""

    places = [number for number, item in enumerate(items) if version(item)]
    first = {items[number].path: number for number in reversed(places)}
    chosen = sorted((items[number] for number in places),
                    key=lambda item: (first[item.path], VERSIONS.index(version(item))))
    for number, item in zip(places, chosen, strict=True):
        items[number] = item
