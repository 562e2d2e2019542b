"""Attacks by images and containers through front ends: users, volumes, capabilities, numbers, `top`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.images.integration.command import Pyimage
from tests.images.integration.hostile import directory, file, symlink, tar
from tests.pocker.integration.command import Pocker
from tests.security.conftest import SECRET, Outside
from tests.security.test_images import layout_of

NONE = ("--network", "none")


def image(pocker: Pocker, path: Path, text: str) -> str:
    """Build an image from a Dockerfile, in a separate store."""
    pocker.environment["PYRUNTIME_STORE"] = str(path / "store")
    subprocess.run(["cp", "-a", pocker.environment["SHARED_STORE"], path / "store"], check=True)
    (path / "context").mkdir()
    (path / "context/Dockerfile").write_text(text)
    pocker.ok("build", *NONE, "-t", "made", path / "context")
    return "made"


@pytest.fixture
def pocker(pocker: Pocker) -> Pocker:
    """pocker; SHARED_STORE in its environment is the store that it shares with other tests."""
    pocker.environment["SHARED_STORE"] = pocker.environment["PYRUNTIME_STORE"]
    return pocker


def test_a_user_whose_name_is_a_number(pocker: Pocker, tmp_path: Path) -> None:
    """CVE-2016-3697 (Docker): a user named "1234" with ID 0 in the image made `-u 1234` root."""
    made = image(pocker, tmp_path, "FROM busybox\nRUN echo 1234:x:0:0::/root:/bin/sh >>/etc/passwd;"
                 " echo 1234:x:0: >>/etc/group\nUSER 1234:1234\nRUN id -u >/tmp/id; id -G >>/tmp/id\n")
    look = ["sh", "-c", "id -u; id -g; cat /tmp/id"]
    assert pocker.ok("run", "--rm", *NONE, made, *look).split() == ["1234", "1234", "1234", "1234"]
    pocker.ok("run", "-d", "--name", "it", *NONE, "-u", "0", made, "sleep", "99")
    assert pocker.ok("exec", "-u", "1234:1234", "it", *look).split()[:2] == ["1234", "1234"]


@pytest.mark.parametrize("text", ["0-99999999999", "0-4294967295", "1" * 5000, ",".join(["0-9999999"] * 500)])
@pytest.mark.parametrize("flag", ["--cpuset-cpus", "--cpuset-mems"])
def test_a_cpu_list_with_a_large_number(flag: str, text: str, pocker: Pocker) -> None:
    """CVE-2018-20699 (Docker): a large number in a CPU list exhausted the host's memory."""
    pocker.prefix = ["prlimit", f"--as={600 << 20}"]
    said = pocker.fails("run", "--rm", *NONE, flag, text, "busybox", "true", status=125)
    assert "error: " in said and "emory" not in said.replace("cpuset-mems", "") and len(said) < 2000


def test_top_runs_nothing_of_the_container(pocker: Pocker) -> None:
    """CVE-2022-1227 (Podman): `top` ran the container's programs with the caller's privileges."""
    pocker.ok("run", "-d", "--name", "it", *NONE, "busybox", "sh", "-c",
              "for one in ps nsenter sh cat env; do rm -f /bin/$one /usr/bin/$one; printf '#!/bin/busybox sh\\n"
              "busybox touch /run_by_somebody\\n' >/bin/$one; busybox chmod 755 /bin/$one; done; busybox touch /ready;"
              " busybox sleep 99")
    root = Path(f"/proc/{pocker.run_file('it')['pid']}/root")
    pocker.eventually((root / "ready").exists, "its programs have been replaced")
    for command in (["top", "it"], ["top", "it", "-o", "pid,comm"], ["ps", "-s"], ["stats", "--no-stream", "it"],
                    ["inspect", "it"]):
        pocker(*command)
        assert not (root / "run_by_somebody").exists(), command


def test_capabilities_of_programs(pocker: Pocker, tmp_path: Path) -> None:
    """CVE-2022-24769 (Docker), CVE-2022-27649 (Podman): nothing inheritable; CVE-2018-10856 (Podman):
    users other than root have no capabilities."""
    pocker.ok("run", "-d", "--name", "it", *NONE, "busybox", "sleep", "99")
    for flags in ([], ["-u", "1000"], ["--privileged"], ["--privileged", "-u", "1000"]):
        for command in (["run", "--rm", *NONE, *flags, "busybox"], ["exec", *flags, "it"]):
            said = pocker.ok(*command, "grep", "Cap", "/proc/self/status")
            found = dict(line.split(":\t") for line in said.splitlines())
            assert found["CapInh"] == found["CapAmb"] == "0" * 16, (command, said)
            assert (found["CapEff"] == "0" * 16) == ("-u" in flags), (command, said)


VOLUMES = ["/link", "/link/", "/d/../link", "{away}", "/../../../../../../../../..{away}", "/link/../../../..{away}",
           "/magic{away}"]


@pytest.mark.parametrize("volume", VOLUMES)
def test_the_initial_content_of_a_volume(volume: str, pocker: Pocker, pyimage: Pyimage, outside: Outside, tmp_path: Path
                                       ) -> None:
    """CVE-2022-23648 (containerd): the path of an image's volume was resolved on the host, whose files were copied to
    the volume. It must be the path in the image, in `run` and in `unpack`."""
    away = str(outside.path)
    layer = tar(directory(b"d"), symlink(b"link", away.encode()), symlink(b"magic", b"/proc/1/root"),
                file(b"busybox", Path("/bin/busybox").read_bytes(), mode=b"0000755"))
    layout = layout_of(tmp_path / "layout", [layer], Volumes={volume.format(away=away): {}})
    name = "example.org/hostile:1"
    pyimage.ok("load", "-q", "-i", layout)
    if pyimage("unpack", name, tmp_path / "bundle").returncode == 0:
        found = [path.read_text() for path in (tmp_path / "bundle/volumes").rglob("*") if path.is_file()]
        assert SECRET not in found
        pyimage.ok("umount", "--remove", tmp_path / "bundle")
    pocker.environment["PYRUNTIME_STORE"] = str(pyimage.store)
    done = pocker("run", "--rm", *NONE, name, "/busybox", "sh", "-c",
                  f"busybox=/busybox; for d in /link {away}; do $busybox cat $d/canary; echo no >$d/canary; done")
    assert SECRET not in done.stdout + done.stderr
    outside.check()


@pytest.mark.parametrize("place", ["/proc", "/proc/", "/proc/self/attr", "/proc/../proc", "//proc", "/d/../proc/self"])
def test_a_volume_over_proc(place: str, pocker: Pocker, pyimage: Pyimage, tmp_path: Path) -> None:
    """CVE-2019-16884, CVE-2015-3630, CVE-2015-3631 (Docker): a volume of the image or of the command line over /proc
    covered the restrictions of the container. It is refused."""
    layout = layout_of(tmp_path / "layout", [tar(directory(b"proc/self/attr"), directory(b"d"))], Volumes={place: {}})
    name = "example.org/hostile:1"
    pyimage.ok("load", "-q", "-i", layout)
    assert "volume" in pyimage.fails("unpack", name, tmp_path / "bundle")
    own = pocker.environment["PYRUNTIME_STORE"]
    pocker.environment["PYRUNTIME_STORE"] = str(pyimage.store)
    pocker.fails("run", "--rm", *NONE, name, "x", status=125)
    pocker.environment["PYRUNTIME_STORE"] = own
    for source in ("it", str(tmp_path)):
        pocker.fails("run", "--rm", *NONE, "-v", f"{source}:{place}", "busybox", "true", status=125)
    assert json.loads(pocker.ok("volume", "ls", "--format", "json") or "[]") == []
