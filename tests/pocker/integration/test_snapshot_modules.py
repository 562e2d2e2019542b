"""The snapshot has all modules that the daily commands import (decision 0024)."""

from __future__ import annotations

from tests.pocker.integration.command import Pocker
from tests.snapshots import imported_late


def test_the_daily_commands_import_nothing(pocker: Pocker) -> None:
    for name in ("aa", "bb"):
        pocker.ok("run", "-d", "--name", name, "--network", "none", "busybox", "sleep", "1000")
    late = {}
    for words in (["ps"], ["ps", "-a"], ["exec", "aa", "true"], ["exec", "-d", "aa", "true"], ["logs", "aa"],
                  ["inspect", "aa"], ["images"], ["port", "aa"], ["kill", "aa"], ["stop", "-t", "0", "bb"],
                  ["start", "bb"], ["rm", "-f", "bb"], ["run", "--rm", "--network", "none", "busybox", "true"],
                  ["network", "ls"], ["volume", "ls"]):
        late[" ".join(words)] = imported_late("pocker", *words, env=pocker.environment)
    assert {name: modules for name, modules in late.items() if modules} == {}
