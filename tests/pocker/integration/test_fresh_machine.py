"""Commands on a host where nothing is stored yet: the first commands of a new user."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pocker.integration.command import Pocker

COMMANDS = [
    "info", "version", "ps", "ps -a", "images", "volume ls", "network ls", "network inspect bridge", "system df",
    "system df -v", "stats --no-stream", "container prune -f", "image prune -f", "image prune -a -f", "volume prune -f",
    "network prune -f", "builder prune -f", "system prune -f", "system info", "events --until 0s"]


@pytest.mark.parametrize("words", COMMANDS)
def test_the_first_command(tmp_path: Path, words: str) -> None:
    pocker = Pocker(tmp_path / "places", tmp_path / "store")
    done = pocker(*words.split())
    assert done.returncode == 0 and done.stderr == "", done.stderr
    pocker.check()
