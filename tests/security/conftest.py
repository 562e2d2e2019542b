"""Published escapes, reproduced without harm: each test names the vulnerability, and proves that the attack fails.

docs/security.md has a table of all of them, including those that do not apply, with reasons.
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
    """A directory of the host that must not be read or changed: ``path``, with a file and a nested empty directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "empty/inner").mkdir(parents=True)
        (path / "canary").write_text(SECRET)
        (path / "canary").chmod(0o640)
        self.before = self.state()

    def state(self) -> dict[str, tuple[int, int, int, str]]:
        """The state of the directory: modes, owners, links and content."""
        found = {}
        for node in [self.path, *sorted(self.path.rglob("*"))]:
            status = node.lstat()
            links = status.st_nlink if node.is_file() else 0
            content = node.read_text() if node.is_file() else ""
            found[str(node)] = (status.st_mode, status.st_uid, links, content)
        return found

    def check(self) -> None:
        """Check that the directory has not changed."""
        assert self.state() == self.before


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    """A directory of the host, checked for changes at the end of the test."""
    made = Outside(tmp_path / "outside")
    yield made
    made.check()
