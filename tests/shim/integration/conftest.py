"""containerd with the shim in its PATH: Debian's version and the current one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from bundles.build import busybox_rootfs
from tests.clients import builds
from tests.clients.conftest import VERSIONS
from tests.clients.containerd import Containerd
from tests.criu import provided
from tests.shim.client import Machine


@pytest.fixture(scope="module", params=VERSIONS)
def daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    if request.param == "current" and (reason := builds.why_not()):
        pytest.skip(reason)
    programs = builds.containerd() if request.param == "current" else None
    made = Containerd(tmp_path_factory.mktemp("containerd"), programs, tools=provided()[0])
    yield made
    made.close()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    path = tmp_path_factory.mktemp("shim")
    busybox_rootfs(path / "image")
    made = Machine(path)
    yield made
    left = made.monitors()
    sockets = os.listdir(made.room.seen("/run/containerd/s"))
    made.close()
    assert left == []
    assert [name for name in sockets if ".server" not in name] == []
