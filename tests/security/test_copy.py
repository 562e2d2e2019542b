"""Attacks by containers on copies to and from them: `pocker cp`, `export`, `diff`, `commit`."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.commands import BIN
from tests.pocker.integration.command import Pocker
from tests.security.conftest import SECRET, Outside

ROUNDS = 25
_EXCHANGE = 2   # linux/fs.h: RENAME_EXCHANGE


@contextmanager
def swapped(directory: Path, one: str, other: str) -> Iterator[list[int]]:
    """Exchange two names repeatedly, as fast as possible; count the exchanges."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    ends, count = threading.Event(), [0]

    def swap() -> None:
        while not ends.is_set():
            libc.renameat2(fd, one.encode(), fd, other.encode(), _EXCHANGE)
            count[0] += 1
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield count
    finally:
        ends.set()
        thread.join()
        os.close(fd)


def root_of(pocker: Pocker, name: str) -> Path:
    """The root directory of a running container, as seen from the host."""
    return Path(f"/proc/{pocker.run_file(name)['pid']}/root")


def running(pocker: Pocker, script: str, name: str = "it") -> Path:
    """Run a script in a container; return the container's root directory."""
    pocker.ok("run", "-d", "--name", name, "--network", "none", "busybox", "sh", "-c",
              f"{script}; touch /done; sleep 99")
    done = root_of(pocker, name) / "done"
    pocker.eventually(done.exists, "its script has run")
    return done.parent


def test_a_directory_that_becomes_a_link_while_files_are_copied(pocker: Pocker, outside: Outside, tmp_path: Path
                                                                ) -> None:
    """CVE-2018-15664 (Docker: the path was resolved before use), CVE-2021-41089 (modes of files on the host were
    changed by the copy), CVE-2023-0778 (Podman: the same in volumes): raced in both directions."""
    root = running(pocker, f"mkdir -p /t/real/empty/inner; echo fine >/t/real/canary; ln -s {outside.path} /t/link")
    source = tmp_path / "source"
    (source / "empty/inner").mkdir(parents=True)
    (source / "canary").write_text("planted")
    (source / "canary").chmod(0o777)
    with swapped(root / "t", "real", "link") as count:
        for number in range(ROUNDS):
            pocker("cp", f"{source}/.", "it:/t/real")
            pocker("cp", "-a", source / "canary", "it:/t/real/canary")
            for path in ("it:/t/real/canary", "it:/t/real/.", "it:/t"):
                pocker("cp", path, tmp_path / f"out-{number}-{len(path)}")
            outside.check()
        assert count[0] > ROUNDS
    for copied in tmp_path.glob("out-*"):
        found = [path for path in [copied, *copied.rglob("*")] if path.is_file() and not path.is_symlink()
                 and outside.path not in path.resolve().parents]
        assert SECRET not in [path.read_text() for path in found]


@pytest.mark.parametrize("command", [("export", "it"), ("cp", "it:/t", "-"), ("diff", "it")])
def test_a_directory_that_becomes_a_link_while_it_is_read(command: tuple[str, ...], pocker: Pocker, outside: Outside,
                                                          tmp_path: Path) -> None:
    """CVE-2023-0778 (Podman: export of a volume), CVE-2018-15664: reads through descriptors stay inside."""
    root = running(pocker, f"mkdir -p /t/real; echo fine >/t/real/canary; ln -s {outside.path} /t/link")
    with swapped(root / "t", "real", "link"):
        for _ in range(ROUNDS):
            out = tmp_path / "out"
            with out.open("wb") as file:
                pocker(*command, stdin=subprocess.DEVNULL) if command[0] == "diff" else subprocess.run(
                    [*pocker.prefix, str(BIN / "pocker"), *command], stdout=file,
                    stderr=subprocess.DEVNULL, env=pocker.environment, check=False, timeout=60)
            assert SECRET.encode() not in out.read_bytes()


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_links_created_by_a_container(state: str, pocker: Pocker, outside: Outside, tmp_path: Path) -> None:
    """CVE-2019-10152, CVE-2019-18466 (Podman: links were resolved on the host, in running and stopped containers)."""
    running(pocker, f"ln -s {outside.path} /abs; ln -s ../../../../../..{outside.path} /rel; ln -s / /root;"
                    f" ln -s {outside.path}/canary /file; ln -s /proc/1/root /magic; mkdir /d;"
                    f" ln -s {outside.path} /d/l")
    if state == "stopped":
        pocker.ok("stop", "-t", "0", "it")
    (tmp_path / "in").write_text("planted")
    for place in ("abs", "rel", f"root{outside.path}", f"magic{outside.path}", "d/l", f"../../..{outside.path}"):
        pocker("cp", tmp_path / "in", f"it:/{place}/canary")
        pocker("cp", tmp_path / "in", f"it:/{place}/new")
        pocker("cp", tmp_path / "in", f"it:/{place}")
        assert pocker("cp", "-L", f"it:/{place}/canary", tmp_path / "out").returncode or \
            (tmp_path / "out").read_text() == "planted", "it is the container's own file, where a copy has made one"
    pocker("cp", tmp_path / "in", "it:/file")
    pocker("cp", "-L", "it:/file", tmp_path / "file")
    assert SECRET not in [path.read_text() for path in tmp_path.iterdir() if path.is_file()]


def test_nothing_of_the_container_is_loaded(pocker: Pocker, tmp_path: Path) -> None:
    """CVE-2019-14271 (Docker: a helper in the container's root loaded its libnss): copying files runs no program and
    loads no library of the container, with any user."""
    mark = tmp_path / "mark"
    (tmp_path / "evil.c").write_text("#include <fcntl.h>\n__attribute__((constructor)) static void loaded(void)"
                                     f' {{ open("{mark}", O_CREAT, 0600); }}\n')
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "evil.so", tmp_path / "evil.c"], check=True)
    libc = subprocess.run(["gcc", "-print-multiarch"], capture_output=True, text=True, check=True).stdout.strip()
    root = running(pocker, "mkdir -p /etc /lib64 /usr/lib /d; echo x >/d/f; chown 7:8 /d/f")
    names = ["libnss_files.so.2", "libnss_compat.so.2", "libc.so.6", "libnss_dns.so.2", "libz.so.1", "libpython3.so"]
    for directory in ("lib", "lib64", f"lib/{libc}", "usr/lib", f"usr/lib/{libc}"):
        (root / directory).mkdir(parents=True, exist_ok=True)
        for name in names:
            (root / directory / name).write_bytes((tmp_path / "evil.so").read_bytes())
    (root / "etc/ld.so.preload").write_text("/lib/libz.so.1\n")
    (root / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: dns\n")
    for state in ("running", "stopped"):
        for command in (["cp", "it:/d", tmp_path / f"out-{state}"], ["cp", "-a", "it:/d", tmp_path / f"all-{state}"],
                        ["cp", tmp_path / "evil.c", "it:/d/"], ["diff", "it"], ["commit", "it", f"new-{state}"],
                        ["export", "-o", tmp_path / f"{state}.tar", "it"]):
            pocker.ok(*command)
            assert not mark.exists(), command
        if state == "running":
            pocker.ok("stop", "-t", "0", "it")
        pocker.ok("rmi", f"new-{state}")


def test_an_archive_on_standard_input(pocker: Pocker, outside: Outside, tmp_path: Path) -> None:
    """Class of CVE-2018-15664, by `cp -`: names and links of the archive stay in the target directory."""
    running(pocker, f"mkdir /d; ln -s {outside.path} /d/link")
    archive = tmp_path / "archive.tar"
    with tarfile.open(archive, "w") as tar:
        for name, kind, link in (("link/canary", tarfile.REGTYPE, ""), ("own", tarfile.SYMTYPE, str(outside.path)),
                                 ("own/canary", tarfile.REGTYPE, ""), ("hard", tarfile.LNKTYPE, "link/canary"),
                                 ("own", tarfile.DIRTYPE, "")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode = kind, link, 0o777
            tar.addfile(info)
    with archive.open("rb") as file:
        pocker("cp", "-", "it:/d", stdin=file)
    outside.check()
    with tarfile.open(archive, "w") as tar:
        tar.addfile(tarfile.TarInfo("../" * 20 + f"{outside.path}/canary"))
    with archive.open("rb") as file:
        assert '".."' in pocker.fails("cp", "-", "it:/d", stdin=file)
