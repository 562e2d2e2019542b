"""The snapshot has all modules that the usual commands import (decision 0024)."""

from __future__ import annotations

from tests.containers import Bundle, Runtime
from tests.snapshots import imported_late


def test_the_usual_commands_import_nothing(runtime: Runtime, bundle: Bundle) -> None:
    bundle.shell("sleep 1000")
    root = ("--root", runtime.root)
    late = {}
    for words in (["create", "-b", bundle.path, "c1"], ["start", "c1"], ["state", "c1"], ["exec", "c1", "true"],
                  ["exec", "--detach", "c1", "true"], ["pause", "c1"], ["resume", "c1"], ["list"],
                  ["update", "--pids-limit", "100", "c1"], ["events", "--stats", "c1"], ["kill", "c1", "KILL"],
                  ["delete", "--force", "c1"], ["run", "--detach", "-b", bundle.path, "c2"]):
        late[str(words[0])] = imported_late("pyruntime", *root, *words)
    runtime.ok("delete", "--force", "c2")
    bundle.shell("true")
    late["run"] = imported_late("pyruntime", *root, "run", "-b", bundle.path, "c3")
    assert {name: modules for name, modules in late.items() if modules} == {}
