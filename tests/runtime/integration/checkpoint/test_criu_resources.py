"""checkpoint, restore: the resources of a container."""

from __future__ import annotations

import array
import json
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from bundles.build import busybox_rootfs
from tests.conftest import TOP, compile_c
from tests.containers import PATIENCE, Bundle, Runtime, end
from tests.runtime.integration.checkpoint.checkpointed import COUNT, QUIET, grows, mountinfo


def test_mounts_of_the_host(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """Bind mounts keep their sources and their attributes: two read-only mounts of one filesystem (of which CRIU by
    itself makes the second writable), a mount below another, a mount beneath a tmpfs, files, recursive mounts."""
    for name in ("one", "two", "three", "three/deep"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(f"{name}\n")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path / "three/deep"], check=True)
    try:
        (tmp_path / "three/deep/inner").write_text("inner\n")
        own_bundle.add_mount("/one", "bind", str(tmp_path / "one"), "bind", "ro")
        own_bundle.add_mount("/two", "bind", str(tmp_path / "two"), "bind", "ro", "nosuid")
        own_bundle.add_mount("/three", "bind", str(tmp_path / "three"), "rbind")
        own_bundle.add_mount("/three/below", "bind", str(tmp_path / "two"), "bind", "ro")
        own_bundle.add_mount("/dev/below", "bind", str(tmp_path / "one/file"), "bind", "ro")
        own_bundle.add_mount("/etc/hosts", "bind", str(tmp_path / "two/file"), "bind", "ro")
        own_bundle.shell(f"exec 3</one/file; echo kept >/dev/shm/kept; {COUNT}")
        criu.ok("run", "-d", "c1", own_bundle)
        grows(Path(own_bundle.config["root"]["path"]) / "count")
        before = mountinfo(criu.state("c1")["pid"])
        criu.ok("checkpoint", "--image-path", tmp_path / "image", "c1")
        # Like a new copy of the image, perhaps on another host: no mount points yet.
        rootfs = Path(own_bundle.config["root"]["path"])
        for name in ("one", "two", "three"):
            (rootfs / name).rmdir()
        (rootfs / "etc/hosts").unlink()
        criu.ok("restore", "-d", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c1")
        assert mountinfo(criu.state("c1")["pid"]) == before
        assert criu.ok("exec", "c1", "cat", "/one/file", "/three/below/file", "/dev/below", "/etc/hosts",
                       "/three/deep/inner", "/dev/shm/kept") == "one\ntwo\none\ntwo\ninner\nkept\n"
        for place in ("/one", "/two", "/three/below"):
            assert "Read-only file system" in criu("exec", "c1", "touch", f"{place}/x").stderr
        criu.ok("exec", "c1", "touch", "/three/x")
        assert not (rootfs / "dev/below").exists()
        criu.ok("delete", "--force", "c1")
    finally:
        subprocess.run(["umount", tmp_path / "three/deep"], check=True)


def test_a_terminal(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """The master end is sent to the console socket, at the start and when the container is restored."""
    own_bundle.shell("while read line; do echo got $line; done", process__terminal=True)
    first = _with_terminal(criu, tmp_path, "run", "-d", "c1", own_bundle)
    _say(first, b"one\n", b"got one")
    criu.ok("checkpoint", "--image-path", tmp_path / "image", "c1")
    os.close(first)
    second = _with_terminal(criu, tmp_path, "restore", "-d", "--image-path", tmp_path / "image", "--bundle", own_bundle,
                            "c1")
    _say(second, b"two\n", b"got two")
    assert "/dev/console" in mountinfo(criu.state("c1")["pid"])
    os.close(second)
    criu.await_status("c1", "stopped")


def _with_terminal(runtime: Runtime, directory: Path, command: str, *words: object) -> int:
    path = directory / "console.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        server.settimeout(PATIENCE)
        runtime.ok(command, "--console-socket", path, *words)
        with server.accept()[0] as connection:
            fds = array.array("i", [0])
            name, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4))
            assert name
            fds.frombytes(ancillary[0][2])
            return fds[1]


def _say(master: int, text: bytes, answer: bytes) -> None:
    os.write(master, text)
    seen = b""
    while answer not in seen:
        seen += os.read(master, 4096)


@pytest.mark.parametrize(("does", "flag"), [("talk", "--tcp-established"), ("lock", "--file-locks")])
def test_connections_and_file_locks_need_their_option(criu: Runtime, own_bundle: Bundle, tmp_path: Path, does: str,
                                                      flag: str) -> None:
    """An open TCP connection over the container's own loopback interface; a file lock."""
    rootfs = Path(own_bundle.config["root"]["path"])
    compile_c(rootfs / "bin/checkpointed", [TOP / "tests/native/checkpointed.c"], "-static")
    own_bundle.shell(QUIET + f"exec checkpointed {does} /count")
    criu.ok("run", "-d", "c1", own_bundle)
    grows(rootfs / "count")
    done = criu("checkpoint", "--image-path", tmp_path / "no", "c1")
    assert done.returncode == 1 and "criu failed: type DUMP errno" in done.stderr, done.stderr
    assert f"log file: {tmp_path}/no/dump.log" in done.stderr and flag.strip("-") in done.stderr, done.stderr
    assert criu.state("c1")["status"] == "running"
    reached = grows(rootfs / "count")
    criu.ok("checkpoint", flag, "--image-path", tmp_path / "image", "c1")
    criu.ok("restore", "-d", flag, "--image-path", tmp_path / "image", "--bundle", own_bundle, "c1")
    assert grows(rootfs / "count") > reached
    assert does == "talk" or criu("exec", "c1", "checkpointed", "lock", "/count").returncode == 1


def test_a_deleted_file_that_is_open(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    own_bundle.shell("echo ghost >/gone; exec 9</gone; rm /gone; " + COUNT)
    criu.ok("run", "-d", "c1", own_bundle)
    grows(Path(own_bundle.config["root"]["path"]) / "count")
    criu.ok("checkpoint", "--link-remap", "--image-path", tmp_path / "image", "c1")
    criu.ok("restore", "-d", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c1")
    assert criu.ok("exec", "c1", "cat", "/proc/1/fd/9") == "ghost\n"


@pytest.mark.parametrize("words", [[], ["--empty-ns", "network"]])
def test_a_network_is_restored_empty(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path,
                                     words: list[str]) -> None:
    """A new network namespace that hooks set up, as with Docker: their devices could not be created twice."""
    pid = criu.state("c1")["pid"]
    inside = ["nsenter", "--net", "--target", str(pid), "ip", "link"]
    subprocess.run([*inside, "add", "eth0", "type", "veth", "peer", "peer0"], check=True)
    assert "LOOPBACK,UP" in criu.ok("exec", "c1", "ip", "link")
    criu.ok("checkpoint", *words, "--image-path", tmp_path / "image", "c1")
    log = tmp_path / "hooks"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat >>{log}; echo >>{log}; readlink /proc/self/cwd >>{log}"]}
    own_bundle.save(hooks={"prestart": [hook], "createRuntime": [hook], "poststop": [hook]})
    criu.ok("restore", "-d", *words, "--image-path", tmp_path / "image", "--bundle", own_bundle, "c1")
    pid = criu.state("c1")["pid"]
    lines = log.read_text().splitlines()
    assert len(lines) == 4 and lines[1] == str(own_bundle)
    assert json.loads(lines[0]) == {"ociVersion": own_bundle.config["ociVersion"], "id": "c1", "status": "creating",
                                    "pid": pid, "bundle": str(own_bundle)}
    links = criu.ok("exec", "c1", "ip", "link")
    assert "LOOPBACK,UP" in links and "eth0" not in links
    grows(counter)
    criu.ok("delete", "--force", "c1")
    assert json.loads(log.read_text().splitlines()[4])["status"] == "stopped"


def test_a_joined_network_namespace_is_joined_again(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """As in a pod: network, IPC and host name are those of another process, before and after."""
    ready = tmp_path / "ready"
    holder = subprocess.Popen(["unshare", "--net", "--ipc", "--uts", "sh", "-c",
                               f"hostname pod; echo yes >{ready}; exec sleep 1000"])
    try:
        deadline = time.monotonic() + PATIENCE
        while not ready.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for node in own_bundle.config["linux"]["namespaces"]:
            name = {"network": "net", "ipc": "ipc", "uts": "uts"}.get(node["type"])
            if name:
                node["path"] = f"/proc/{holder.pid}/ns/{name}"
        del own_bundle.config["hostname"]
        own_bundle.shell(COUNT)
        criu.ok("run", "-d", "c1", own_bundle)
        grows(Path(own_bundle.config["root"]["path"]) / "count")
        criu.ok("checkpoint", "--image-path", tmp_path / "image", "c1")
        criu.ok("restore", "-d", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c1")
        for name in ("net", "ipc", "uts"):
            assert os.readlink(f"/proc/{criu.state('c1')['pid']}/ns/{name}") == os.readlink(
                f"/proc/{holder.pid}/ns/{name}"), name
        criu.ok("delete", "--force", "c1")
    finally:
        end(holder)


def test_a_cgroup_namespace(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """The container sees its cgroup as the root, before and after."""
    own_bundle.config["linux"]["namespaces"].append({"type": "cgroup"})
    own_bundle.shell(COUNT)
    criu.ok("run", "-d", "c1", own_bundle)
    count = Path(own_bundle.config["root"]["path"]) / "count"
    reached = grows(count)
    before = criu.ok("exec", "c1", "sh", "-c", "cat /proc/self/cgroup; ls /sys/fs/cgroup")
    criu.ok("checkpoint", "--image-path", tmp_path / "image", "c1")
    criu.ok("restore", "-d", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c1")
    assert grows(count) > reached
    assert criu.ok("exec", "c1", "sh", "-c", "cat /proc/self/cgroup; ls /sys/fs/cgroup") == before
    for line in Path(f"/proc/{criu.state('c1')['pid']}/cgroup").read_text().splitlines():
        assert line.endswith("/c1"), line


def test_with_systemd(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """The container is restored in a systemd scope, and leaves no scope behind."""
    if not Path("/run/systemd/system").exists():
        pytest.skip("systemd is not the host's init (tests/vm/run has it)")
    unit = f"pyruntime-{os.getpid()}.scope"
    own_bundle.shell(COUNT, linux__cgroupsPath=f"system.slice:pyruntime:{os.getpid()}")
    criu.ok("--systemd-cgroup", "run", "-d", "c1", own_bundle)
    count = Path(own_bundle.config["root"]["path"]) / "count"
    reached = grows(count)
    criu.ok("checkpoint", "--image-path", tmp_path / "image", "c1")
    criu.ok("--systemd-cgroup", "restore", "-d", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c1")
    assert grows(count) > reached
    assert f"system.slice/{unit}" in Path(f"/proc/{criu.state('c1')['pid']}/cgroup").read_text()
    assert subprocess.run(["systemctl", "is-active", "-q", unit], check=False).returncode == 0
    criu.ok("delete", "--force", "c1")
    assert subprocess.run(["systemctl", "is-active", "-q", unit], check=False).returncode != 0


def test_a_user_namespace(criu: Runtime) -> None:
    """CRIU's children open the sources of mounts with the permissions of the container's root: so this is not below
    pytest's directory, which other users cannot enter."""
    with tempfile.TemporaryDirectory(prefix="pyruntime-userns-") as name:
        top = Path(name)
        top.chmod(0o755)
        busybox_rootfs(top / "rootfs")
        os.chown(top / "rootfs", 100000, 100000)
        bundle = Bundle(top / "bundle", top / "rootfs")
        bundle.config["root"]["readonly"] = False
        ids = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        bundle.config["linux"]["namespaces"].append({"type": "user"})
        bundle.shell(COUNT, linux__uidMappings=ids, linux__gidMappings=ids)
        criu.ok("run", "-d", "c1", bundle)
        reached = grows(top / "rootfs/count")
        before = mountinfo(criu.state("c1")["pid"])
        criu.ok("checkpoint", "--image-path", top / "image", "c1")
        assert (top / "image").stat().st_mode & 0o777 == 0o700
        criu.ok("restore", "-d", "--image-path", top / "image", "--bundle", bundle, "c1")
        assert grows(top / "rootfs/count") > reached
        pid = criu.state("c1")["pid"]
        assert Path(f"/proc/{pid}/uid_map").read_text().split() == ["0", "100000", "65536"]
        assert mountinfo(pid) == before
        assert criu.ok("exec", "c1", "id", "-u") == "0\n"
        criu.ok("delete", "--force", "c1")
