"""The ``prune`` commands: what they remove, what they keep, and that they ask on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.commands import BIN
from tests.pocker.integration.command import Pocker

NONE = ("--network", "none")
PRUNES = ("container prune", "image prune", "image prune -a", "network prune", "volume prune", "volume prune -a",
          "builder prune", "builder prune -a", "system prune", "system prune -a --volumes")


@pytest.fixture
def own(pocker: Pocker, store: Path, tmp_path: Path) -> Pocker:
    """A command with a store of its own."""
    made = Pocker(tmp_path / "own", tmp_path / "own-store")
    made.ok("import", "--cmd", "sh", next(store.parent.glob("*.tar")), "busybox", program="pyimage")
    return made


def _dangling(pocker: Pocker) -> list[str]:
    return pocker.ok("images", "-q", "-f", "dangling=true").split()


def _build(pocker: Pocker, path: Path, text: str, *flags: str) -> str:
    context = path / "context"
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text(f"FROM busybox\nENV MARK={text}\n")
    return pocker.ok("build", "-q", "--network", "none", *flags, context)


@pytest.mark.parametrize("words", PRUNES)
def test_the_flags_of_scripts(pocker: Pocker, words: str, tmp_path: Path) -> None:
    own = Pocker(tmp_path / "own", tmp_path / "own-store")
    by_age = () if "volume" in words else ("--filter", "until=24h")
    for flags in (("-f",), ("--force",), by_age, ("-f", *by_age)):
        own.ok(*words.split(), *flags)
    assert "--filter" in own.fails(*words.split(), "--filter", "nosuch=1")


def test_an_image_that_a_build_left_without_a_name(own: Pocker, tmp_path: Path) -> None:
    first = _build(own, tmp_path, "first")
    kept = _build(own, tmp_path, "kept")
    own.ok("create", "--name", "user", *NONE, kept)
    named = _build(own, tmp_path, "named", "-t", "named")
    rows = own.ok("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    assert sorted(rows) == ["<none>:<none>", "<none>:<none>", "busybox:latest", "named:latest"]
    assert sorted(_dangling(own)) == sorted(image[7:19] for image in (first, kept))
    assert own.ok("image", "inspect", "-f", "{{.RepoTags}} {{.RepoDigests}}", first) == "[] []"
    said = own.ok("image", "prune", "-f")
    assert said.startswith("Deleted Images:\nuntagged: sha256:") and "Total reclaimed space:" in said
    assert _dangling(own) == [kept[7:19]], "a container uses it"
    assert own.ok("images", "-q", "named") == named[7:19]
    own.ok("rm", "user")
    own.ok("system", "prune", "-f")
    assert _dangling(own) == [] and len(own.ok("images", "-q").split()) == 2
    own.check()


def test_a_rebuild_leaves_the_old_image_dangling(own: Pocker, tmp_path: Path) -> None:
    """Docker lists the image that lost its name as <none>; pyimage does so too."""
    old = _build(own, tmp_path, "old", "-t", "app")
    new = _build(own, tmp_path, "new", "-t", "app")
    assert _dangling(own) == [old[7:19]] and own.ok("images", "-q", "app") == new[7:19]
    own.ok("tag", new, "second")
    own.ok("tag", "busybox", "second")   # the image still has the name "app"
    assert _dangling(own) == [old[7:19]]
    own.ok("tag", "busybox", "app")
    assert sorted(_dangling(own)) == sorted([old[7:19], new[7:19]])
    own.ok("image", "prune", "-f")
    assert _dangling(own) == []


def test_an_image_gets_a_name_later(own: Pocker, tmp_path: Path) -> None:
    """Then it is no longer dangling; and building or committing a tagged image again does not untag it."""
    image = _build(own, tmp_path, "later")
    own.ok("tag", image, "later")
    assert _dangling(own) == [] and own.ok("images", "-q", "later") == image[7:19]
    assert _build(own, tmp_path, "later") == image and _dangling(own) == []
    own.ok("create", "--name", "box", *NONE, "busybox")
    committed = own.ok("commit", "box")
    assert _dangling(own) == [committed[7:19]]
    own.ok("save", "-o", tmp_path / "nameless.tar", committed)
    own.ok("rmi", committed)
    own.ok("rm", "box")
    assert _dangling(own) == []
    own.ok("load", "-i", tmp_path / "nameless.tar")
    assert _dangling(own) == [committed[7:19]]
    own.ok("rmi", committed[7:19])
    own.check()


def test_age_and_labels(own: Pocker) -> None:
    for name, label in (("one", "keep=1"), ("two", "keep=2"), ("three", "other")):
        own.ok("create", "--name", name, *NONE, "--label", label, "busybox")
        own.ok("network", "create", "--label", label, name)
    def containers() -> set[str]:
        return set(own.statuses())

    def networks() -> set[str]:
        return set(own.ok("network", "ls", "--format", "{{.Name}}").split()) - {"bridge", "host", "none"}

    for kind, names in (("container", containers), ("network", networks)):
        own.ok(kind, "prune", "-f", "--filter", "until=1h")
        assert names() == {"one", "two", "three"}
        own.ok(kind, "prune", "-f", "--filter", "label!=keep=1", "--filter", "label!=other")
        assert names() == {"one", "three"}
        own.ok(kind, "prune", "-f", "--filter", "label=keep", "--filter", "label=keep=1")
        assert names() == {"three"}
        own.ok(kind, "prune", "-f", "--filter", "until=2090-01-01T00:00:00")
        assert names() == set()
    own.ok("image", "prune", "-af", "--filter", "until=1h")
    assert len(own.ok("images", "-q").split()) == 1
    own.ok("image", "prune", "-af", "--filter", "until=0s")
    assert own.ok("images", "-q") == ""
    own.check()


@pytest.mark.parametrize(("answer", "done"), [("y", True), ("yes", True), ("n", False), ("", False), ("\x04", False)])
def test_on_a_terminal_prune_asks_first(own: Pocker, answer: str, done: bool) -> None:
    own.ok("create", "--name", "box", *NONE, "busybox")
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    said = subprocess.run([str(BIN / "pocker"), "container", "prune"], stdin=theirs, capture_output=True, text=True,
                          check=False, env=own.environment)
    os.close(ours)
    os.close(theirs)
    assert "WARNING! This will remove all stopped containers" in said.stderr and "[y/N]" in said.stderr
    assert said.returncode == (0 if done else 1) and ("box" not in own.statuses()) == done
    own.clear()
