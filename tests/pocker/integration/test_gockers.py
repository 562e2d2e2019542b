"""Promises of docs/gockers.md that no other test covers: copy-on-write, the root filesystem, the prompt, a whole
lifecycle by commands."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images.integration.registries import serve
from tests.pocker.integration.command import Pocker
from tests.pocker.integration.test_streams import PockerTerminal

NONE = ("--network", "none")


@pytest.fixture
def btrfs(tmp_path: Path) -> Iterator[Path]:
    """A small btrfs in a file."""
    file, point = tmp_path / "btrfs.img", tmp_path / "btrfs"
    with file.open("wb") as image:
        image.truncate(200 << 20)
    subprocess.run(["mkfs.btrfs", "-q", file], check=True)
    device = subprocess.run(["losetup", "--find", "--show", file], check=True, capture_output=True,
                            text=True).stdout.strip()
    point.mkdir()
    try:
        subprocess.run(["mount", "-t", "btrfs", device, point], check=True)
        try:
            yield point
        finally:
            subprocess.run(["umount", point], check=True)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def digest(directory: Path) -> str:
    """The digest of all names, modes and contents below a directory."""
    found = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found.update(f"{path.relative_to(directory)} {path.lstat().st_mode} {len(data)}\n".encode() + data)
    return found.hexdigest()


@pytest.mark.parametrize("driver", ["overlay", "btrfs", "copy"])
def test_containers_of_one_image_share_it_and_change_their_own(tmp_path: Path, store: Path, btrfs: Path,
                                                                driver: str) -> None:
    place = btrfs if driver == "btrfs" else tmp_path / "place"
    pocker = Pocker(place, place / "store")
    pocker.environment["POCKER_STORAGE_DRIVER"] = driver
    pocker.ok("import", "--cmd", "sh", next(store.parent.glob("*.tar")), "busybox")
    for name in ("one", "two"):
        pocker.ok("run", "--name", name, *NONE, "busybox", "sh", "-c",
                  f"test ! -e /mark && echo {name} >/mark && rm /etc/group && echo more >>/etc/passwd")
        assert pocker.ok("inspect", "-f", "{{.Driver}}", name) == driver
    layer = next(place.glob("store/layers/*/fs"))
    before = digest(layer)
    for name in ("one", "two"):   # started again, each has its own, and the image is as it was
        pocker.ok("start", name)
        assert pocker.ok("wait", name) == "1"   # /mark is there
    done = pocker("run", "--rm", *NONE, "busybox", "ls", "/mark", "/etc/group")
    assert done.stdout == "/etc/group\n" and "/mark" in done.stderr
    assert digest(layer) == before
    pocker.clear()
    pocker.ok("rmi", "busybox")
    pocker.check()


def test_the_root_is_pivoted_and_the_old_one_is_gone(pocker: Pocker) -> None:
    """Neither the host's tree nor its mounts are anywhere in the container: not in its mount table, not above its root,
    and not outside a second chroot that a process escapes in the usual way."""
    host = os.stat("/")
    said = pocker.ok("run", "--rm", *NONE, "busybox", "sh", "-c",
                     "cut -d' ' -f5 /proc/self/mountinfo; echo; stat -c %d:%i / /.. /proc/1/root/.;"
                     " mkdir /in; cd /; cp -r bin in; exec 9</; chroot /in /bin/sh -c"
                     " 'mkdir /proc; cd /bin/../../../../..; echo *'; stat -c %d:%i /proc/self/fd/9/../../..")
    mounts, _, rest = said.partition("\n\n")
    assert mounts.splitlines()[0] == "/" and mounts.splitlines().count("/") == 1
    assert not any(place.startswith(str(pocker.path)) for place in mounts.splitlines())
    inodes = [line for line in rest.splitlines() if ":" in line]
    assert len(inodes) == 4 and len(set(inodes)) == 1 and f"{host.st_dev}:{host.st_ino}" not in inodes
    assert "bin proc" in rest.splitlines()


def test_the_environment_is_clean_and_the_prompt_has_the_name(pocker: Pocker) -> None:
    environment = {"SECRET": "of the caller", "LD_PRELOAD": ""}
    said = pocker.ok("run", "--rm", *NONE, "busybox", "env", env=environment).splitlines()
    assert sorted(line.partition("=")[0] for line in said) == ["HOME", "HOSTNAME", "PATH"]
    terminal = PockerTerminal(pocker, "run", "--rm", "-it", *NONE, "-h", "box", "-e", "PS1=\\u@\\h:\\w\\$ ", "busybox",
                              "sh")
    terminal.expect(b"root@box:/# ")
    terminal.type(b"cd /tmp\n")
    terminal.expect(b"root@box:/tmp# ")
    terminal.type(b"exit\n")
    assert terminal.status() == 0


def test_special_files(pocker: Pocker) -> None:
    wanted = {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"}
    said = pocker.ok("run", "--rm", *NONE, "busybox", "sh", "-c",
                     f"cd /dev; stat -c '%n %t:%T' {' '.join(wanted)}; ls; echo;"
                     " for name in fd stdin stdout stderr ptmx; do readlink $name; done;"
                     " echo gone >null; head -c 3 zero | wc -c; head -c 8 urandom | wc -c; (echo x >full) 2>&1;"
                     " mknod /sda b 8 0 && cat /sda 2>&1; true").splitlines()
    assert said[:6] == [f"{name} {number}" for name, number in wanted.items()]
    end = said.index("")
    assert set(said[6:end]) - {"core"} == {*wanted, "fd", "stdin", "stdout", "stderr", "ptmx", "pts", "shm", "mqueue"}
    assert said[end + 1:end + 6] == ["/proc/self/fd", *(f"/proc/self/fd/{number}" for number in range(3)), "pts/ptmx"]
    assert said[-4:-2] == ["3", "8"] and "No space left" in said[-2] and "Operation not permitted" in said[-1]


def test_a_life_in_commands(tmp_path: Path, store: Path) -> None:
    """pull, images, run, ps, exec, stop, rm, rmi: the commands that the READMEs of all these projects show."""
    pocker = Pocker(tmp_path / "place", tmp_path / "store")
    (tmp_path / "registry").mkdir()
    with serve(tmp_path / "registry") as registry:
        name = f"{registry.host}/team/box:1"
        conf = tmp_path / "registries.conf"
        conf.write_text(f'[[registry]]\nlocation = "{registry.host}"\ninsecure = true\n')
        pocker.environment["CONTAINERS_REGISTRIES_CONF"] = str(conf)
        other = Pocker(tmp_path / "other", tmp_path / "elsewhere")
        other.ok("import", "--cmd", "sh", "--cmd", "-c", "--cmd", "echo started; sleep 1000; true",
                 next(store.parent.glob("*.tar")), name)
        other.ok("push", "--tls-verify", "false", name)
        assert pocker.ok("pull", "-q", name).startswith("sha256:")
        assert pocker.ok("images", "--format", "{{.Repository}}:{{.Tag}}") == name
        pocker.ok("run", "-d", "--name", "box", *NONE, name)   # its default command
        pocker.eventually(lambda: pocker.ok("logs", "box") == "started", "its command has begun")
        assert pocker.ok("ps", "--format", "{{.Names}} {{.Image}} {{.State}}") == f"box {name} running"
        assert pocker.ok("exec", "box", "sh", "-c", "cat /proc/1/cmdline | tr '\\0' ' '") == (
            "sh -c echo started; sleep 1000; true ")
        pocker.fails("rmi", name)   # a container uses it
        pocker.ok("stop", "-t", "0", "box")
        assert pocker.ok("ps", "-q") == "" and pocker.statuses() == {"box": "exited"}
        pocker.ok("rm", "box")
        pocker.ok("rmi", name)
        assert pocker.ok("images", "-q") == ""
    pocker.check()
    assert not os.listdir(tmp_path / "store/layers")
