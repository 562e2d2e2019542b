"""Attacks on a build: by files that change, by its caller, and by the author of the Dockerfile."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyruntime.builder.steps.ssh_agent import Relay
from tests.builder.integration.conftest import Builder, write

_GATE = "RUN --mount=target=/x echo begun; cat /x/gate > /dev/null; cat /x/f > /o\n"


def _through_the_gate(builder: Builder, context: Path, change: str = "") -> bool:
    """Build; write ``change`` into f while RUN waits at the gate. Whether RUN was executed."""
    with builder.start("build", "--progress", "plain", "-t", "app", context) as build:
        assert build.stderr is not None
        said = ""
        while "begun" not in (line := build.stderr.readline()).split() and "CACHED" not in line:
            assert line, said
            said += line
        if change:
            (context / "f").write_text(change)
        if "begun" in line:
            (context / "gate").write_text("x")
        said += build.communicate(timeout=100)[1]
    assert build.returncode == 0, said
    assert ("files changed while they were read" in said) == bool(change)
    return "begun" in line


def test_files_that_change_while_being_read_are_not_cached(builder: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", f"FROM busybox\n{_GATE}", {"f": "old", "gate": "FIFO"})
    assert _through_the_gate(builder, context, "new")
    assert builder.ok("run", "--rm", "--network", "none", "app", "cat", "/o") == "new"
    (context / "f").write_text("old")
    assert _through_the_gate(builder, context)   # else the result would be "new", which no file contains
    assert builder.ok("run", "--rm", "--network", "none", "app", "cat", "/o") == "old"
    assert not _through_the_gate(builder, context)


def test_links_between_files_are_part_of_the_key(builder: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", "FROM busybox\nCOPY d /d\n", {"d/a": "1"})
    (context / "d/b").hardlink_to(context / "d/a")
    for links in ("2", "1"):
        builder.build(context, "-t", "app")
        assert builder.ok("run", "--rm", "--network", "none", "app", "stat", "-c", "%h", "/d/a") == links
        shutil.copy(context / "d/a", context / "d/c")
        (context / "d/c").rename(context / "d/b")


def test_the_umask_of_the_caller_is_not_the_build_s(builder: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", "FROM busybox\nCOPY a /d/\nRUN touch /r\nWORKDIR /w\nCOPY <<E /h\n1\nE\n",
                    {"a": (0o644, "1")})
    builder.build(context, "-t", "app", umask=0o077)
    assert builder.ok("run", "--rm", "--network", "none", "app", "stat", "-c", "%a", "/", "/d", "/d/a", "/r", "/w",
                      "/h").split() == ["755", "755", "644", "644", "755", "644"]


def test_mount_points_behind_links_are_removed(builder: Builder, tmp_path: Path) -> None:
    text = ("FROM busybox\nCOPY etc/ /etc/\nRUN ln -s /new/place /l\n"
            "RUN --mount=type=tmpfs,target=/l/x cat /etc/resolv.conf > /a\n")
    context = write(tmp_path / "context", text, {"etc/resolv.conf": "-> ../run/stub/resolv.conf"})
    builder.ok("build", "-o", f"type=tar,dest={tmp_path}/out.tar", context)
    with tarfile.open(tmp_path / "out.tar") as archive:
        names = archive.getnames()
    assert "l" in names and "etc/resolv.conf" in names
    assert not [name for name in names if name.startswith(("new", "run/"))]


def test_a_line_without_an_end_is_shown_in_pieces(builder: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", "FROM busybox\nRUN head -c 1000000 /dev/zero | tr '\\0' x\n", {})
    said = builder("build", "--progress", "json", context).stderr
    events = [json.loads(line) for line in said.splitlines()]
    lines = [event["text"] for event in events if event["event"] == "output"]
    assert sum(map(len, lines)) == 10**6 and max(map(len, lines)) <= 1 << 17


# ---- secrets ------------------------------------------------------------------------------------


def test_a_secret_is_whole_or_refused(builder: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", "FROM busybox\n", {"s": "x" * (1 << 20) + "y"})
    assert "is larger than 1 MiB" in builder.fails("build", "--secret", f"id=s,src={context}/s", context)


def test_a_secret_in_a_variable_is_on_no_disk(builder: Builder, tmp_path: Path) -> None:
    text = ("FROM busybox\n"
            "RUN --mount=type=secret,id=s,env=TOKEN --mount=target=/x echo begun; cat /x/gate; test $TOKEN\n")
    context = write(tmp_path / "context", text, {"gate": "FIFO"})
    secret = "only-in-memory-4711"
    builder.environment["MINE"] = secret
    build = builder.start("build", "--progress", "plain", "--secret", "id=s,env=MINE", context)
    assert build.stderr is not None
    while "begun" not in (line := build.stderr.readline()).split():
        assert line
    found = [path for path in (builder.store).rglob("*") if path.is_file() and not path.is_symlink()
             and secret.encode() in path.read_bytes()]
    (context / "gate").write_text("x")
    said = build.communicate(timeout=100)[1]
    assert build.returncode == 0, said
    assert not found


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """The socket of an echo server."""
    with socket.socket(socket.AF_UNIX) as listening:
        parent = os.open(tmp_path, os.O_PATH)
        listening.bind(f"/proc/self/fd/{parent}/agent")
        os.close(parent)
        os.chmod(tmp_path / "agent", 0o600)
        listening.listen()
        child = os.fork()
        if child == 0:
            try:
                while True:
                    with listening.accept()[0] as asking:
                        while data := asking.recv(1 << 16):
                            asking.sendall(data)
            finally:
                os._exit(0)
        yield tmp_path / "agent"
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_an_agent_for_another_user(agent: Path, builder: Builder, tmp_path: Path) -> None:
    text = ("FROM busybox\nUSER 5:6\nRUN --mount=type=ssh,uid=5,gid=6,mode=0640 stat -c '%u:%g %a %F' $SSH_AUTH_SOCK"
            " > /tmp/a\nRUN --mount=type=ssh,id=default,target=/s stat -c '%u:%g %a %F' /s > /tmp/b\n")
    context = write(tmp_path / "context", text, {})
    builder.build(context, "-t", "app", "--ssh", f"default={agent}")
    said = builder.ok("run", "--rm", "--network", "none", "app", "sh", "-c", "cat /tmp/a /tmp/b; ls /run")
    assert said.split("\n") == ["5:6 640 socket", "0:0 600 socket"]


def test_a_long_path_of_an_agent(agent: Path, tmp_path: Path) -> None:
    relay = Relay(str(tmp_path / "relay"), str(agent), mode=0o600, owner=(os.geteuid(), os.getegid()))
    for count in (1, 3):
        there = [socket.socket(socket.AF_UNIX) for _ in range(count)]
        with contextlib.ExitStack() as all_of_them:
            for number, one in enumerate(there):
                all_of_them.enter_context(one)
                one.settimeout(60)
                one.connect(str(tmp_path / "relay"))
                one.sendall(b"%d" % number)
            for number, one in list(enumerate(there))[:1]:
                assert one.recv(100) == b"%d" % number
    relay.end()
    with socket.socket(socket.AF_UNIX) as late, pytest.raises(ConnectionRefusedError):
        late.connect(str(tmp_path / "relay"))


# ---- archives -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["context", "source"])
def test_a_link_out_of_an_archive(kind: str, builder: Builder, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, target in (("Dockerfile", ""), ("h", "/etc/passwd")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = (tarfile.LNKTYPE, target) if target else (tarfile.REGTYPE, "")
            archive.addfile(info)
    if kind == "context":
        with (tmp_path / "a.tar").open() as opened:
            said = builder.fails("build", "-", stdin=opened)
    else:
        write(tmp_path / "context", "FROM busybox\nADD a.tar /x/\n", {})
        shutil.copy(tmp_path / "a.tar", tmp_path / "context")
        said = builder.fails("build", tmp_path / "context")
    assert '"h" in the archive is a link to "etc/passwd", which it does not contain' in said


# ---- repositories -------------------------------------------------------------------------------


@pytest.fixture
def repository(builder: Builder, tmp_path: Path) -> Iterator[str]:
    """The URL of a repository with the file a and the tag v1, which git serves on the builder's host."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    work = write(tmp_path / "work", "", {"a": "1"})
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-q", "-m", "x"], ["tag", "v1"]):
        subprocess.run(["git", "-C", work, *words], check=True)
    port = 9418
    programs = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()
    daemon = subprocess.Popen([*builder.prefix, f"{programs}/git-daemon", "--listen=127.0.0.1", f"--port={port}",
                               "--reuseaddr", "--export-all", f"--base-path={tmp_path}", "--log-destination=none",
                               str(tmp_path)])
    builder.eventually(lambda: f":{port:04X} 00000000:0000 0A" in Path(f"/proc/{builder.host}/net/tcp").read_text(),
                       "git does not listen")
    yield f"git://127.0.0.1:{port}/work/.git"
    daemon.terminate()
    daemon.wait()


def test_add_of_a_repository(builder: Builder, tmp_path: Path, repository: str) -> None:
    commit = subprocess.run(["git", "-C", tmp_path / "work", "rev-parse", "HEAD"], capture_output=True, text=True,
                            check=True).stdout.strip()
    context = write(tmp_path / "context", f"FROM busybox\nADD --checksum={commit[:12]} {repository}#v1 /x/\n", {})
    builder.build(context, "-t", "app", umask=0o077)
    assert builder.ok("run", "--rm", "--network", "none", "app", "stat", "-c", "%a", "/x/a", "/x") == "644\n755"
    for checksum in ("0" * 40, commit[:6], "sha256:" + "0" * 64):
        write(context, f"FROM busybox\nADD --checksum={checksum} {repository}#v1 /x/\n", {})
        assert f"is the commit {commit}, not" in builder.fails("build", context)


def test_a_dockerfile_gets_no_repository_of_the_host(builder: Builder, tmp_path: Path) -> None:
    for url in (f"file://{tmp_path}/work.git", f"git+{tmp_path}/work"):
        context = write(tmp_path / "context", f"FROM busybox\nADD {url} /x/\n", {})
        assert "is a repository of the host" in builder.fails("build", context)


@pytest.mark.parametrize(("line", "words"), [
    ("ADD --checksum=sha256:{0} a /x", "needs exactly one source"),
    ("ADD --checksum=$NONE http://127.0.0.1:1/a /x", "expands to nothing"),
    ("ADD --checksum=md5:1 http://127.0.0.1:1/a /x", "Dockerfile:2: digest"),
])
def test_a_checksum_is_checked_or_refused(line: str, words: str, builder: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "context", f"FROM busybox\n{line.format('0' * 64)}\n", {"a": "1"})
    assert words in builder.fails("build", context)


