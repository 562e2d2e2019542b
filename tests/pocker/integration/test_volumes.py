"""Volumes: created, used, shared, filled with the image's files, removed with their container or kept."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.commands import BIN
from tests.pocker.integration.command import Pocker
from tests.pocker.integration.test_run_flags import NONE, run


@pytest.fixture(scope="session")
def filled(store: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with files at its volume's path: with their own owner and mode, a symbolic link and a hard link."""
    path = tmp_path_factory.mktemp("filled")
    tree = path / "rootfs"
    subprocess.run(["tar", "-C", _made(tree), "-xf", next(store.parent.glob("*.tar"))], check=True)
    data = tree / "data"
    (data / "below").mkdir(parents=True)
    (data / "file").write_text("of the image\n")
    os.chown(data / "file", 12, 34)
    (data / "file").chmod(0o640)
    os.link(data / "file", data / "below" / "same")
    (data / "link").symlink_to("below/same")
    os.chown(data, 56, 78)
    data.chmod(0o2750)
    with tarfile.open(path / "filled.tar", "w") as archive:
        archive.add(tree, ".")
    subprocess.run([str(BIN / "pyimage"), "import", "--cmd", "sh", "--volume", "/data", path / "filled.tar",
                    "filled"], check=True, env={**os.environ, "PYRUNTIME_STORE": str(store)}, stdout=subprocess.DEVNULL)
    return "filled"


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def names(pocker: Pocker) -> list[str]:
    return pocker.ok("volume", "ls", "-q").split()


def test_life_of_a_volume(pocker: Pocker) -> None:
    assert pocker.ok("volume", "create", "--label", "a=b", "data") == "data"
    assert pocker.ok("volume", "create", "data") == "data"
    found = json.loads(pocker.ok("volume", "inspect", "data"))[0]
    assert found["Labels"] == {"a": "b"} and found["Driver"] == "local" and found["Mountpoint"].endswith("data/_data")
    run(pocker, "-v", "data:/d", "--", "echo kept >/d/file")
    said = run(pocker, "-v", "data:/d:ro", "--", "cat /d/file; touch /d/x 2>&1")
    assert said.startswith("kept\ntouch: /d/x: Read-only"), said
    assert (Path(found["Mountpoint"]) / "file").read_text() == "kept\n"
    pocker.ok("create", "--name", "user", *NONE, "-v", "data:/d", "busybox", "true")
    mounts = json.loads(pocker.ok("inspect", "user"))[0]["Mounts"]
    assert [(one["Type"], one["Name"], one["Source"], one["Destination"], one["RW"]) for one in mounts] == [
        ("volume", "data", found["Mountpoint"], "/d", True)]
    assert 'in use by user' in pocker.fails("volume", "rm", "data")
    assert json.loads(pocker.ok("inspect", "--type", "volume", "data"))[0]["Name"] == "data"
    pocker.ok("rm", "-v", "user")
    assert names(pocker) == ["data"]   # a named volume is kept
    assert pocker.ok("volume", "rm", "data") == "data" and names(pocker) == []
    assert 'no such volume: "data"' in pocker.fails("volume", "rm", "data")
    pocker.ok("volume", "rm", "-f", "data")


def test_anonymous_volumes_go_with_their_container(pocker: Pocker) -> None:
    pocker.ok("run", "--rm", *NONE, "-v", "/x", "busybox", "touch", "/x/y")
    assert names(pocker) == []
    for words, left in ((["rm"], 1), (["rm", "-v"], 1), (["rm", "-f", "-v"], 1)):
        pocker.ok("run", "--name", "it", *NONE, "-v", "/x", "busybox", "true")
        pocker.ok(*words, "it")
        assert len(names(pocker)) == left
    pocker.ok("run", "-d", "--name", "it", "--rm", *NONE, "-v", "/x", "busybox", "sleep", "1000")
    assert len(names(pocker)) == 2
    pocker.ok("stop", "-t", "0", "it")
    pocker.eventually(lambda: len(names(pocker)) == 1, "the volume is removed with its container")
    said = pocker.ok("volume", "prune")
    assert said.startswith("Deleted Volumes:\n") and names(pocker) == []


def test_a_volume_that_another_container_uses_stays(pocker: Pocker) -> None:
    pocker.ok("create", "--name", "one", *NONE, "-v", "/x", "busybox", "sh", "-c", "echo shared >/x/y")
    pocker.ok("create", "--name", "two", *NONE, "--volumes-from", "one", "busybox", "cat", "/x/y")
    pocker.ok("start", "-a", "one")
    pocker.ok("rm", "-v", "one")
    assert pocker.ok("start", "-a", "two") == "shared"
    pocker.ok("create", "--name", "three", *NONE, "--volumes-from", "two", "-v", "named:/n", "busybox", "true")
    pocker.ok("rm", "-v", "two")
    assert len(names(pocker)) == 2
    pocker.ok("rm", "-v", "three")
    assert names(pocker) == ["named"]   # the anonymous volume goes with its last user
    # A volume whose name the user has given stays, even if it was anonymous for the container that made it.
    pocker.ok("create", "--name", "one", *NONE, "-v", "/x", "busybox", "true")
    (anonymous,) = {*names(pocker)} - {"named"}
    pocker.ok("create", "--name", "two", *NONE, "-v", f"{anonymous}:/x", "busybox", "true")
    pocker.ok("rm", "-v", "one")
    pocker.ok("rm", "-v", "two")
    assert {*names(pocker)} == {"named", anonymous}
    pocker.ok("volume", "rm", "named", anonymous)


def test_volumes_from_read_only(pocker: Pocker, tmp_path: Path) -> None:
    pocker.ok("create", "--name", "one", *NONE, "-v", "named:/x", "-v", f"{tmp_path}:/y", "--tmpfs", "/z", "busybox",
              "true")
    said = run(pocker, "--volumes-from", "one:ro", "--", "touch /x/a 2>&1; touch /y/a 2>&1; ls -d /z 2>&1")
    assert said.count("Read-only") == 2 and "/z: No such" in said.replace("ls: ", "")
    assert run(pocker, "--volumes-from", "one", "-v", "other:/x", "--", "touch /x/mine; ls /x") == "mine"
    pocker.ok("rm", "one")
    pocker.ok("volume", "rm", "named", "other")


def test_files_of_the_image_are_copied_once(pocker: Pocker, filled: str) -> None:
    look = "cd /data; stat -c '%n %u %g %a %h' . file below/same; readlink link; cat link"
    first = pocker.ok("run", "--rm", *NONE, "-v", "kept:/data", filled, "sh", "-c", look).splitlines()
    assert first == [". 56 78 2750 3", "file 12 34 640 2", "below/same 12 34 640 2", "below/same", "of the image"]
    pocker.ok("run", "--rm", *NONE, "-v", "kept:/data", filled, "sh", "-c", "rm /data/file; echo mine >/data/mine")
    left = pocker.ok("run", "--rm", *NONE, "-v", "kept:/data", filled, "ls", "/data")
    assert left.split() == ["below", "link", "mine"]
    assert pocker.ok("run", "--rm", *NONE, "-v", "none:/data:nocopy", filled, "ls", "/data") == ""
    assert pocker.ok("run", "--rm", *NONE, "--mount", "src=also,dst=/data,volume-nocopy", filled, "ls", "/data") == ""
    # The image's own volume is anonymous, and is removed with its container.
    assert pocker.ok("run", "--rm", *NONE, filled, "cat", "/data/file") == "of the image"
    pocker.ok("volume", "rm", "kept", "none", "also")
    assert names(pocker) == []


def test_a_killed_copy_is_repeated(pocker: Pocker, filled: str) -> None:
    pocker.ok("volume", "create", "half")
    (pocker.root / "volumes/half/copying").touch()
    (pocker.root / "volumes/half/_data/below").mkdir()
    assert pocker.ok("run", "--rm", *NONE, "-v", "half:/data", filled, "cat", "/data/file") == "of the image"
    assert not (pocker.root / "volumes/half/copying").exists()
    pocker.ok("volume", "rm", "half")


def test_a_link_in_the_image_stays_in_the_image(pocker: Pocker, store: Path, tmp_path: Path) -> None:
    tree = _made(tmp_path / "rootfs")
    subprocess.run(["tar", "-C", tree, "-xf", next(store.parent.glob("*.tar"))], check=True)
    (tree / "data").symlink_to("/../../../../../../../../proc/1/root/etc")
    subprocess.run(["tar", "-C", tree, "-cf", tmp_path / "x.tar", "."], check=True)
    pocker.ok("import", "--cmd", "sh", tmp_path / "x.tar", "linked")
    said = pocker("run", "--rm", *NONE, "-v", "trap:/data", "linked", "ls", "/data")
    assert "shadow" not in said.stdout
    assert not list((pocker.root / "volumes/trap/_data").iterdir())
    pocker.ok("rmi", "linked")
    pocker.ok("volume", "rm", "trap")


def test_a_part_of_a_volume(pocker: Pocker) -> None:
    run(pocker, "-v", "whole:/w", "--", "mkdir -p /w/a/b; echo part >/w/a/b/file; ln -s /etc /w/trap")
    assert run(pocker, "--mount", "src=whole,dst=/p,volume-subpath=a/b", "--", "ls /p; cat /p/file") == "file\npart"
    assert run(pocker, "--mount", "src=whole,dst=/f,volume-subpath=a/b/file,ro", "--", "cat /f") == "part"
    for path in ("trap", "a/none"):
        part = f"src=whole,dst=/p,volume-subpath={path}"
        assert "of the volume" in pocker.fails("run", "--rm", *NONE, "--mount", part, "busybox", "true", status=125)
    pocker.ok("volume", "rm", "whole")


def test_a_tmpfs_volume_is_shared_while_in_use(pocker: Pocker) -> None:
    pocker.ok("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=7", "mem")
    pocker.ok("run", "-d", "--name", "first", *NONE, "-v", "mem:/m", "busybox", "sh", "-c",
              "echo here >/m/file; sleep 1000")
    pocker.eventually(lambda: pocker("exec", "first", "cat", "/m/file").stdout == "here\n", "it is written")
    assert run(pocker, "-v", "mem:/m", "--", "cat /m/file; stat -c %u /m; mount | grep -c 'size=1024k'") == "here\n7\n1"
    pocker.ok("rm", "-f", "first")
    assert run(pocker, "-v", "mem:/m", "--", "ls /m") == ""
    pocker.ok("volume", "rm", "mem")


def test_a_volume_of_a_host_directory(pocker: Pocker, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    run(pocker, "--mount", f'src=bound,dst=/b,volume-driver=local,volume-opt=type=none,volume-opt=o=bind,'
        f'volume-opt=device={tmp_path}/there', "--", "echo x >/b/file")
    assert (tmp_path / "there/file").exists()
    pocker.ok("volume", "rm", "bound")
    assert (tmp_path / "there/file").exists()   # the volume is removed, not the host directory that it is bound to
    assert "cannot mount the volume" in pocker.fails(
        "run", "--rm", *NONE, "--mount", "src=gone,dst=/b,volume-opt=type=none,volume-opt=o=bind,"
        "volume-opt=device=/nowhere/at/all", "busybox", "true", status=125)
    pocker.ok("volume", "rm", "gone")


@pytest.mark.parametrize(("words", "says"), [
    (["create", "-d", "nfsplugin", "x1"], "use local"), (["create", "-o", "size=1", "x1"], "type, o, device"),
    (["create", "-o", "o=bind", "x1"], "needs device="), (["create", "a/b"], "not a valid name"),
    (["inspect", "nobody"], "no such volume"), (["ls", "--filter", "colour=red"], "dangling, driver, label, name")])
def test_errors_of_volumes(pocker: Pocker, words: list[str], says: str) -> None:
    assert says in pocker.fails("volume", *words)


def test_filters_and_formats(pocker: Pocker) -> None:
    pocker.ok("volume", "create", "--label", "kind=a", "alpha")
    pocker.ok("volume", "create", "beta")
    pocker.ok("create", "--name", "it", *NONE, "-v", "beta:/b", "busybox", "true")
    assert pocker.ok("volume", "ls", "-q", "--filter", "label=kind=a") == "alpha"
    assert pocker.ok("volume", "ls", "-q", "--filter", "dangling=false") == "beta"
    assert pocker.ok("volume", "ls", "--filter", "name=bet", "--format", "{{.Name}} {{.Driver}}") == "beta local"
    lines = pocker.ok("volume", "ls", "--format", "json").splitlines()
    assert [json.loads(line)["Name"] for line in lines] == ["alpha", "beta"]
    assert "alpha" not in pocker.ok("volume", "prune") and names(pocker) == ["alpha", "beta"]
    assert "alpha" in pocker.ok("volume", "prune", "-a", "--filter", "label=kind") and names(pocker) == ["beta"]
    pocker.ok("rm", "it")
    pocker.ok("volume", "rm", "beta")


def test_data_outlives_kill_and_restart(pocker: Pocker) -> None:
    pocker.ok("run", "-d", "--name", "it", *NONE, "-v", "kept:/k", "busybox", "sh", "-c",
              "echo run >>/k/log; sync; sleep 1000")
    log = pocker.root / "volumes/kept/_data/log"
    pocker.eventually(log.exists, "it has begun")
    pocker.ok("kill", "it")
    pocker.ok("wait", "it")
    pocker.ok("start", "it")
    pocker.eventually(lambda: log.read_text() == "run\nrun\n", "it runs again")
    pocker.ok("rm", "-f", "it")
    assert run(pocker, "-v", "kept:/k", "--", "cat /k/log") == "run\nrun"
    pocker.ok("volume", "rm", "kept")
