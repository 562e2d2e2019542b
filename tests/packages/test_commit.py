"""tools/commit: the commit for --version, in a checkout, in a source archive, and elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.commands import BIN
from tests.conftest import TOP


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree without a repository."""
    for name in ("tools", "pyruntime"):
        (tmp_path / name).mkdir()
    shutil.copy(TOP / "tools/commit", tmp_path / "tools")
    return tmp_path


def commit(tree: Path) -> str:
    """What the tool writes down."""
    subprocess.run([tree / "tools/commit"], check=True, env={"PATH": os.environ["PATH"]})
    found = re.search(r'^COMMIT = "(.*)"$', (tree / "pyruntime/_commit.py").read_text(), re.MULTILINE)
    assert found
    return found[1]


def git(tree: Path, *words: str) -> str:
    """The output of git, without the user's configuration."""
    settings = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *settings, *words], cwd=tree, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_checkout_and_its_source_archive(tree: Path) -> None:
    git(tree, "init", "-q")
    (tree / ".gitignore").write_text("_commit.py\n")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "first")
    first = git(tree, "rev-parse", "--short=12", "HEAD")
    assert commit(tree) == first
    git(tree, "tag", "v9.9.9")
    when = (tree / "pyruntime/_commit.py").stat().st_mtime_ns
    assert commit(tree) == first
    assert (tree / "pyruntime/_commit.py").stat().st_mtime_ns == when   # nothing is built again
    (tree / "tools/commit").chmod(0o700)
    (tree / ".gitignore").write_text("_commit.py\n\n")
    assert commit(tree) == f"{first}-dirty"
    shutil.rmtree(tree / ".git")
    assert commit(tree) == f"{first}-dirty"   # as the archive's maker wrote


def test_without_a_repository_or_in_that_of_others(tree: Path) -> None:
    assert commit(tree) == "unknown"
    (tree / "pyruntime/_commit.py").unlink()
    inner = tree / "vendor/box"
    shutil.copytree(tree / "tools", inner / "tools")
    (inner / "pyruntime").mkdir()
    git(tree, "init", "-q")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "first")
    assert commit(inner) == "unknown"


@pytest.mark.parametrize("words", [("pyruntime", "--version"), ("pyimage", "--version"), ("pocker", "--version"),
                                   ("containerd-shim-pyruntime-v2", "-v"), ("pocker", "version")])
def test_every_command_names_version_and_commit(words: tuple[str, ...]) -> None:
    said = subprocess.run([BIN / words[0], *words[1:]], check=True, capture_output=True, text=True).stdout
    assert re.search(r"\b\d+\.\d+\.\d+", said) and re.search(
        r"(?:commit:? |GitCommit: |Revision: )(?:[0-9a-f]{12}(?:-dirty)?|unknown)\b", said), said
