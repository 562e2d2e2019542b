"""The target paths of `cp`, and the owners of the copies."""

from __future__ import annotations

import os
from pathlib import Path as File

import pytest

from pyruntime.errors import UsageError
from pyruntime.pocker.containers.copy import Path, landing, split
from pyruntime.pocker.containers.paths import Ids


@pytest.mark.parametrize(("text", "parts"), [
    ("web:/etc", ("web", "/etc")), ("web:etc", ("web", "etc")), ("web:", ("web", "")), ("/a:b", ("", "/a:b")),
    ("./a:b", ("", "./a:b")), ("../a:b", ("", "../a:b")), ("file", ("", "file")), ("-", ("", "-")),
    ("web:/a:b", ("web", "/a:b"))])
def test_which_argument_is_a_container(text: str, parts: tuple[str, str]) -> None:
    assert split(text) == parts


@pytest.mark.parametrize(("text", "plain", "slash", "content"), [
    ("a", "a", False, False), ("a/", "a", True, False), ("a/.", "a", True, True), ("a//", "a", True, False),
    ("/", "/", False, True), (".", ".", False, True), ("./", ".", True, True), ("/.", "/", True, True),
    ("a/b/./", "a/b", True, True), ("a/..", "a/..", False, False)])
def test_the_end_of_a_path(text: str, plain: str, slash: bool, content: bool) -> None:
    path = Path(text)
    assert (path.plain, path.slash, path.content) == (plain, slash, content)


# The table of Docker's reference of `docker cp`: source, whether it is a directory, target -> directory and name.
# "there" is a directory, "file" a file, "new" is absent.
@pytest.mark.parametrize(("source", "directory", "target", "result"), [
    ("s/f", False, "new", (".", "new")), ("s/f", False, "x/new", ("x", "new")),
    ("s/f", False, "new/", "the directory \"new/\" does not exist"),
    ("s/f", False, "file", (".", "file")), ("s/f", False, "file/", "\"file/\" is not a directory"),
    ("s/f", False, "there", ("there", "f")), ("s/f", False, "there/", ("there", "f")),
    ("s/d", True, "new", (".", "new")), ("s/d", True, "new/", (".", "new")), ("s/d/.", True, "new", (".", "new")),
    ("s/d", True, "file", "cannot copy a directory to \"file\""), ("s/d/.", True, "file", "cannot copy a directory"),
    ("s/d", True, "there", ("there", "d")), ("s/d/", True, "there", ("there", "d")),
    ("s/d/.", True, "there", ("there", "")), ("s/d", True, "there/.", ("there", "d")),
    ("/", True, "there", ("there", "")), ("s/f", False, "/new", ("/", "new"))])
def test_destinations(source: str, directory: bool, target: str, result: tuple[str, str] | str,
                           tmp_path: File) -> None:
    (tmp_path / "file").touch()
    there = {"there": os.stat(tmp_path), "file": os.stat(tmp_path / "file")}.get(Path(target).plain)
    if isinstance(result, str):
        with pytest.raises(UsageError, match=result):
            landing(Path(source), directory, there, Path(target))
    else:
        assert landing(Path(source), directory, there, Path(target)) == result


def test_ids_of_a_user_namespace() -> None:
    ids = Ids(["0 100000 1000", "1000 5000 1"])
    assert [ids.outside(number) for number in (0, 999, 1000, 1001)] == [100000, 100999, 5000, 100000]
    assert [ids.inside(number) for number in (100000, 5000, 0)] == [0, 1000, 65534]
    assert (Ids([]).outside(7), Ids([]).inside(7)) == (7, 7)
