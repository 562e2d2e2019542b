"""The modules of commands that must be fast: a listing, a second bundle of an image, a pull of a local image."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.images.integration.command import PYIMAGE, Pyimage
from tests.images.integration.registries import FakeRegistry

# Modules that cost less than a millisecond, and those that the interpreter loads itself.
CHEAP = {"abc", "binascii", "builtins", "codecs", "encodings", "errno", "fcntl", "gc", "genericpath", "io", "marshal",
         "os", "posix", "posixpath", "select", "site", "stat", "struct", "sys", "time", "zipimport"}


def imported(pyimage: Pyimage, *words: object) -> set[str]:
    """The modules that a command imports if it is not restored from a snapshot."""
    script = PYIMAGE.parent.parent / "libexec/pyimage"
    done = subprocess.run([sys.executable, "-I", "-S", "-X", "importtime", script, "--root", pyimage.store,
                           *map(str, words)], capture_output=True, text=True, check=False, timeout=60,
                          env={**pyimage.environment, "PYRUNTIME_SNAPSHOT": "off"})
    assert done.returncode == 0, done.stderr
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def foreign(names: set[str]) -> set[str]:
    """The modules of other packages, except cheap ones."""
    return {name for name in names if not name.startswith(("_", "pyruntime", "encodings."))} - CHEAP - {
        "os.path", "imported package"}


# Not the tables of `ls` and `history`: they show ages, with dateutil.
@pytest.mark.parametrize("words", [("ls", "-q"), ("ls", "-f", "json"), ("inspect", "busy:1"), ("tag", "busy:1", "x"),
                                   ("history", "-f", "json", "busy:1"), ("rm", "dock:1"), ("prune",), ("verify",),
                                   ("du",)], ids=" ".join)
def test_local_commands(loaded: Pyimage, words: tuple[str, ...]) -> None:
    names = imported(loaded, *words)
    assert foreign(names) == set()
    assert not [name for name in names if name.startswith(("pyruntime.images.registry.", "pyruntime.images.layers."))]


def test_unpack_of_a_local_image(loaded: Pyimage) -> None:
    names = imported(loaded, "unpack", "busy:1", loaded.path / "bundle")
    assert foreign(names) == set()
    assert not {"pyruntime.images.layers.apply", "pyruntime.images.layers.tar", "pyruntime.images.layers.merge",
                "pyruntime.images.registry.http", "pyruntime.images.copy", "zlib"} & names


def test_pull_of_a_local_image(pyimage: Pyimage, fake: FakeRegistry) -> None:
    fake.add_image("app", "1")
    words = ("pull", "--no-extract", f"{fake.host}/app:1")
    imported(pyimage, *words)
    names = imported(pyimage, *words)
    dear = {"argparse", "concurrent.futures", "dataclasses", "json", "pathlib", "rich", "subprocess", "tarfile",
            "tempfile", "urllib.request", "pyruntime.images.copy", "pyruntime.images.receive",
            "pyruntime.images.layers.apply", "pyruntime.native._kernel"}
    assert not dear & names, dear & names
