"""containerd with the shim in its PATH: Debian's version and the current one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients import builds
from tests.clients.conftest import VERSIONS
from tests.clients.containerd import Containerd
from tests.criu import provided


@pytest.fixture(scope="module", params=VERSIONS)
def daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    if request.param == "current" and (reason := builds.why_not()):
        pytest.skip(reason)
    programs = builds.containerd() if request.param == "current" else None
    made = Containerd(tmp_path_factory.mktemp("containerd"), programs, tools=provided()[0])
    yield made
    made.close()
