"""Published escapes, reproduced without harm: each test names what it is after, and proves that it does not work here.

docs/security.md has the table of all of them, with those that do not apply and why.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builder.integration.conftest import builder, images
from tests.images.integration.conftest import authority, client, fake, fakes, pyimage
from tests.pocker.integration.conftest import pocker, store

__all__ = [   # fixtures
    "authority", "builder", "client", "fake", "fakes", "images", "pocker",
    "pyimage", "store"]

SECRET = "a secret of the host"


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
