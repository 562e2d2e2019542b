"""Published escapes, reproduced without harm: each test names what it is after, and proves that it does not work here.

docs/security.md has the table of all of them, with those that do not apply and why.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.build.conftest import builder, images
from tests.integration.conftest import bundle, own_bundle, own_cgroup, runtime, sample, shared_rootfs
from tests.integration.image.conftest import authority, client, fake, fakes, pyimage
from tests.integration.pocker.conftest import pocker, store

__all__ = [   # fixtures
    "authority", "builder", "bundle", "client", "fake", "fakes", "images", "own_bundle", "own_cgroup", "pocker",
    "pyimage", "runtime", "sample", "shared_rootfs", "store"]

SECRET = "a secret of the host"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="needs root: what is tried here would need it to do harm"))


class Outside:
    """A directory of the host that nothing may read or change: ``path``, with a file, an empty directory in another."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "empty/inner").mkdir(parents=True)
        (path / "canary").write_text(SECRET)
        (path / "canary").chmod(0o640)
        self.before = self.state()

    def state(self) -> dict[str, tuple[int, int, int, str]]:
        """Everything in it: mode, owner, links and content."""
        found = {}
        for node in [self.path, *sorted(self.path.rglob("*"))]:
            status = node.lstat()
            links = status.st_nlink if node.is_file() else 0
            content = node.read_text() if node.is_file() else ""
            found[str(node)] = (status.st_mode, status.st_uid, links, content)
        return found

    def check(self) -> None:
        """It is as it was."""
        assert self.state() == self.before


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    """A directory of the host; at the end of the test it is as it was."""
    made = Outside(tmp_path / "outside")
    yield made
    made.check()
