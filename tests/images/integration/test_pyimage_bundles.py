"""``pyimage unpack``, ``repack``, ``mount`` and ``umount``: from images to bundles that run, and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands import COMMAND
from tests.containers import Runtime
from tests.images.integration.command import Pyimage
from tests.images.integration.samples import BUSYBOX, HOST, OTHER, Samples


def run(runtime: Runtime, bundle: Path, name: str) -> str:
    """Run a bundle to its end; its output."""
    done = subprocess.run([COMMAND, "--root", runtime.root, "run", "--bundle", bundle, name], capture_output=True,
                          text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout


def config(bundle: Path) -> Any:
    """The bundle's config.json."""
    return json.loads((bundle / "config.json").read_bytes())


@pytest.mark.parametrize("driver", ["overlay", "copy"])
def test_unpack_runs(runtime: Runtime, loaded: Pyimage, driver: str) -> None:
    bundle = loaded.path / "bundle"
    assert loaded.ok("unpack", "--driver", driver, "busy:1", bundle, "sh", "-c",
                     "echo $A; ls /; cat etc/second data/more; id -u") == ""
    assert run(runtime, bundle, f"unpacked-{driver}").split() == [
        "b", "bin", "data", "dev", "etc", "proc", "sys", "tmp", "2more0"]
    assert os.path.ismount(bundle / "rootfs") == (driver == "overlay") and bundle.stat().st_mode & 0o777 == 0o700
    annotations = config(bundle)["annotations"]
    assert annotations["label"] == "value" and annotations["org.opencontainers.image.stopSignal"] == "SIGQUIT"
    assert annotations["org.opencontainers.image.exposedPorts"] == "80/tcp"


def test_wishes(loaded: Pyimage) -> None:
    bundle = loaded.path / "bundle"
    loaded.ok("unpack", "--entrypoint", "/bin/echo", "--env", "A=c", "-e", "NEW=1", "--user", "user", "--workdir",
              "/tmp", "--hostname", "box", "-t", "--read-only", "--host-network", "busy:1", bundle, "-n", "x")
    found = config(bundle)
    process = found["process"]
    assert process["args"] == ["/bin/echo", "-n", "x"] and process["cwd"] == "/tmp" and process["terminal"] is True
    assert process["user"] == {"uid": 1000, "gid": 1000, "additionalGids": [1000, 7]}, \
        "the primary group first (CVE-2022-36109)"
    assert {"A=c", "NEW=1", "PATH=/bin", "HOME=/home/user"} <= set(process["env"]) and "A=b" not in process["env"]
    assert found["hostname"] == "box" and found["root"]["readonly"] is True
    assert "network" not in [entry["type"] for entry in found["linux"]["namespaces"]]


@pytest.mark.parametrize("moment", ["prepare", "replace"])
@pytest.mark.parametrize("driver", ["overlay", "copy"])
def test_a_killed_unpack_is_undone(loaded: Pyimage, driver: str, moment: str) -> None:
    """By another unpack to the same place, or by `umount --remove`; through a symbolic link too."""
    where = "pyruntime.images.bundle" if moment == "replace" else f"pyruntime.images.snapshots.{driver}"
    code = (f"import os, {where} as there\nfrom pyruntime.images.cli.main import main\n"
            f"owner = there if {moment!r} == 'replace' else there.{driver.capitalize()}Driver\nold = owner.{moment}\n"
            "def act(*words, **more):\n"
            f"    if {moment!r} != 'replace': old(*words, **more)\n"   # config.json completes a bundle
            f"    os.kill(os.getpid(), 9)\nowner.{moment} = act\nmain()")
    (loaded.path / "link").symlink_to(loaded.path)
    bundle = loaded.path / "link/bundle"
    command = ["unpack", "--driver", driver, "busy:1", str(bundle)]
    for undo in (["umount", "--remove", bundle], command):
        done = subprocess.run([sys.executable, "-c", code, "--root", str(loaded.store), *command], check=False,
                              env=loaded.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == -9 and (bundle / "rootfs/bin").exists(), done.stderr
        loaded.ok(*undo)
        assert bundle.exists() == (undo is command)
    loaded.ok("umount", "--remove", bundle)
    assert not bundle.exists() and loaded.ok("verify") == ""
    loaded.ok("prune")   # the leases of killed processes


def test_two_bundles_are_independent(loaded: Pyimage) -> None:
    first, second = loaded.path / "first", loaded.path / "second"
    for bundle in (first, second):
        loaded.ok("unpack", "busy:1", bundle)
    (first / "rootfs/etc/passwd").write_text("changed")
    assert (second / "rootfs/etc/passwd").read_text().startswith("root:") and loaded.ok("verify") == ""


def test_repack(runtime: Runtime, loaded: Pyimage) -> None:
    bundle = loaded.path / "bundle"
    loaded.ok("unpack", "busy:1", bundle, "sh", "-c", "echo new > /etc/new; rm /data/kept; touch -d @1700000000 /etc"
              " /etc/new /data")
    run(runtime, bundle, "repacked")
    told = loaded.ok("repack", bundle, "busy:2", "-m", "why", "--author", "me", "--created-by", "by hand", "--env",
                     "A=changed", "--label", "other=x", "--cmd", "cat", "--cmd", "/etc/new")
    assert told.startswith("docker.io/library/busy:2@sha256:")
    found = json.loads(loaded.ok("inspect", "busy:2"))
    assert len(found["Layers"]) == 3 and found["Layers"][:2] == json.loads(loaded.ok("inspect", "busy:1"))["Layers"]
    assert found["Config"]["Cmd"] == ["cat", "/etc/new"] and found["Author"] == "me"
    assert found["Config"]["Labels"] == {"label": "value", "other": "x"}, "a label is added, none is lost"
    assert found["Config"]["Env"] == ["PATH=/bin", "A=changed"], "one variable is replaced, none is lost"
    assert found["Config"]["StopSignal"] == "SIGQUIT"
    row = json.loads(loaded.ok("history", "-f", "json", "busy:2"))[0]
    assert (row["CreatedBy"], row["Comment"]) == ("by hand", "why")
    again = loaded.path / "again"
    loaded.ok("unpack", "busy:2", again)
    assert run(runtime, again, "again") == "new\n" and not (again / "rootfs/data/kept").exists()
    assert (again / "rootfs/data/more").exists() and loaded.ok("verify") == ""


def test_repack_without_changes_and_twice(loaded: Pyimage) -> None:
    bundle = loaded.path / "bundle"
    loaded.ok("unpack", "busy:1", bundle)
    assert loaded.ok("repack", bundle, "same:1").endswith("(0 entries)\n")
    assert len(json.loads(loaded.ok("inspect", "same:1"))["Layers"]) == 2
    (bundle / "rootfs/new").write_text("x")
    assert len({loaded.ok("repack", "-q", bundle, f"twice:{number}") for number in range(2)}) == 1
    for compression in ("zstd", "none"):
        loaded.ok("repack", "-q", "--compression", compression, bundle, f"{compression}:1")
        layer = json.loads(loaded.ok("inspect", f"{compression}:1"))["Layers"][-1]
        assert layer["mediaType"].endswith("+zstd" if compression == "zstd" else ".tar")
    assert 'compression "xz": write gzip, zstd or none' in loaded.fails("repack", "--compression", "xz", bundle, "x")


def test_volumes(runtime: Runtime, pyimage: Pyimage, tmp_path: Path) -> None:
    (tmp_path / "layout").mkdir()
    made = Samples(tmp_path / "layout")
    made.name(made.image(BUSYBOX, Volumes={"/data": {}, "/absent/here": {}}), "volumes:1")
    pyimage.ok("load", "-q", "-i", made.path)
    words = ("sh", "-c", "cat /data/kept; echo w > /data/written; ls /absent/here")
    for kind in ("bind", "none"):
        bundle = tmp_path / kind
        pyimage.ok("unpack", "--volumes", kind, "volumes:1", bundle, *(words if kind == "bind" else words[:2]),
                   *(() if kind == "bind" else ("cat /data/kept; echo w > /data/written",)))
        assert run(runtime, bundle, f"volumes-{kind}") == "kept"
        told = pyimage.ok("repack", bundle, f"{kind}:1")
        assert "(0 entries)" in told or kind == "none" or not (bundle / "rootfs/data/written").exists(), told
    found = [entry for entry in config(tmp_path / "bind")["mounts"] if entry["type"] == "bind"]
    assert [entry["destination"] for entry in found] == ["/absent/here", "/data"]
    assert (tmp_path / "bind/volumes/1/written").read_text() == "w\n"
    pyimage.ok("unpack", "--volumes", "tmpfs", "volumes:1", tmp_path / "tmpfs")
    assert "tmpcopyup" in next(entry for entry in config(tmp_path / "tmpfs")["mounts"]
                               if entry["destination"] == "/data")["options"]
    assert 'volumes "x": write bind, tmpfs, none' in pyimage.fails("unpack", "--volumes", "x", "volumes:1",
                                                                   tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_umount_and_mount(loaded: Pyimage) -> None:
    bundle = loaded.path / "bundle"
    loaded.ok("unpack", "busy:1", bundle)
    (bundle / "rootfs/mine").write_text("x")
    loaded.ok("umount", bundle)
    assert not os.path.ismount(bundle / "rootfs") and list((bundle / "rootfs").iterdir()) == []
    loaded.ok("umount", bundle)
    assert "x:latest" in loaded.ok("repack", bundle, "x")   # the writable layer is beside the mount
    assert loaded.ok("mount", bundle) == f"{bundle}/rootfs\n" and (bundle / "rootfs/mine").read_text() == "x"
    with (bundle / "rootfs/mine").open():
        said = loaded.fails("umount", bundle)
        assert "is in use" in said
    loaded.ok("umount", "--remove", bundle)
    assert not bundle.exists() and list((loaded.store / "bundles").iterdir()) == []
    assert "is not a bundle" in loaded.fails("umount", bundle)
    assert "is not a bundle" in loaded.fails("mount", loaded.path)


def test_mount_of_an_image(loaded: Pyimage) -> None:
    place = loaded.path / "look"
    assert loaded.ok("mount", "busy:1", place) == f"{place}\n"
    assert (place / "etc/second").read_text() == "2" and not (place / "old").exists()
    with pytest.raises(OSError, match="Read-only"):
        (place / "new").touch()
    assert "is used by" in loaded.fails("rm", "busy:1")
    assert "is not empty" in loaded.fails("mount", "busy:1", place)
    loaded.ok("umount", place)
    assert not os.path.ismount(place)
    loaded.ok("rm", "busy:1")
    loaded.ok("mount", "--platform", OTHER, "multi:1", loaded.path / "other")
    assert (loaded.path / f"other/only-{OTHER}").exists()


def test_a_failed_unpack_leaves_nothing(loaded: Pyimage) -> None:
    bundle = loaded.path / "bundle"
    for words, said in ((("absent:1",), 'no such image: "absent:1"'), (("--user", "nobody-here", "busy:1"), "no user"),
                        (("--driver", "zfs", "busy:1"), 'unknown storage driver "zfs"'),
                        (("--platform", "linux/s390x", "multi:1"), "s390x"),
                        (("--platform", "x/y/z/w", "multi:1"), "is not a platform")):
        assert said in loaded.fails("unpack", *words, bundle), words
        assert not bundle.exists()
    bundle.mkdir()
    (bundle / "mine").touch()
    assert "is not empty" in loaded.fails("unpack", "busy:1", bundle) and (bundle / "mine").exists()
    assert list((loaded.store / "bundles").iterdir()) == []
    parent = loaded.path / "file"
    parent.touch()
    assert "cannot make the bundle" in loaded.fails("unpack", "busy:1", parent / "below")


def test_an_unfinished_bundle_is_created_again(loaded: Pyimage) -> None:
    bundle = loaded.path / "bundle"
    (bundle / "rootfs").mkdir(parents=True)
    (bundle / ".pyimage.new").touch()
    loaded.ok("unpack", "busy:1", bundle)
    assert sorted(path.name for path in bundle.iterdir()) == [".pyimage", ".rootfs", "config.json", "rootfs"]


def test_platforms(runtime: Runtime, loaded: Pyimage) -> None:
    """The image for the host, unless another one is requested; an image that the host cannot run is a warning."""
    done = loaded("unpack", "multi:1", loaded.path / "host", "ls", f"/only-{HOST}")
    assert done.returncode == 0 and done.stderr == "" and run(runtime, loaded.path / "host", "host") != ""
    done = loaded("unpack", "--platform", OTHER, "multi:1", loaded.path / "other")
    assert done.returncode == 0 and (loaded.path / f"other/rootfs/only-{OTHER}").exists()
    assert done.stderr.startswith("warning: ") and f"linux/{OTHER}" in done.stderr and f"linux/{HOST}" in done.stderr
