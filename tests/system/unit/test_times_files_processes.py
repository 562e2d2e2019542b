"""pyruntime.system: times, durations, atomic writes, locks, processes by pid and start time."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pyruntime.errors import PyruntimeError
from pyruntime.system import durations, files, processes, times
from pyruntime.system.installed import PACKAGE
from pyruntime.system.locks import Lock
from pyruntime.system.names import new_id


@pytest.mark.parametrize(("text", "nanoseconds"), [
    ("1970-01-01T00:00:00Z", 0), ("1970-01-01T00:00:00.000000001Z", 1), ("2000-02-29T12:00:00z", 951825600 * 10**9),
    ("2026-01-31T12:00:00.5+01:30", 1769855400500000000), ("1969-12-31T23:59:59.9Z", -100_000_000),
    ("2026-01-31T12:00:00.1234567891Z", 1769860800123456789)])
def test_an_rfc_3339_timestamp_is_parsed(text: str, nanoseconds: int) -> None:
    assert times.parse(text) == nanoseconds


@pytest.mark.parametrize("text", [
    "", "Z", "yesterday", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00",
    "2026-01-01T24:00:00Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00.1x+00:00", "2026-01-01T00:00:00+0100",
    "2026-01-01T00:00:000Z", "٢٠٢٦-01-01T00:00:00Z"])
def test_malformed_timestamps_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not an? |has no day"):
        times.parse(text)


def test_a_timestamp_is_parsed_back() -> None:
    now = time.time_ns()
    assert times.parse(times.timestamp(now)) == now
    assert times.parse(times.timestamp_in_seconds(now / 10**9)) == now // 10**9 * 10**9
    assert abs(times.parse(times.timestamp()) - now) < 60 * 10**9


@pytest.mark.parametrize(("text", "nanoseconds"), [
    ("0", 0), ("1m30s", 90 * 10**9), ("+1.5h", 5400 * 10**9), ("100ms", 10**8), ("3µs", 3000), ("3us", 3000),
    ("7ns", 7), (".5s", 5 * 10**8)])
def test_a_duration_is_parsed(text: str, nanoseconds: int) -> None:
    assert durations.parse(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "1", "-1s", "s", "1.2.3s", "1d", "1s ", "\u0661s"])
def test_other_texts_are_not_durations(text: str) -> None:
    assert durations.parse(text) is None


def test_another_directory_is_not_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    fd = os.open(tmp_path / "there", os.O_RDONLY)
    try:
        for path in (f"/proc/self/fd/{fd}", tmp_path / "there", tmp_path / "link"):
            again = files.reopen(str(path), "/proc/self/root")
            assert os.path.samestat(os.fstat(again), os.fstat(fd))
            os.close(again)
        (tmp_path / "there").rename(tmp_path / "away")
        (tmp_path / "there").mkdir()
        # As if the directories were exchanged after the link had been read.
        monkeypatch.setattr(os.path, "realpath", lambda path: str(tmp_path / "there"))
        before = os.listdir("/proc/self/fd")
        with pytest.raises(OSError, match="another directory has that path now"):
            files.reopen(f"/proc/self/fd/{fd}")
        assert os.listdir("/proc/self/fd") == before
    finally:
        os.close(fd)


def test_a_file_is_replaced_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old, and longer")
    files.replace(str(path), b"new", mode=0o640)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["file"]


def test_a_leftover_of_a_killed_process_is_replaced_and_its_link_not_followed(tmp_path: Path) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    other.write_text("untouched")
    (tmp_path / f"file.{os.getpid()}.new").symlink_to(other)
    files.replace(str(path), b"new")
    assert (path.read_bytes(), other.read_text(), path.is_symlink()) == (b"new", "untouched", False)


def test_an_error_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(PyruntimeError, match=r'cannot write ".*/none/file": No such file or directory'):
        files.write(f"{tmp_path}/none/file", b"")


def test_a_held_lock_is_refused_without_waiting(tmp_path: Path) -> None:
    path = f"{tmp_path}/lock"
    with Lock(path, shared=True), Lock(path, shared=True, wait=False), pytest.raises(BlockingIOError), \
            Lock(path, wait=False):
        pass
    with Lock(path, wait=False):
        pass


def test_a_process_is_killed_only_if_its_start_time_is_right() -> None:
    with subprocess.Popen(["sleep", "1000"]) as child:
        started = processes.start_time(child.pid)
        assert processes.alive(child.pid, started)
        assert processes.kill(child.pid, started - 1, seconds=5)   # counts as ended: the pid has a new owner
        with pytest.raises(ProcessLookupError):
            processes.send_signal(child.pid, started - 1, signal.SIGKILL)
        assert processes.alive(child.pid, started)
        assert not processes.wait(child.pid, started, seconds=0)
        thawed: list[bool] = []
        assert processes.kill(child.pid, started, seconds=30, thaw=lambda: thawed.append(True))
        assert thawed == [True] and not processes.alive(child.pid, started)   # a zombie is not alive
    assert child.returncode == -signal.SIGKILL
    assert processes.kill(child.pid, started, seconds=0) and processes.kill(0, 0, seconds=0)


def test_the_next_interpreter_gets_each_directory_of_packages_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each such process adds the directory of its own package, and its children would inherit one more each time."""
    monkeypatch.setattr(sys, "path", ["/a", "", "relative", "/b", "/a", "/b"])
    assert processes.own_program("script.py")[-1] == f"/a:/b:{Path(PACKAGE).parent}"


def test_an_identifier_is_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolvers take a host name of decimal digits for an address."""
    drawn = [bytes.fromhex(text) for text in ("296402519573" + 52 * "a", "29640251957b" + 52 * "0")]
    monkeypatch.setattr(os, "urandom", lambda _: drawn.pop(0))
    assert new_id() == "29640251957b" + 52 * "0" and not drawn
