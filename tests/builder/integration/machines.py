"""Hosts that share a registry on the loopback interface: ``builder`` and ``other``, each with its own store."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyruntime.images.lookup import find
from pyruntime.images.store.store import Store
from tests.images.integration.registries import FakeRegistry
from tests.pocker.integration.command import Pocker


class Machine(Pocker):
    """pocker in the tests' network namespace, with their registries; RUN has no network."""

    def __init__(self, path: Path, images: Path) -> None:
        shutil.copytree(images, path / "store", symlinks=True)
        super().__init__(path, path / "store")
        self.store = path / "store"
        self.environment.pop("SOURCE_DATE_EPOCH", None)

    def __call__(self, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        if words[0] == "build":
            words = ("build", "--network", "none", *words[1:])
        return super().__call__(*words, **options)

    def image(self, name: str) -> Any:
        """An image of the store."""
        return find(Store.open(str(self.store)), name)

    def leftovers(self) -> list[str]:
        """Leftovers of builds, except the cache: work, containers."""
        return super().leftovers() + [f"file {path}" for directory in ("store/work", "run/build", "store/cache/locks")
                                      for path in (self.path / directory).glob("[!.]*")]


def _machine(path: Path, images: Path) -> Iterator[Machine]:
    made = Machine(path, images)
    yield made
    made.clear()
    made.check()


@pytest.fixture
def builder(tmp_path: Path, images: Path) -> Iterator[Machine]:
    """A host; nothing may be left at the end."""
    yield from _machine(tmp_path, images)


@pytest.fixture
def other(tmp_path: Path, images: Path) -> Iterator[Machine]:
    """Another host."""
    (tmp_path / "other").mkdir()
    yield from _machine(tmp_path / "other", images)


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    """A registry in memory, which records its requests."""
    made = FakeRegistry()
    yield made
    made.stop()
