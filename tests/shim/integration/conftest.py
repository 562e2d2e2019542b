"""Debian's containerd with the shim in its PATH."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.containerd import Containerd
from tests.clients.documented_configs import PYRUNTIME
from tests.criu import provided


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    tools = ":".join(filter(None, [str(Path(PYRUNTIME).parent), provided()[0]]))
    made = Containerd(tmp_path_factory.mktemp("containerd"), None, tools=tools)
    yield made
    made.close()
