"""Podman writes containers to disk and brings them back, through pyruntime."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.documented_configs import PYRUNTIME
from tests.clients.podman import OPTIONS, Podman
from tests.criu import path_with_criu

COUNT = "n=0; while :; do n=$((n+1)); echo $n; sleep 0.05; done"


@pytest.fixture
def podman(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Podman]:
    """Podman with a CRIU."""
    monkeypatch.setenv("PATH", path_with_criu())
    made = Podman(tmp_path_factory.mktemp("podman"), PYRUNTIME)   # it needs a short path
    made.load()
    yield made
    made.close()


def _counted(podman: Podman, beyond: int) -> int:
    """The container's counter, once it is greater than ``beyond``; it has no gap."""
    deadline = time.monotonic() + 30
    while len(lines := podman.ok("logs", "c1").split()) <= beyond:
        assert time.monotonic() < deadline, lines[-3:]
        time.sleep(0.1)
    assert lines == [str(number) for number in range(1, len(lines) + 1)]
    return len(lines)


def test_round_trip(podman: Podman, tmp_path: Path) -> None:
    """Restore in place, and from an archive as on another host, where the count continues."""
    podman.ok("run", "-d", "--name", "c1", *OPTIONS, "box", "sh", "-c", COUNT)
    reached = _counted(podman, 3)
    podman.ok("container", "checkpoint", "c1")
    assert "Exited" in podman.ok("ps", "-a")
    podman.ok("container", "restore", "c1")
    reached = _counted(podman, reached + 3)
    assert "sh -c n=0" in podman.ok("exec", "c1", "ps")
    archive = tmp_path / "c1.tar.gz"
    podman.ok("container", "checkpoint", "--leave-running", "--export", str(archive), "c1")
    podman.ok("rm", "-f", "-t", "0", "c1")
    podman.ok("container", "restore", "--import", str(archive))
    deadline = time.monotonic() + 30
    while int((podman.ok("logs", "c1").split() or ["0"])[-1]) <= reached:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    podman.ok("rm", "-f", "-t", "0", "c1")
