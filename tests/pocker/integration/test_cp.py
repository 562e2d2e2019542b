"""`pocker cp`: into and out of containers, running or not, and hostile ones."""

from __future__ import annotations

import io
import os
import stat
import struct
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.commands import BIN
from tests.pocker.integration.command import Pocker


def _start(pocker: Pocker, script: str = "sleep 1000", *options: object) -> None:
    """A container called web, whose script has run up to its final sleep."""
    pocker.ok("run", "-d", "--name", "web", "--network", "none", *options, "busybox", "sh", "-c",
              f"{script.removesuffix('sleep 1000')} touch /ready; sleep 1000")
    pocker.eventually(lambda: pocker("exec", "web", "test", "-e", "/ready").returncode == 0, "it is ready")


@pytest.fixture(params=["running", "paused", "stopped", "created"])
def web(pocker: Pocker, request: pytest.FixtureRequest) -> Pocker:
    """A container in each of its states."""
    if request.param == "created":
        pocker.ok("create", "--name", "web", "--network", "none", "busybox", "sleep", "1000")
        return pocker
    _start(pocker)
    if request.param == "paused":
        pocker.ok("pause", "web")
    elif request.param == "stopped":
        pocker.ok("stop", "-t", "0", "web")
    return pocker


def test_a_tree_is_the_same_after_copies_in_and_out(web: Pocker, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep/er").mkdir(parents=True)
    (tree / "file").write_text("content")
    os.chmod(tree / "file", 0o640)
    os.utime(tree / "file", (1_000_000_000, 1_000_000_000))
    os.link(tree / "file", tree / "deep/same")
    (tree / "link").symlink_to("/nowhere/at all")
    os.mkfifo(tree / "deep/er/pipe")
    os.setxattr(tree / "file", "user.kept", b"yes")
    with (tree / "holes").open("wb") as file:
        file.truncate(1 << 30)
        file.seek(1 << 29)
        file.write(b"x")
    os.chmod(tree / "deep", 0o500)
    os.utime(tree / "deep", (1_100_000_000, 1_100_000_000))
    said = web("cp", tree, "web:/tmp")
    assert said.returncode == 0 and said.stderr == f"Successfully copied {(1 << 30) + 7} bytes to web:/tmp\n"
    web.ok("cp", "web:/tmp/tree", tmp_path / "back")
    back = tmp_path / "back"
    assert subprocess.run(["diff", "-r", "--no-dereference", tree, back], check=False, capture_output=True,
                          text=True).stdout.count("\n") == 1   # the pipes, which diff does not compare
    assert (back / "file").stat().st_ino == (back / "deep/same").stat().st_ino
    assert (back / "file").stat().st_mtime == 1_000_000_000 and (back / "deep").stat().st_mtime == 1_100_000_000
    assert (back / "deep").stat().st_mode & 0o7777 == 0o500 and (back / "file").stat().st_mode & 0o7777 == 0o640
    assert os.readlink(back / "link") == "/nowhere/at all" and stat.S_ISFIFO((back / "deep/er/pipe").stat().st_mode)
    assert os.getxattr(back / "file", "user.kept") == b"yes"
    assert (back / "holes").stat().st_blocks * 512 < 1 << 20


def test_destinations(web: Pocker, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_text("1")
    (tmp_path / "other").write_text("2")
    web.ok("cp", source, "web:/new")               # creates /new
    web.ok("cp", source, "web:/new")               # is copied into /new
    web.ok("cp", f"{source}/.", "web:tmp")         # the content of tree is copied; a relative path starts at /
    web.ok("cp", tmp_path / "other", "web:/new/f")   # replaces it
    for wrong, words in ((["other", "web:/absent/"], "does not exist"), (["other", "web:/absent/x"], "No such file"),
                         (["source", "web:/new/f"], "which is a file"), (["absent", "web:/"], "No such file"),
                         (["other/", "web:/"], "Not a directory"), (["other", "web:/new/f/"], "not a directory"),
                         (["other", "other"], "CONTAINER:PATH"), (["web:/new", "web:/tmp"], "between containers"),
                         (["web:/absent", "."], "No such file"), (["web:/new/f/", "."], "not a directory"),
                         (["web:/new", "other"], "which is a file"), (["web:/new/f", "absent/"], "does not exist"),
                         (["nosuch:/x", "."], "no such container"),
                         (["web:", "."], "path in the container is missing")):
        assert words in web.fails("cp", *wrong, cwd=tmp_path), wrong
    web.ok("cp", "web:/new", tmp_path / "out")
    web.ok("cp", "web:/tmp/f", tmp_path / "out/g")
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*"))
    assert found == ["f", "g", "source", "source/f"]
    assert ((tmp_path / "out/f").read_text(), (tmp_path / "out/source/f").read_text()) == ("2", "1")


def test_a_directory_is_not_replaced_by_a_file_nor_the_reverse(pocker: Pocker, tmp_path: Path) -> None:
    _start(pocker, "mkdir -p /d/x; echo 1 >/d/y;")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/x").write_text("file")
    assert 'cannot overwrite the directory "d/x"' in pocker.fails("cp", tmp_path / "d", "web:/")
    (tmp_path / "d/x").unlink()
    (tmp_path / "d/y").mkdir()
    assert 'cannot overwrite "d/y", which is not a directory' in pocker.fails("cp", tmp_path / "d", "web:/")


def test_archives_come_and_go(web: Pocker, tmp_path: Path) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, text in (("a/b/file", b"one"), ("./top", b"two")):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            member.uid = 1234
            archive.addfile(member, io.BytesIO(text))
        link = tarfile.TarInfo("a/same")
        link.type, link.linkname = tarfile.LNKTYPE, "a/b/file"
        archive.addfile(link)
    path = tmp_path / "in.tgz"
    path.write_bytes(data.getvalue())
    for options, uid in ((), 0), (("-a",), 1234):
        with path.open("rb") as stream:
            web.ok("cp", *options, "-", "web:/home", stdin=stream)
        out = subprocess.run([str(BIN / "pocker"), "cp", "web:/home/.", "-"], check=True, capture_output=True,
                             env=web.environment).stdout
        with tarfile.open(fileobj=io.BytesIO(out)) as archive:
            members = {member.name: member for member in archive}
            assert {"a/b/file", "a/same", "top", "user"} <= members.keys()
            content = archive.extractfile("a/same")
            assert content is not None and content.read() == b"one"
            assert members["top"].uid == uid
    out = subprocess.run([str(BIN / "pocker"), "cp", "web:/home/a/b", "-"], check=True, capture_output=True,
                         env=web.environment).stdout
    with tarfile.open(fileobj=io.BytesIO(out)) as archive:
        assert archive.getnames() == ["b", "b/file"]
    with path.open("rb") as stream:
        assert "is not a directory" in web.fails("cp", "-", "web:/etc/passwd", stdin=stream)
    assert "error: " in web.fails("cp", "-", "web:/tmp", input="no archive at all" * 100)


def test_owners_and_set_id_bits(pocker: Pocker, tmp_path: Path) -> None:
    _start(pocker, "cp /bin/busybox /su; chown 1000:1001 /su; chmod 6755 /su;")
    pocker.ok("cp", "web:/su", tmp_path / "plain")
    pocker.ok("cp", "-a", "web:/su", tmp_path / "archive")
    plain, archive = (tmp_path / "plain").stat(), (tmp_path / "archive").stat()
    assert (plain.st_uid, plain.st_gid, plain.st_mode & 0o7777) == (os.geteuid(), os.getegid(), 0o755)
    assert (archive.st_uid, archive.st_gid, archive.st_mode & 0o7777) == (1000, 1001, 0o6755)
    pocker.ok("cp", tmp_path / "archive", "web:/one")
    pocker.ok("cp", "-a", tmp_path / "archive", "web:/two")
    found = pocker.ok("exec", "web", "stat", "-c", "%u:%g %a", "/one", "/two")
    assert found.split("\n") == ["0:0 6755", "1000:1001 6755"]


def test_symbolic_links_at_both_ends(pocker: Pocker, tmp_path: Path) -> None:
    _start(pocker, "mkdir /data; echo text >/data/file; ln -s /data /link; ln -s data/file /filelink; ln -s /data/new"
                   " /dangling;")
    pocker.ok("cp", "web:/link", tmp_path / "kept")
    assert os.readlink(tmp_path / "kept") == "/data"
    pocker.ok("cp", "-L", "web:/filelink", tmp_path / "followed")
    assert (tmp_path / "followed").read_text() == "text\n"
    pocker.ok("cp", "web:/link/.", tmp_path / "content")
    assert (tmp_path / "content/file").read_text() == "text\n"
    (tmp_path / "in").write_text("new")
    pocker.ok("cp", tmp_path / "in", "web:/dangling")    # creates the target of the link
    pocker.ok("cp", tmp_path / "in", "web:/link")        # goes into the directory
    pocker.ok("cp", tmp_path / "in", "web:/filelink")    # replaces the file, not the link
    assert pocker.ok("exec", "web", "sh", "-c", "cat /data/new /data/in /data/file; readlink /filelink;"
                     " readlink /dangling").split() == ["newnewnewdata/file", "/data/new"]


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_nothing_planted_leads_out(pocker: Pocker, tmp_path: Path, state: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    deep = "../" * 30
    _start(pocker, f"ln -s {outside} /abs; ln -s {deep}{outside} /rel; ln -s /proc/self/root /magic;"
                   " ln -s /proc/self/fd /fds; ln -s /proc/1/cwd /cwd;")
    if state == "stopped":
        pocker.ok("stop", "-t", "0", "web")
    (tmp_path / "in").write_text("in")
    names = ["abs", "rel", f"magic{outside}", "abs/..", *(f"fds/{fd}{outside}" for fd in range(3, 12)), f"cwd{outside}"]
    for name in names:
        pocker.fails("cp", f"web:/{name}/secret", tmp_path / "stolen")
        pocker("cp", tmp_path / "in", f"web:/{name}/planted")
        pocker("cp", tmp_path / "in", f"web:{deep}{outside}/planted")
    assert sorted(os.listdir(outside)) == ["secret"] and not (tmp_path / "stolen").exists()


def test_a_container_that_changes_things_meanwhile_gains_nothing(pocker: Pocker, tmp_path: Path) -> None:
    """It swaps a directory for a link to a directory of the host, and a file for a pipe and for a device."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f0").write_text("untouched")
    swap = ("mkdir -p /t/d; for i in 0 1 2 3 4; do echo x >/t/d/f$i; done; mknod /null c 1 3; mkfifo /pipe;"
            f"(while :; do mv /t/d /t/real; ln -s {outside} /t/d; rm /t/d; mv /t/real /t/d;"
            " mv /t/d/f1 /f; ln /pipe /t/d/f1; rm /t/d/f1; ln /null /t/d/f1; rm /t/d/f1; mv /f /t/d/f1; done) &")
    _start(pocker, swap)
    source = tmp_path / "source"
    source.mkdir()
    for number in range(5):
        (source / f"f{number}").write_text("planted")
    for number in range(15):
        pocker("cp", "web:/t", tmp_path / f"out{number}", timeout=60)
        pocker("cp", f"{source}/.", "web:/t/d", timeout=60)
        read = subprocess.run([str(BIN / "pocker"), "cp", "web:/t/d/.", "-"], check=False, capture_output=True,
                              env=pocker.environment, timeout=60)
        assert b"untouched" not in read.stdout and b"Traceback" not in read.stderr
    assert sorted(os.listdir(outside)) == ["f0"] and (outside / "f0").read_text() == "untouched"
    copied = [path.read_text() for path in tmp_path.glob("out*/d/f0") if not path.parent.is_symlink()]
    assert "untouched" not in copied


def test_privileges_of_files_are_copied_in_archive_mode_only(pocker: Pocker, tmp_path: Path) -> None:
    """A device node of mode 666, or a program with capabilities, could be used by every user of the host."""
    _start(pocker, "mkdir /d; mknod -m 666 /d/disk b 254 0; ln /d/disk /d/again; mknod -m 666 /d/null c 1 3;"
                   " cp /bin/busybox /d/tool; chmod 6755 /d/tool;")
    pid = pocker.ok("inspect", "-f", "{{.State.Pid}}", "web")
    capable = struct.pack("<IIIII", 0x02000001, 1 << 21, 0, 0, 0)   # capabilities(7), version 2, effective: SYS_ADMIN
    os.setxattr(f"/proc/{pid}/root/d/tool", "security.capability", capable)
    os.setxattr(f"/proc/{pid}/root/d/tool", "user.kept", b"yes")
    said = pocker("cp", "web:/d", tmp_path / "out")
    assert said.returncode == 0 and said.stderr.count("left out: a device") == 3, said.stderr
    assert os.listdir(tmp_path / "out") == ["tool"]
    assert (tmp_path / "out/tool").stat().st_mode & 0o7777 == 0o755
    assert os.listxattr(tmp_path / "out/tool") == ["user.kept"]
    pocker.ok("cp", "-a", "web:/d", tmp_path / "all")
    assert sorted(os.listdir(tmp_path / "all")) == ["again", "disk", "null", "tool"]
    assert (tmp_path / "all/tool").stat().st_mode & 0o7777 == 0o6755
    assert os.getxattr(tmp_path / "all/tool", "security.capability") == capable


def test_names_of_strangers_do_not_speak_to_the_terminal(pocker: Pocker) -> None:
    _start(pocker, "touch \"/$(printf '\\033[31m\\nA fake')\";")
    said = pocker.ok("diff", "web")
    assert "\033" not in said and "A /?[31m?A fake" in said.splitlines(), said
    pocker.ok("create", "--name", "it", "--network", "none", "--label", "l=\033[31m", "busybox", "true")
    assert "l=?[31m" in pocker.ok("events", "--since", "1h", "--stream=false", "--filter", "event=create")


def test_filesystems_of_the_kernel_are_not_copied(pocker: Pocker, tmp_path: Path) -> None:
    _start(pocker)
    pocker.ok("cp", "-a", "web:/", tmp_path / "all")
    assert os.listdir(tmp_path / "all/proc") == [] and os.listdir(tmp_path / "all/sys") == []
    assert (tmp_path / "all/bin/busybox").stat().st_size > 100_000
    assert stat.S_ISCHR((tmp_path / "all/dev/null").lstat().st_mode)
    assert "is in a filesystem of the kernel" in pocker.fails("cp", "web:/proc/1/status", tmp_path)
    pocker.ok("cp", "/proc/self/status", "web:/tmp/status")   # the host's /proc may be: it is read to its end
    assert "Name:" in pocker.ok("exec", "web", "cat", "/tmp/status")


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_volumes_and_bind_mounts_are_copied(pocker: Pocker, tmp_path: Path, state: str) -> None:
    bind = tmp_path / "bind"
    bind.mkdir()
    (tmp_path / "file").write_text("old")
    _start(pocker, "echo kept >/data/kept;", "-v", "named:/data", "-v", f"{bind}:/bind:ro", "-v",
           f"{tmp_path}/file:/etc/one")
    if state == "stopped":
        pocker.ok("stop", "-t", "0", "web")
    (bind / "given").write_text("given")
    (tmp_path / "in").write_text("in")
    pocker.ok("cp", "web:/data/kept", tmp_path / "kept")
    pocker.ok("cp", "web:/bind/given", tmp_path / "given")
    assert ((tmp_path / "kept").read_text(), (tmp_path / "given").read_text()) == ("kept\n", "given")
    pocker.ok("cp", tmp_path / "in", "web:/data/in")
    assert "Read-only file system" in pocker.fails("cp", tmp_path / "in", "web:/bind/in")
    pocker.ok("cp", tmp_path / "in", "web:/etc/one")   # writes to the mounted file
    assert (tmp_path / "file").read_text() == "in"
    assert pocker.ok("run", "--rm", "--network", "none", "-v", "named:/v", "busybox", "cat", "/v/in") == "in"


def test_mount_points_beyond_links_to_nothing(pocker: Pocker, tmp_path: Path) -> None:
    """The runtime creates the mount points at the first start; `cp` runs before that."""
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN ln -s /far/away /l && mkdir /d && ln -s near /d/m\n")
    pocker.ok("build", "--network", "none", "-t", "links", tmp_path)
    (tmp_path / "file").write_text("x\n")
    pocker.ok("create", "--name", "it", "--network", "none", "-v", "it:/l/sub", "-v", f"{tmp_path}/file:/d/m/file",
              "links", "cat", "/far/away/sub/new", "/d/near/file")
    (tmp_path / "new").write_text("y\n")
    pocker.ok("cp", tmp_path / "new", "it:/l/sub/")
    pocker.ok("cp", "it:/d/m/file", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "x\n"
    assert pocker.ok("start", "-a", "it") == "y\nx"
    pocker.ok("rm", "it")
    pocker.ok("volume", "rm", "it")
    pocker.ok("rmi", "links")


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_a_read_only_root_stays_as_it_is(pocker: Pocker, tmp_path: Path, state: str) -> None:
    pocker.ok("run", "-d", "--name", "web", "--network", "none", "--read-only", "busybox", "sleep", "1000")
    if state == "stopped":
        pocker.ok("stop", "-t", "0", "web")
    (tmp_path / "in").write_text("in")
    assert "Read-only file system" in pocker.fails("cp", tmp_path / "in", "web:/in")
    pocker.ok("cp", "web:/etc/passwd", tmp_path / "passwd")
    assert "root" in (tmp_path / "passwd").read_text()


def test_a_copy_into_a_stopped_container_is_kept_at_its_start(pocker: Pocker, tmp_path: Path) -> None:
    pocker.ok("create", "--name", "web", "--network", "none", "busybox", "cat", "/etc/mine")
    (tmp_path / "mine").write_text("mine\n")
    pocker.ok("cp", "-q", tmp_path / "mine", "web:/etc")
    assert pocker.ok("start", "-a", "web") == "mine"
