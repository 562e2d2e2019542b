"""A runtime with CRIU, and a container that counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.containers import Bundle, Runtime
from tests.criu import path_with_criu
from tests.runtime.integration.checkpoint.checkpointed import COUNT


@pytest.fixture
def criu(runtime: Runtime) -> Runtime:
    """The runtime with a CRIU in its PATH."""
    runtime.environment["PATH"] = path_with_criu()
    return runtime


@pytest.fixture
def counter(criu: Runtime, own_bundle: Bundle) -> Path:
    """A running container c1 that counts, and the file with its count."""
    own_bundle.shell(COUNT)
    criu.ok("run", "-d", "c1", own_bundle)
    return Path(own_bundle.config["root"]["path"]) / "count"
