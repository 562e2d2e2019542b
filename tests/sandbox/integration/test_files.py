"""Files of a sandbox: read and write, mounts of the host, what programs read and write on disks."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pyruntime import HostMount, Sandbox
from pyruntime.errors import SandboxFileError
from tests.sandbox.programs import sh


def test_usage_has_the_disks(rootfs: Path, tmp_path: Path) -> None:
    """Also what a descendant has written that nobody has waited for."""
    tmp_path.chmod(0o777)
    write = "dd if=/dev/zero of=/data/{} bs=1M count=4 2>/dev/null"
    with Sandbox(rootfs, mounts=[HostMount(str(tmp_path), "/data", writable=True)]) as box:
        own = box.run(["sh", "-c", write.format("own")])
        other = box.run(["sh", "-c", f"(setsid sh -c '{write.format('other')}; touch /data/ready; sleep 300' &);"
                                     " until [ -e /data/ready ]; do sleep 0.02; done"])
    assert own.usage.written >= 4 << 20 and other.usage.written >= 4 << 20


def test_mounts_of_the_host(rootfs: Path, tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o777)
    (tmp_path / "data").write_text("mine")
    with Sandbox(rootfs, mounts=[HostMount(str(tmp_path), "/data")]) as box:
        assert sh(box, "cat /data/data; touch /data/new 2>/dev/null || echo refused") == "minerefused\n"
    with Sandbox(rootfs, mounts=[HostMount(str(tmp_path), "/data", writable=True)]) as box:
        sh(box, "echo theirs >/data/new")
    assert (tmp_path / "new").read_text() == "theirs\n"


def test_mounts_in_the_writable_directories(rootfs: Path, tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    (tmp_path / "data").write_text("mine")
    targets = ("/work/in", "/tmp/in", "/dev/shm/in")
    with Sandbox(rootfs, mounts=[HostMount(str(tmp_path), target) for target in targets]) as box:
        assert sh(box, "cat /work/in/data /tmp/in/data /dev/shm/in/data; echo x >file; ls") == "mineminemine" + (
            "file\nin\n")
        assert box.read("/work/in/data") == b"mine"
        with box.fork() as other:
            assert sh(other, "cat file in/data") == "x\nmine"
    with Sandbox.host(["/usr", str(tmp_path)]) as box:   # below /tmp
        assert box.read(f"{tmp_path}/data") == b"mine"


def test_files(box: Sandbox) -> None:
    box.write("/work/a/b/file", b"\0data", mode=0o600)
    assert sh(box, "stat -c '%u %a' a a/b a/b/file") == "65534 755\n65534 755\n65534 600\n"
    box.write("/work/a/b/file", "text")
    assert box.read("/work/a/b/file") == b"text"
    for path, words in {"relative": "absolute path", "/work/../etc/passwd": "absolute path",
                        "/work": "not a regular file", "/work/none": "no such file"}.items():
        with pytest.raises(SandboxFileError, match=words):
            box.read(path)
    with pytest.raises(SandboxFileError, match="more than 3 bytes"):
        box.read("/work/a/b/file", limit=3)
    with pytest.raises(SandboxFileError, match="read-only"):
        box.write("/etc/file", b"")


def test_files_that_are_traps(box: Sandbox) -> None:
    sh(box, "ln -s /proc link; ln -s /etc/passwd name; mkfifo fifo; ln -s ../proc/sys/kernel up; mkdir dir")
    for path in ("/work/link/kmsg", "/work/name", "/work/up/hostname"):
        with pytest.raises(SandboxFileError, match="symbolic link"):
            box.read(path)
    for path in ("/work/fifo", "/work/dir", "/dev/null"):
        with pytest.raises(SandboxFileError, match="not a regular file"):
            box.read(path)
    with pytest.raises(SandboxFileError, match="symbolic link"):
        box.write("/work/up/hostname", b"x")
    box.write("/work/name", b"replaces the link")
    box.write("/work/fifo", b"replaces the FIFO")
    assert sh(box, "cat name fifo; cat /etc/passwd 2>/dev/null || true").startswith("replaces the linkreplaces")


def test_bytes_from_the_disk(rootfs: Path, tmp_path: Path) -> None:
    if b"tmpfs" in subprocess.run(["stat", "-fc", "%T", tmp_path], capture_output=True, check=True).stdout:
        pytest.skip("the directory for tests is in memory")
    os.chmod(tmp_path, 0o755)
    with open(tmp_path / "data", "wb") as file:
        file.write(os.urandom(4 << 20))
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with Sandbox(rootfs, mounts=[HostMount(str(tmp_path), "/data")]) as box:
        first, second = (box.run(["sh", "-c", "cat /data/data >/dev/null"], check=True).usage for _ in range(2))
    assert first.read >= 4 << 20 > second.read


def test_a_directory_that_is_replaced_is_not_given_away(rootfs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                        ) -> None:
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    (secret / "key").write_text("key")
    tmp_path.chmod(0o777)
    make = os.mkdir

    def make_and_lose(name: bytes, mode: int, *, dir_fd: int) -> None:
        make(name, mode, dir_fd=dir_fd)
        (tmp_path / "new").rename(tmp_path / "other")
        secret.rename(tmp_path / "new")

    with Sandbox(rootfs, mounts=[HostMount(str(tmp_path), "/data", writable=True)]) as box:
        monkeypatch.setattr(os, "mkdir", make_and_lose)
        with pytest.raises(SandboxFileError, match="busy"):
            box.write("/data/new/file", "x")
        monkeypatch.undo()
    assert ((tmp_path / "new").stat().st_uid, (tmp_path / "new").stat().st_mode & 0o777) == (0, 0o700)
