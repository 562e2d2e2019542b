"""Random layers: overlayfs's view of them, the merged tree, and the layers that diff creates are the same."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyruntime.errors import LayerError
from pyruntime.images.layers.diff import DiffOptions, diff, diff_upper
from tests.images.integration.hostile import directory, file, hardlink, header, node, symlink, tar
from tests.images.integration.trees import Layers, listing, opened

NAMES = st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=4).map(b"/".join)
TARGETS = NAMES | st.sampled_from([b"/a", b"../b", b"/", b"..", b"b/../c", b"/a/b"])


def whiteout(name: bytes) -> bytes:
    head, slash, last = name.rpartition(b"/")
    return head + slash + b".wh." + last


ENTRIES = st.one_of(
    st.builds(lambda name, data, mode: file(name, data, mode=mode), NAMES, st.sampled_from([b"", b"1", b"2" * 600]),
              st.sampled_from([b"0000644", b"0004755"])),
    st.builds(lambda name, mode, time: directory(name, mode=mode, mtime=time), NAMES,
              st.sampled_from([b"0000755", b"0001777", b"0000700"]), st.sampled_from([b"00000000100", b"00000000200"])),
    st.builds(symlink, NAMES, TARGETS), st.builds(hardlink, NAMES, NAMES),
    st.builds(lambda name: file(whiteout(name), b""), NAMES),
    st.builds(lambda name: file(name + b"/.wh..wh..opq", b""), NAMES),
    st.builds(lambda name: node(name, b"3", 1, 3), NAMES), st.builds(lambda name: header(name, b"6"), NAMES))
STACKS = st.lists(st.lists(ENTRIES, min_size=1, max_size=8), min_size=1, max_size=4)
SLOW = settings(max_examples=150, suppress_health_check=list(HealthCheck))


def build(top: Path, stack: list[list[bytes]]) -> Layers:
    """The valid layers; a refused entry (a link to itself, a loop) is skipped."""
    layers = Layers(top)
    for entries in stack:
        taken = list(entries)
        while True:
            try:
                layers.add(tar(*taken))
                break
            except LayerError:
                shutil.rmtree(top / f"layer{len(layers.paths)}")
                taken.pop()
    return layers


@SLOW
@given(STACKS)
def test_overlayfs_and_merge_agree(stack: list[list[bytes]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        layers = build(Path(name), stack)
        with layers.mounted() as mounted:
            # Hard links are compared within a layer only: overlayfs does not keep them across layers.
            assert listing(mounted, links=False) == listing(layers.merged(), links=False)


@SLOW
@given(STACKS, STACKS)
def test_diff_of_two_trees_makes_one_of_the_other(one: list[list[bytes]], other: list[list[bytes]]) -> None:
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        old, new = build(Path(first), one), build(Path(second), other)
        wanted = new.merged()
        with opened(old.merged("plain")) as old_fd, opened(wanted) as new_fd:
            out, again = io.BytesIO(), io.BytesIO()
            diff(old_fd, new_fd, out.write)
            diff(old_fd, new_fd, again.write)
        assert out.getvalue() == again.getvalue()
        old.add(out.getvalue())
        result, expected = listing(old.merged("result"), links=False), listing(wanted, links=False)
        if result["."][:4] == expected["."][:4]:   # the time of the root directory does not count
            result.pop("."), expected.pop(".")
        assert result == expected
        with old.mounted() as mounted:
            seen = listing(mounted, links=False)
            seen.pop("."), expected.pop(".", None), result.pop(".", None)
            assert seen == result


OPERATIONS = st.lists(st.tuples(st.sampled_from(
    ["write", "append", "mkdir", "remove", "rename", "chmod", "touch", "link", "symlink", "replace", "nothing"]), NAMES,
    NAMES), min_size=1, max_size=12)


def perform(top: Path, operation: str, one: bytes, other: bytes) -> None:
    """One change of a mounted overlay; an impossible change is skipped."""
    path, second = os.path.join(os.fsencode(top), one), os.path.join(os.fsencode(top), other)
    if os.path.islink(path) or not os.path.realpath(path).startswith(os.fsencode(top)):
        if operation == "remove":
            os.unlink(path)
        return
    if not os.path.realpath(os.path.dirname(second)).startswith(os.fsencode(top)):
        return
    if operation in ("write", "append") and (os.path.isfile(path) or not os.path.exists(path)):
        with open(path, "ab" if operation == "append" else "wb") as out:
            out.write(one)
    elif operation == "mkdir":
        os.mkdir(path)
    elif operation in ("remove", "replace"):
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        if operation == "replace":
            os.mkdir(path)
    elif operation == "rename":
        os.rename(path, second)
    elif operation == "chmod":
        os.chmod(path, 0o751)
    elif operation == "touch":
        os.utime(path, (5, 5))
    elif operation == "link":
        os.link(path, second, follow_symlinks=False)
    elif operation == "symlink":
        os.symlink(other, path)
    elif operation == "nothing":   # a copy-up that changes nothing
        os.chmod(path, os.stat(path).st_mode & 0o7777)


@SLOW
@given(STACKS, OPERATIONS)
def test_diff_of_an_upper_directory(stack: list[list[bytes]], operations: list[tuple[str, bytes, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        layers = build(top, stack)
        lower = layers.merged("lower")
        with layers.mounted(writable=True) as mounted:
            for operation in operations:
                try:
                    perform(mounted, *operation)
                except OSError:
                    continue   # EXDEV for directories of lower layers, names in use: as on any filesystem
            wanted = listing(mounted)
        out, again = io.BytesIO(), io.BytesIO()
        with opened(top / "upper") as upper_fd, opened(lower) as lower_fd:
            diff_upper(upper_fd, lower_fd, out.write, DiffOptions(subsecond=True))
            diff_upper(upper_fd, lower_fd, again.write, DiffOptions(subsecond=True))
        assert out.getvalue() == again.getvalue()
        layers.add(out.getvalue())
        result = listing(layers.merged())
        if result["."][:4] == wanted["."][:4]:
            result.pop("."), wanted.pop(".")
        assert {path: entry[:-1] for path, entry in result.items()} == \
            {path: entry[:-1] for path, entry in wanted.items()}


def simple(tmp_path: Path) -> tuple[Path, Path]:
    old, new = tmp_path / "old", tmp_path / "new"
    (old / "d/e").mkdir(parents=True)
    for name in ("d/e/f", "d/g", "h"):
        (old / name).write_text(name)
    shutil.copytree(old, new, symlinks=True)
    shutil.copystat(old, new)
    return old, new


def changed(old: Path, new: Path, options: DiffOptions | None = None) -> list[str]:
    import tarfile

    out = io.BytesIO()
    with opened(old) as old_fd, opened(new) as new_fd:
        count = diff(old_fd, new_fd, out.write, options)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        names = archive.getnames()
    assert len(names) == count
    return names


def test_nothing_changed(tmp_path: Path) -> None:
    assert changed(*simple(tmp_path)) == []


def test_parents_and_whiteouts_stand_first(tmp_path: Path) -> None:
    old, new = simple(tmp_path)
    (new / "d/e/f").unlink()
    (new / "d/e/a").write_text("new")
    (new / "h").unlink()
    assert changed(old, new) == [".wh.h", "d", "d/e", "d/e/.wh.f", "d/e/a"]


def test_same_size_and_time_is_not_the_same_content(tmp_path: Path) -> None:
    old, new = simple(tmp_path)
    before = (old / "h").stat().st_mtime_ns
    (new / "h").write_text("H")
    os.utime(new / "h", ns=(before, before))
    assert changed(old, new) == ["h"]
    assert changed(old, new, DiffOptions(trust_times=True)) == []


def test_a_changed_file_includes_all_its_names(tmp_path: Path) -> None:
    old, new = simple(tmp_path)
    os.link(new / "h", new / "i")
    names = changed(old, new)
    assert names == ["h", "i"]


def test_sockets_are_a_warning(tmp_path: Path) -> None:
    import socket

    old, new = simple(tmp_path)
    before = os.getcwd()
    os.chdir(new)   # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind("s")
    finally:
        os.chdir(before)
    told: list[str] = []
    assert changed(old, new, DiffOptions(warn=told.append)) == []
    assert told == ['"s": skipped: a socket, which cannot be in an archive']


def test_names_that_would_be_whiteouts_are_refused(tmp_path: Path) -> None:
    old, new = simple(tmp_path)
    (new / ".wh.h").touch()
    with pytest.raises(LayerError, match="rename it"):
        changed(old, new)


def test_times_are_clamped(tmp_path: Path) -> None:
    import tarfile

    old, new = simple(tmp_path)
    (new / "x").touch()
    out = io.BytesIO()
    with opened(old) as old_fd, opened(new) as new_fd:
        diff(old_fd, new_fd, out.write, DiffOptions(latest=7, skip=frozenset((b"d",))))
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        assert [info.mtime for info in archive] == [7]
