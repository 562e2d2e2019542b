"""process.cwd and `exec --cwd`: entered as root, or as the program's user if root has no access."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest

from tests.commands import COMMAND
from tests.containers import Bundle, Runtime

NO_ID = 0xFFFFFFFF
USER = {"uid": 1000, "gid": 1000, "additionalGids": [4242]}


@pytest.fixture
def closed(tmp_path: Path, own_bundle: Bundle) -> Path:
    """A directory that the root of the container's user namespace cannot enter, bind-mounted on /w."""
    own_bundle.in_user_namespace()
    path = tmp_path / "w"
    path.mkdir()
    own_bundle.add_mount("/w", "none", str(path), "rbind")
    own_bundle.config["linux"]["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 4242},
                                                 {"containerID": 4242, "hostID": 4242, "size": 1}]
    own_bundle.config["process"]["user"] = USER
    return path


def by_group(path: Path) -> None:
    os.chown(path, 5555, 4242)
    path.chmod(0o750)


def by_owner(path: Path) -> None:
    os.chown(path, 101000, 5555)
    path.chmod(0o700)


def by_list(path: Path) -> None:
    os.chown(path, 5555, 5555)
    path.chmod(0o700)
    # acl(5): user::rwx, user:101000:r-x, group::---, mask::r-x, other::---
    entries = [(0x01, 7, NO_ID), (0x02, 5, 101000), (0x04, 0, NO_ID), (0x10, 5, NO_ID), (0x20, 0, NO_ID)]
    data = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(path, "system.posix_acl_access", data)


@pytest.mark.parametrize("permit", [by_group, by_owner, by_list])
def test_the_programs_user_enters_a_directory_that_root_cannot(runtime: Runtime, own_bundle: Bundle, closed: Path,
                                                     permit: object) -> None:
    assert callable(permit)
    permit(closed)
    own_bundle.shell("pwd; sleep 100", process__cwd="/w")
    with (own_bundle.path / "log").open("w") as log:
        subprocess.run([*map(str, [COMMAND, "--root", runtime.root, "run",
                                   "-d", "c1", own_bundle])], stdin=subprocess.DEVNULL, stdout=log, check=True)
    assert runtime.ok("exec", "c1", "pwd") == "/w\n"
    assert runtime.ok("exec", "--cwd", "/w", "c1", "pwd") == "/w\n"
    assert (own_bundle.path / "log").read_text() == "/w\n"
    if permit is not by_group:
        done = runtime("exec", "--cwd", "/w", "--user", "7:7", "c1", "pwd")
        assert 'chdir to cwd ("/w") set in config.json failed: permission denied' in done.stderr


def test_root_enters_a_directory_that_the_user_cannot(runtime: Runtime, own_bundle: Bundle) -> None:
    place = own_bundle.path / "rootfs" / "secret"
    place.mkdir(mode=0o700)
    own_bundle.shell("pwd", process__cwd="/secret", process__user={"uid": 1000, "gid": 1000})
    assert runtime.ok("run", "c1", own_bundle) == "/secret\n"


@pytest.mark.parametrize("ending", ["", "\n"])
def test_home_of_a_user_at_the_end_of_a_long_list(runtime: Runtime, own_bundle: Bundle, ending: str) -> None:
    others = "".join(f"u{number}:x:{number}:{number}:a user:/home/u{number}:/bin/sh\n" for number in range(5000, 9000))
    # passwd(5) has no limit for the length of a line.
    text = f"{others}long:x:1:1:{'x' * 100000}:/wrong:\nlast:x:1000:1000::/home/last:/bin/sh{ending}"
    (own_bundle.path / "rootfs/etc").mkdir(exist_ok=True)
    (own_bundle.path / "rootfs/etc/passwd").write_text(text)
    env = [entry for entry in own_bundle.config["process"]["env"] if not entry.startswith("HOME=")]
    own_bundle.shell("echo $HOME; sleep 100", process__user={"uid": 1000, "gid": 1000}, process__env=env)
    runtime.ok("run", "-d", "c1", own_bundle)
    for user, home in (("1000", "/home/last"), ("7654", "/home/u7654"), ("4711", "/")):
        assert runtime.ok("exec", "--user", user, "c1", "sh", "-c", "echo $HOME") == home + "\n"
