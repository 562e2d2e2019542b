"""checkpoint, restore: real containers through a real CRIU; what is refused, in runc's words; CRIUs that fail."""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles.build import busybox_rootfs
from pyruntime import Runtime as Library
from pyruntime.errors import CriuError
from pyruntime.process import start_time
from tests.conftest import TOP, compile_c
from tests.criu import path_with_criu
from tests.integration.conftest import COMMAND, PATIENCE, Bundle, Leftovers, Runtime, end

# Its descriptors are the container's own: those of the fixture are of a kind (O_NOFOLLOW) that CRIU cannot open again.
QUIET = "exec </dev/null >/dev/null 2>&1; "
COUNT = QUIET + "n=0; while :; do n=$((n+1)); echo $n >/count; sleep 0.02; done"


@pytest.fixture
def criu(runtime: Runtime) -> Runtime:
    """The runtime with a CRIU in its PATH."""
    runtime.environment["PATH"] = path_with_criu()
    return runtime


@pytest.fixture
def counter(criu: Runtime, own_bundle: Bundle) -> Path:
    """A running container c1 that counts; the file that it counts in."""
    own_bundle.shell(COUNT)
    criu.ok("run", "-d", "c1", own_bundle)
    return Path(own_bundle.config["root"]["path"]) / "count"


def grows(path: Path) -> int:
    """Wait until the container writes another number than is there; the new one. What a stopped container has written
    may be cut off: the file is empty between opening and writing."""
    before, deadline = path.read_text() if path.exists() else "", time.monotonic() + PATIENCE
    while not (path.exists() and (text := path.read_text()).strip() and text != before):
        assert time.monotonic() < deadline, f"it still says {before!r}"
        time.sleep(0.005)
    return int(text)


def mountinfo(pid: int) -> dict[str, tuple[str, str]]:
    """The mounts of a process: place -> options of the mount, kind of filesystem."""
    found = {}
    for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        found[fields[4]] = (fields[5], right.split()[0])
    return found


# --- there and back --------------------------------------------------------------------------------------------------

def test_there_and_back(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    """Everything that a container can do, the one that came back can: also to be written again."""
    image, pid_file = tmp_path / "image", tmp_path / "pid"
    before = mountinfo(criu.state("c1")["pid"])
    reached = grows(counter)
    assert criu.ok("checkpoint", "--image-path", image, "c1") == ""
    assert criu("state", "c1").returncode == 1
    assert (image / "descriptors.json").exists() and (image / "dump.log").exists()

    criu.ok("restore", "--image-path", image, "-d", "--pid-file", pid_file, "--bundle", own_bundle, "c1")
    state = criu.state("c1")
    assert state["status"] == "running" and pid_file.read_text() == str(state["pid"])
    assert state["bundle"] == str(own_bundle)
    assert grows(counter) > reached
    assert mountinfo(state["pid"]) == before

    assert criu.ok("exec", "c1", "cat", "/proc/1/comm") == "sh\n"
    criu.ok("pause", "c1")
    assert criu.state("c1")["status"] == "paused"
    criu.ok("resume", "c1")
    criu.ok("update", "--pids-limit", "40", "c1")
    again = tmp_path / "again"
    criu.ok("checkpoint", "--image-path", again, "c1")
    criu.ok("restore", "--image-path", again, "-d", "--bundle", own_bundle, "c1")
    grows(counter)
    criu.ok("kill", "c1", "KILL")
    criu.await_status("c1", "stopped")
    criu.ok("delete", "c1")


def test_one_that_may_notify_a_service_manager(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """`create` showed it a directory that config.json does not have. Who restores it is no service of the manager."""
    place = tmp_path / "manager"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(place))
        criu.ok("create", "c1", own_bundle.shell(COUNT), env={"NOTIFY_SOCKET": str(place)})
        criu.ok("start", "c1")
        before = mountinfo(criu.state("c1")["pid"])
        assert "/run/notify" in before
        reached = grows(Path(own_bundle.config["root"]["path"]) / "count")
        criu.ok("checkpoint", "--image-path", tmp_path / "image", "c1")
        criu.ok("restore", "-d", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c1")
    assert grows(Path(own_bundle.config["root"]["path"]) / "count") > reached
    assert mountinfo(criu.state("c1")["pid"]) == before


def test_a_read_only_root(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """It is read-only again, and needs no /tmp."""
    (Path(own_bundle.config["root"]["path"]) / "tmp").rmdir()
    (tmp_path / "data").mkdir()
    own_bundle.add_mount("/data", "bind", str(tmp_path / "data"), "bind")
    own_bundle.shell(COUNT.replace("/count", "/data/count"), root__readonly=True)
    criu.ok("run", "-d", "c1", own_bundle)
    reached = grows(tmp_path / "data/count")
    before = mountinfo(criu.state("c1")["pid"])
    criu.ok("checkpoint", "--image-path", tmp_path / "image", "c1")
    criu.ok("restore", "-d", "--no-subreaper", "--image-path", tmp_path / "image", "-b", own_bundle, "c1")
    assert grows(tmp_path / "data/count") > reached
    assert mountinfo(criu.state("c1")["pid"]) == before
    assert "Read-only file system" in criu("exec", "c1", "touch", "/x").stderr


def test_the_words_of_containerd(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    """As go-runc calls it: options behind others, one with a single dash, and the container is its caller's child."""
    image, work = tmp_path / "image", tmp_path / "work"
    criu.ok("checkpoint", "--image-path", image, "--work-path", work, "--leave-running", "c1")
    assert (work / "dump.log").exists() and not (image / "dump.log").exists()
    grows(counter)
    criu.ok("delete", "--force", "c1")
    pid_file = tmp_path / "init.pid"
    script = ("import ctypes, os, subprocess, sys\n"
              "ctypes.CDLL(None).prctl(36, 1)\n"   # PR_SET_CHILD_SUBREAPER, as a shim has it
              "subprocess.run(sys.argv[2:], check=True)\n"
              "pid = int(open(sys.argv[1]).read())\n"
              "print(open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[1] == str(os.getpid()))\n"
              "os.kill(pid, 9)\n"
              "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n")
    words = [str(word) for word in (
        COMMAND, "--root", criu.root, "restore", "--image-path", image, "--work-path", work, "--detach", "--pid-file",
        pid_file, "--no-pivot", "-no-subreaper", "--bundle", own_bundle, "c1")]
    done = subprocess.run([sys.executable, "-c", script, pid_file, *words], text=True, check=False, timeout=PATIENCE,
                          env=criu.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert done.returncode == 0 and done.stdout.split() == ["True", "-9"]
    assert criu.state("c1")["status"] == "stopped"
    assert (work / "restore.log").exists()


def test_leave_running(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    before = criu.state("c1")["pid"]
    criu.ok("checkpoint", "--leave-running", "c1", cwd=tmp_path)
    assert (tmp_path / "checkpoint/pstree.img").exists()
    assert criu.state("c1")["status"] == "running" and criu.state("c1")["pid"] == before
    grows(counter)


def test_a_paused_container(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    criu.ok("pause", "c1")
    criu.ok("checkpoint", "--leave-running", "--image-path", tmp_path / "one", "c1")
    assert criu.state("c1")["status"] == "paused"
    criu.ok("checkpoint", "--image-path", tmp_path / "two", "c1")
    assert criu("state", "c1").returncode == 1
    criu.ok("restore", "-d", "--image-path", tmp_path / "two", "--bundle", own_bundle, "c1")
    assert criu.state("c1")["status"] == "running"
    grows(counter)


def test_in_the_foreground(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """Output to where restore's goes, the program's exit status, and nothing of the container afterwards."""
    own_bundle.shell("exec </dev/null 2>/dev/null; while [ ! -e /go ]; do sleep 0.02; done; echo back; exit 7")
    with (tmp_path / "out").open("w") as out:
        subprocess.run([COMMAND, "--root", criu.root, "run", "-d", "c1", str(own_bundle)], check=True, stdout=out,
                       stdin=subprocess.DEVNULL, env=criu.environment)
    criu.ok("checkpoint", "--image-path", tmp_path / "image", "c1")
    (Path(own_bundle.config["root"]["path"]) / "go").touch()
    done = criu("restore", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c1")
    assert done.returncode == 7 and done.stdout == "back\n", done.stderr
    assert (tmp_path / "out").read_text() == ""
    assert criu("state", "c1").returncode == 1


def test_pipes(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """Standard descriptors that are pipes become the pipes that restore is given (containerd, conmon)."""
    own_bundle.shell("while read line; do echo got $line; done")
    words: list[str | Path] = [COMMAND, "--root", criu.root]
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        subprocess.run([*words, "run", "-d", "c1", str(own_bundle)], check=True, env=criu.environment,
                       stdin=first.stdout, stdout=first.stdin, stderr=subprocess.DEVNULL)
        criu.ok("checkpoint", "--image-path", tmp_path / "image", "c1")
    given, theirs = os.pipe(), os.pipe()
    subprocess.run([*words, "restore", "-d", "--image-path", tmp_path / "image", "--bundle", str(own_bundle),
                    "c1"], check=True, env=criu.environment, stdin=given[0], stdout=theirs[1],
                   stderr=subprocess.DEVNULL)
    os.write(given[1], b"this\n")
    assert os.read(theirs[0], 100) == b"got this\n"
    for fd in (*given, *theirs):
        os.close(fd)
    criu.await_status("c1", "stopped")


def test_limits_and_place_of_the_cgroup_are_the_new_bundles(criu: Runtime, own_bundle: Bundle, counter: Path,
                                                            tmp_path: Path) -> None:
    """It is restored under another name with other limits; a sub-cgroup made inside comes along."""
    criu.ok("checkpoint", "--image-path", tmp_path / "image", "c1")
    own_bundle.save(linux__resources={"pids": {"limit": 77}, "devices": [{"allow": False, "access": "rwm"}]})
    criu.ok("restore", "-d", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c2")
    pid = criu.state("c2")["pid"]
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        assert line.endswith("/c2"), line
    stats = json.loads(criu.ok("events", "--stats", "c2"))["data"]
    assert stats["pids"]["limit"] == 77
    criu.ok("exec", "c2", "sh", "-c", "! true </dev/mem")
    assert str(pid) in criu.ok("ps", "--format", "json", "c2")


@pytest.mark.parametrize("mode", ["soft", "full", "strict", "ignore"])
def test_manage_cgroups_mode(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path, mode: str) -> None:
    criu.ok("checkpoint", "--manage-cgroups-mode", mode, "--image-path", tmp_path / "image", "c1")
    done = criu("restore", "-d", "--manage-cgroups-mode", mode, "--image-path", tmp_path / "image", "--bundle",
                own_bundle, "c1")
    if mode == "strict":   # "restore all cgroups ... and fail if a cgroup is there already" (criu(8)); ours is
        assert done.returncode == 1 and "criu failed: type RESTORE" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    for line in Path(f"/proc/{criu.state('c1')['pid']}/cgroup").read_text().splitlines():
        assert line.endswith("/c1"), line
    grows(counter)


# --- what a container may hold ---------------------------------------------------------------------------------------

def test_mounts_of_the_host(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """Bind mounts keep their sources and their attributes: two read-only ones of one filesystem (of which CRIU by
    itself makes the second writable), one below another, one beneath a tmpfs, files, recursive ones."""
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
        # As a new copy of the image, on another machine perhaps, has it: no places yet.
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
    """Its master side goes to the console socket, at the beginning and when the container comes back."""
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
def test_what_has_to_be_allowed(criu: Runtime, own_bundle: Bundle, tmp_path: Path, does: str, flag: str) -> None:
    """An open TCP connection over the container's own loopback; a file lock."""
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


def test_an_empty_network(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    """--empty-ns network: a new network namespace that the hooks fill, as Docker's do."""
    assert "LOOPBACK,UP" in criu.ok("exec", "c1", "ip", "link")
    criu.ok("checkpoint", "--empty-ns", "network", "--image-path", tmp_path / "image", "c1")
    log = tmp_path / "hooks"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat >>{log}; echo >>{log}; readlink /proc/self/cwd >>{log}"]}
    own_bundle.save(hooks={"prestart": [hook], "createRuntime": [hook], "poststop": [hook]})
    criu.ok("restore", "-d", "--empty-ns", "network", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c1")
    pid = criu.state("c1")["pid"]
    lines = log.read_text().splitlines()
    assert len(lines) == 4 and lines[1] == str(own_bundle)
    assert json.loads(lines[0]) == {"ociVersion": own_bundle.config["ociVersion"], "id": "c1", "status": "creating",
                                    "pid": pid, "bundle": str(own_bundle)}
    assert "LOOPBACK,UP" not in criu.ok("exec", "c1", "ip", "link")
    grows(counter)
    criu.ok("delete", "--force", "c1")
    assert json.loads(log.read_text().splitlines()[4])["status"] == "stopped"


def test_a_given_network_namespace(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """As in a pod: network, IPC and host name are another's, before and after."""
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
    """The container comes back in a scope of systemd's, and leaves none."""
    if not Path("/run/systemd/system").exists():
        pytest.skip("systemd is not this machine's init (tests/vm/run has one)")
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
    """CRIU's children open the sources of mounts with the rights of the container's root: so this is not below pytest's
    directory, which is closed to others."""
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


def _asked(runtime: Runtime, directory: Path, *words: object, notify: str = "", **options: Any) -> dict[str, Any]:
    """What a CRIU is asked for by a command: the options of its last request, which it says it has done."""
    requests = directory / "requests"
    fake = _script(directory / "recording/criu", f"export PYTHONPATH={TOP}\n"
                   f'exec {sys.executable} {TOP}/tests/data/fake_criu.py {requests} {notify} -- "$@"')
    done = runtime("--criu", fake, *words, **options)
    assert done.returncode == (1 if "restore" in words else 0), done.stderr
    asked = json.loads(requests.read_text().splitlines()[-1])["opts"]
    assert isinstance(asked, dict)
    return asked


@pytest.mark.parametrize(("words", "options"), [
    ([], {"leave_running": 0, "tcp_established": 0, "file_locks": 0, "shell_job": 0, "ext_unix_sk": 0, "link_remap": 0,
          "tcp_skip_in_flight": 0, "auto_dedup": 0, "lazy_pages": 0, "track_mem": 0, "manage_cgroups_mode": 3}),
    (["--leave-running"], {"leave_running": 1}), (["--tcp-established"], {"tcp_established": 1}),
    (["--tcp-skip-in-flight"], {"tcp_skip_in_flight": 1}), (["--link-remap"], {"link_remap": 1}),
    (["--ext-unix-sk"], {"ext_unix_sk": 1}), (["--shell-job"], {"shell_job": 1}), (["--file-locks"], {"file_locks": 1}),
    (["--auto-dedup"], {"auto_dedup": 1}), (["--lazy-pages"], {"lazy_pages": 1}), (["--pre-dump"], {"track_mem": 1}),
    (["--page-server", "10.0.0.1:27"], {"ps": {"address": "10.0.0.1", "port": 27}}),
    (["--page-server=[::1]:27"], {"ps": {"address": "::1", "port": 27}}),
    (["--parent-path", "../state"], {"parent_img": "../state", "track_mem": 1}),
    (["--manage-cgroups-mode", "ignore"], {"manage_cgroups_mode": 0}),
    (["--empty-ns", "network"], {"empty_ns": 0x40000000}),
])
def test_what_criu_is_asked_for(runtime: Runtime, own_bundle: Bundle, tmp_path: Path, words: list[str],
                                options: dict[str, Any]) -> None:
    """Every option of checkpoint; the container that a CRIU says it has written is deleted, except where it goes on."""
    runtime.ok("run", "-d", "c1", own_bundle.shell(COUNT))
    pid = runtime.state("c1")["pid"]
    asked = _asked(runtime, tmp_path, "checkpoint", "--image-path", tmp_path / "image", *words, "c1")
    assert {key: value for key, value in asked.items() if key in options} == options
    assert asked["pid"] == pid and asked["notify_scripts"] == 1
    stays = words in (["--leave-running"], ["--pre-dump"])
    assert runtime("state", "c1").returncode == (0 if stays else 1)


@pytest.mark.parametrize(("words", "options"), [
    ([], {"rst_sibling": 1, "tcp_established": 0, "lazy_pages": 0, "manage_cgroups_mode": 3}),
    (["--tcp-established"], {"tcp_established": 1}), (["--ext-unix-sk"], {"ext_unix_sk": 1}),
    (["--shell-job"], {"shell_job": 1}), (["--file-locks"], {"file_locks": 1}), (["--auto-dedup"], {"auto_dedup": 1}),
    (["--lazy-pages"], {"lazy_pages": 1}), (["--empty-ns", "network"], {"empty_ns": 0x40000000}),
    (["--manage-cgroups-mode", "full"], {"manage_cgroups_mode": 4}), (["--no-subreaper"], {"rst_sibling": 1}),
    (["--lsm-profile", "apparmor:other"], {"lsm_profile": "apparmor:other"}),
    (["--lsm-mount-context", "a:b:c:s0"], {"lsm_mount_context": "a:b:c:s0"}), (["--parent-path", "x"], {}),
])
def test_what_a_restore_asks_for(runtime: Runtime, own_bundle: Bundle, tmp_path: Path, words: list[str],
                                 options: dict[str, Any]) -> None:
    """Every option of restore; also where the container's things are on this host."""
    (tmp_path / "image").mkdir()
    (tmp_path / "image/descriptors.json").write_text('["/dev/pts/0","pipe:[5]","file[18:3]"]')
    own_bundle.shell(COUNT)
    asked = _asked(runtime, tmp_path, "restore", "--image-path", tmp_path / "image", *words, "-b", own_bundle, "c1")
    assert {key: value for key, value in asked.items() if key in options} == options
    assert asked["inherit_fd"] == {"key": "file[18:3]", "fd": 2} and asked["notify_scripts"] == 1
    assert asked["root"] == str(runtime.root / "c1/stage")
    assert asked["ext_mnt"]["key"] == "/dev/null"   # the last of them


def test_the_status_descriptor(runtime: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """--status-fd gets a zero byte and its end when the page server listens."""
    runtime.ok("run", "-d", "c1", own_bundle.shell(COUNT))
    ready, status = os.pipe()
    _asked(runtime, tmp_path, "checkpoint", "--lazy-pages", "--status-fd", status, "--image-path", tmp_path / "image",
           "c1", notify="pre-dump status-ready post-dump", pass_fds=[status])
    os.close(status)
    assert os.read(ready, 10) == b"\0" and os.read(ready, 10) == b""
    os.close(ready)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_memory_over_the_network(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    """--page-server: the pages go to CRIU's page server, whose directory is the image then."""
    image, port = tmp_path / "image", _free_port()
    image.mkdir()
    server = subprocess.Popen(["criu", "page-server", "--images-dir", image, "--address", "127.0.0.1", "--port",
                               str(port)], env=criu.environment)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _listens(port):
            assert time.monotonic() < deadline and server.poll() is None
            time.sleep(0.02)
        criu.ok("checkpoint", "--page-server", f"127.0.0.1:{port}", "--image-path", image, "c1")
        assert server.wait(PATIENCE) == 0 and list(image.glob("pages-*.img"))
        criu.ok("restore", "-d", "--image-path", image, "--bundle", own_bundle, "c1")
        grows(counter)
    finally:
        end(server)


def _listens(port: int) -> bool:
    # Not by connecting: the server takes one connection.
    return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
               for line in Path("/proc/net/tcp").read_text().splitlines()[1:])


def test_pre_dump(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    """The memory first and the rest later; a kernel that does not track writes is named."""
    done = criu("checkpoint", "--pre-dump", "--image-path", tmp_path / "first", "c1")
    if done.returncode:
        assert "CRIU is missing features: mem_track: this kernel does not track which pages were written" in done.stderr
        assert criu.state("c1")["status"] == "running"
        return
    grows(counter)
    criu.ok("checkpoint", "--parent-path", "../first", "--image-path", tmp_path / "second", "c1")
    criu.ok("restore", "-d", "--image-path", tmp_path / "second", "--bundle", own_bundle, "c1")
    grows(counter)


def test_a_configuration_of_criu(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """The annotation org.criu.config: its settings go over ours."""
    settings = tmp_path / "criu.conf"
    settings.write_text("log-file another.log\n")
    own_bundle.shell(COUNT, annotations={"org.criu.config": str(settings)})
    criu.ok("run", "-d", "c1", own_bundle)
    criu.ok("checkpoint", "--leave-running", "--image-path", tmp_path / "image", "c1")
    assert (tmp_path / "image/another.log").exists()
    settings.unlink()
    done = criu("checkpoint", "--image-path", tmp_path / "image", "c1")
    assert done.returncode == 1 and f'annotation org.criu.config: "{settings}" is not a file' in done.stderr


def test_the_library(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path,
                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", criu.environment["PATH"])
    library = Library(criu.root)
    with pytest.raises(CriuError) as raised:
        library.checkpoint("c1", tmp_path / "none", criu=str(_fake(tmp_path, "exit 1")))
    assert raised.value.log == str(tmp_path / "none/dump.log")
    library.checkpoint("c1", tmp_path / "image")
    assert library.restore("c1", own_bundle.path, tmp_path / "image") == 0
    pid = library.state("c1").pid
    grows(counter)
    library.delete("c1", force=True)
    assert os.waitpid(pid, 0)[0] == pid


def test_features_say_whether_there_is_criu(criu: Runtime, tmp_path: Path) -> None:
    key = "org.opencontainers.runc.checkpoint.enabled"
    assert json.loads(criu.ok("features"))["annotations"][key] == "true"
    assert json.loads(criu.ok("features", env={"PATH": str(tmp_path)}))["annotations"][key] == "false"


# --- what is refused -------------------------------------------------------------------------------------------------

def test_only_what_runs_can_be_written(criu: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    criu.ok("create", "c1", bundle.shell("true"))
    for status in ("created", "stopped"):
        done = criu("checkpoint", "--image-path", tmp_path / "image", "c1")
        assert done.returncode == 1 and f"Container cannot be checkpointed in {status} state" in done.stderr
        if status == "created":
            criu.ok("start", "c1")
            criu.await_status("c1", "stopped")
    assert not (tmp_path / "image").exists()
    done = criu("checkpoint", "nobody")
    assert done.returncode == 1 and "container does not exist" in done.stderr


@pytest.mark.parametrize(("words", "phrase"), [
    (["--parent-path", "/abs"], "--parent-path must be relative"),
    (["--parent-path", "none", "--image-path", "image"], "invalid --parent-path: stat "),
    (["--page-server", "nonsense"], "Use --page-server ADDRESS:PORT to specify page server"),
    (["--page-server", "host:99999"], "Use --page-server ADDRESS:PORT to specify page server"),
    (["--manage-cgroups-mode", "bad"], 'Invalid manage-cgroups-mode value: "bad"'),
    (["--empty-ns", "mount"], 'namespace "mount" is not supported'),
    (["--image-path", "/proc/none"], '--image-path "/proc/none"'),
    (["--work-path", "/proc/none"], '--work-path "/proc/none"'),
    (["--status-fd", "x"], "invalid value"),
])
def test_wrong_options(criu: Runtime, counter: Path, tmp_path: Path, words: list[str], phrase: str) -> None:
    done = criu("checkpoint", *words, "c1", cwd=tmp_path)
    missing = "CRIU is missing features: mem_track" if "none" in words else phrase   # no parent without tracking
    assert done.returncode == 1 and (phrase in done.stderr or missing in done.stderr), done.stderr
    assert criu.state("c1")["status"] == "running"
    grows(counter)


def test_there_is_no_criu(runtime: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    runtime.ok("run", "-d", "c1", own_bundle.shell(COUNT))
    old = _script(tmp_path / "old/criu", "echo 'Version: 3.17.1'")
    cases = [({"PATH": str(tmp_path)}, [], 'need CRIU 4.0 or later: "criu" is not in PATH; install'),
             ({}, ["--criu", "/nowhere"], 'need CRIU 4.0 or later: "/nowhere" is no program; install'),
             ({"PATH": f"{old.parent}:{os.environ['PATH']}"}, [],
              f'CRIU version 3.17.1 must be 4.0 or higher: "{old}"; install'),
             ({}, ["--criu", "/bin/true"], '"/bin/true --version" does not say a version of CRIU')]
    (tmp_path / "image").mkdir()
    (tmp_path / "image/descriptors.json").write_text("[]")
    for env, words, phrase in cases:
        for command in (["checkpoint", "--image-path", tmp_path / "image", "c1"],
                        ["restore", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c2"]):
            done = runtime(*words, *command, env=env)
            assert done.returncode == 1 and phrase in done.stderr, done.stderr
    assert runtime.state("c1")["status"] == "running"


def test_an_image_that_is_none(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    """Nothing of a container that could not be brought back is left (the fixture looks)."""
    def failed(*words: object) -> str:
        done = criu("restore", "-d", "--bundle", own_bundle, *words)
        assert done.returncode == 1, done.stdout
        return done.stderr

    assert "it holds no checkpoint" in failed("--image-path", tmp_path, "c2")
    image = tmp_path / "image"
    criu.ok("checkpoint", "--leave-running", "--image-path", image, "c1")
    assert "container with given ID already exists" in failed("--image-path", image, "c1")
    grows(counter)
    criu.ok("delete", "--force", "c1")
    core = next(image.glob("core-1.img"))
    whole = core.read_bytes()
    core.write_bytes(whole[:20])
    said = failed("--image-path", image, "c1")
    assert "criu failed: type RESTORE errno" in said and f"log file: {image}/restore.log" in said
    core.write_bytes(whole)
    (image / "descriptors.json").write_text('{"no": "list"}')
    assert "is not a list of names" in failed("--image-path", image, "c1")
    (image / "descriptors.json").write_text("[")
    assert "descriptors.json: " in failed("--image-path", image, "c1")


def test_a_mount_that_the_bundle_lacks(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    own_bundle.add_mount("/data", "bind", str(tmp_path), "bind")
    criu.ok("run", "-d", "c1", own_bundle.shell(COUNT))
    criu.ok("checkpoint", "--image-path", tmp_path / "image", "c1")
    own_bundle.config["mounts"].pop()
    done = criu("restore", "-d", "--image-path", tmp_path / "image", "--bundle", own_bundle.save(), "c1")
    assert done.returncode == 1 and "criu failed: type RESTORE errno 0: No mapping for" in done.stderr


def test_a_hook_that_fails(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    criu.ok("checkpoint", "--image-path", tmp_path / "image", "c1")
    own_bundle.save(hooks={"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "echo no; exit 3"]}]})
    done = criu("restore", "-d", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c1")
    assert done.returncode == 1 and "error running createRuntime hook #0" in done.stderr and "output: no" in done.stderr
    own_bundle.save(hooks={})
    done = criu("restore", "-d", "--image-path", tmp_path / "image", "--pid-file", "/nowhere/pid", "--bundle",
                own_bundle, "c1")
    assert done.returncode == 1 and '--pid-file "/nowhere/pid"' in done.stderr


def test_terminals_that_end_nowhere(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    criu.ok("checkpoint", "--image-path", tmp_path / "image", "c1")
    words = ["restore", "-d", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c1"]
    own_bundle.save(process__terminal=True)
    assert "cannot allocate tty if runc will detach without setting console socket" in criu(*words).stderr
    own_bundle.save(process__terminal=False)
    assert "cannot use console socket if runc will not detach or allocate tty" in criu(
        *words[:1], "--console-socket", tmp_path / "none", *words[1:]).stderr
    done = criu(*words[:1], "--lsm-mount-context", "system_u:object_r:x", "--lsm-profile", "nothing", *words[1:])
    assert done.returncode == 1 and '--lsm-profile "nothing": write apparmor:NAME' in done.stderr


def test_without_root(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    done = criu("--rootless", "true", "checkpoint", "--image-path", tmp_path / "image", "c1")
    assert done.returncode == 1 and "cannot checkpoint a rootless container" in done.stderr
    done = criu("--rootless", "true", "restore", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c2")
    assert done.returncode == 1 and "cannot restore a rootless container" in done.stderr


# --- CRIUs that fail -------------------------------------------------------------------------------------------------

def _script(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def _fake(directory: Path, swrk: str) -> Path:
    """A program that has CRIU's version, and does ``swrk`` when it is asked for something."""
    return _script(directory / "fake/criu", f'[ "$1" = swrk ] || {{ echo "Version: 4.1"; exit; }}\n{swrk}')


@pytest.mark.parametrize("swrk", ["exit 1", "kill -9 $$", "echo not a message >&3; exit 0",
                                  "head -c 1 <&3 >/dev/null; exit 0"], ids=["exits", "killed", "nonsense", "silent"])
def test_a_criu_that_dies(runtime: Runtime, own_bundle: Bundle, tmp_path: Path, swrk: str) -> None:
    """The container goes on, and nothing is left of one that was to come back."""
    runtime.ok("run", "-d", "c1", own_bundle.shell(COUNT))
    fake = _fake(tmp_path, swrk)
    done = runtime("--criu", fake, "checkpoint", "--image-path", tmp_path / "image", "c1")
    assert done.returncode == 1 and "criu failed: type DUMP" in done.stderr
    assert f"log file: {tmp_path}/image/dump.log" in done.stderr
    assert runtime.state("c1")["status"] == "running"
    grows(Path(own_bundle.config["root"]["path"]) / "count")
    done = runtime("--criu", fake, "restore", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c2")
    assert done.returncode == 1 and "criu failed: type RESTORE" in done.stderr
    assert runtime("state", "c2").returncode == 1


def test_a_criu_that_dies_when_it_has_frozen_the_container(criu: Runtime, own_bundle: Bundle, counter: Path,
                                                           tmp_path: Path) -> None:
    pid = criu.state("c1")["pid"]
    freezer = next((line.split(":")[2] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()
                    if line.split(":")[1] == "freezer"), None)
    if freezer is None:
        write = f"echo 1 >/sys/fs/cgroup{Path(f'/proc/{pid}/cgroup').read_text().split(':')[2].strip()}/cgroup.freeze"
    else:
        write = f"echo FROZEN >/sys/fs/cgroup/freezer{freezer}/freezer.state"
    fake = _fake(tmp_path, f"{write}; kill -9 $$")
    done = criu("--criu", fake, "checkpoint", "--image-path", tmp_path / "image", "c1")
    assert done.returncode == 1 and "it died before it answered" in done.stderr
    assert criu.state("c1")["status"] == "running"
    grows(counter)


def test_a_criu_that_leaves_children(runtime: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """Processes that a CRIU made before it failed stand in the container's cgroup, and are killed with it."""
    (tmp_path / "image").mkdir()
    (tmp_path / "image/descriptors.json").write_text("[]")
    own_bundle.shell(COUNT)
    fake = _fake(tmp_path, f"setsid sleep 1000 3>&- & echo $! >{tmp_path}/child; kill -9 $$")
    done = runtime("--criu", fake, "restore", "-d", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c1")
    assert done.returncode == 1
    _gone(int((tmp_path / "child").read_text()))


def _gone(pid: int) -> None:
    """Wait until a process has ended; whoever inherits a zombie may be slow to take it away."""
    deadline = time.monotonic() + PATIENCE
    while start_time(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("command", ["checkpoint", "restore"])
def test_a_criu_that_hangs(runtime: Runtime, own_bundle: Bundle, tmp_path: Path, command: str) -> None:
    """It is interrupted from the terminal: CRIU is ended, the container goes on, and what was begun is undone."""
    leftovers = Leftovers(runtime.root)
    runtime.ok("run", "-d", "c1", own_bundle.shell(COUNT))
    (tmp_path / "image").mkdir()
    (tmp_path / "image/descriptors.json").write_text("[]")
    fake = _fake(tmp_path, f"echo $$ >{tmp_path}/hanging; exec sleep 1000")
    words = {"checkpoint": ["c1"], "restore": ["-d", "--bundle", str(own_bundle), "c2"]}[command]
    process = subprocess.Popen([COMMAND, "--root", runtime.root, "--criu", fake, command, "--image-path",
                                tmp_path / "image", *words], stdin=subprocess.DEVNULL)
    hanging = tmp_path / "hanging"
    deadline = time.monotonic() + PATIENCE
    while not (hanging.exists() and hanging.read_text().strip()):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    _gone(int(hanging.read_text()))
    assert runtime.state("c1")["status"] == "running"
    grows(Path(own_bundle.config["root"]["path"]) / "count")
    runtime.ok("delete", "--force", "c1")
    leftovers.check()


@pytest.mark.parametrize("how", ["fail", "kill"])
def test_every_step_of_the_way_to_criu(runtime: Runtime, own_bundle: Bundle, tmp_path: Path, how: str) -> None:
    """Whatever step fails, or is the last one, of the plan that brings CRIU to its place: nothing is left."""
    leftovers = Leftovers(runtime.root)
    (tmp_path / "image").mkdir()
    (tmp_path / "image/descriptors.json").write_text("[]")
    own_bundle.shell(COUNT)
    fake = _fake(tmp_path, "exit 0")
    words = ["--criu", fake, "restore", "-d", "--image-path", tmp_path / "image", "--bundle", own_bundle, "c1"]
    number = 0
    while "criu failed: type RESTORE" not in (
            said := runtime(*words, env={"PYRUNTIME_FAULT": f"{how}:{number}"}).stderr):
        if how == "fail":
            assert f"step {number + 1} of " in said
        else:   # the stub, or the runtime itself
            assert "the stub died" in said or not said, said
            runtime.ok("delete", "--force", "c1")
        leftovers.check()
        number += 1
    assert number > 40   # past the last step
    leftovers.check()


def test_a_work_directory_behind_a_link(criu: Runtime, own_bundle: Bundle, counter: Path, tmp_path: Path) -> None:
    """As containerd has it; CRIU mounts there, so it must not be led out of its mount namespace."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "work").symlink_to(tmp_path / "elsewhere")
    criu.ok("checkpoint", "--image-path", tmp_path / "image", "--work-path", tmp_path / "work", "c1")
    criu.ok("restore", "-d", "--image-path", tmp_path / "image", "--work-path", tmp_path / "work", "--bundle",
            own_bundle, "c1")
    grows(counter)


def test_a_host_whose_mounts_are_shared(criu: Runtime, own_bundle: Bundle, tmp_path: Path) -> None:
    """As systemd makes them: what the root and the volumes hear of the host is as before."""
    for name in ("slave", "shared", "private"):
        (tmp_path / name).mkdir()
        own_bundle.add_mount(f"/{name}", "bind", str(tmp_path / name), "rbind", f"r{name}")
    count = Path(own_bundle.config["root"]["path"]) / "count"
    own_bundle.config["root"]["readonly"] = True
    own_bundle.shell(COUNT.replace("/count", "/slave/count"))
    count = tmp_path / "slave/count"
    for propagation in ("", "rslave", "shared", "private"):
        if propagation:
            own_bundle.save(linux__rootfsPropagation=propagation)
        image = tmp_path / f"image-{propagation}"
        call = f"{COMMAND} --root {criu.root}"
        show = ("awk '{print $5, $6, $7 ~ /^shared/, $7 $8 ~ /master/}'"
                f" /proc/$({call} ps --format json c1 | tr -d '[]' | cut -d, -f1)/mountinfo | sort")
        script = (f"mount --make-rshared / && {call} run -d c1 {own_bundle} && {show} >{tmp_path}/before &&"
                  f" sleep 0.2 && {call} checkpoint --image-path {image} c1 &&"
                  f" {call} restore -d --image-path {image} --bundle {own_bundle} c1 && {show} >{tmp_path}/after")
        done = subprocess.run(["unshare", "--mount", "sh", "-c", script], env=criu.environment, check=False, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert done.returncode == 0, (propagation, done.stderr)
        before = (tmp_path / "before").read_text()
        assert before and (tmp_path / "after").read_text() == before, propagation
        grows(count)
        criu.ok("delete", "--force", "c1")


# --- beside runc -----------------------------------------------------------------------------------------------------

@pytest.fixture
def runc(criu: Runtime, tmp_path: Path) -> Iterator[Any]:
    """Calls runc, with a state directory of its own."""
    def call(*words: object) -> subprocess.CompletedProcess[str]:
        with (tmp_path / "runc.out").open("w+") as out:
            done = subprocess.run(["runc", "--root", str(tmp_path / "runc"), *map(str, words)], text=True, check=False,
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=criu.environment,
                                  timeout=PATIENCE)
            out.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, out.read(), "")
    yield call
    call("delete", "--force", "c1")


def test_what_runc_wrote(criu: Runtime, own_bundle: Bundle, runc: Any, tmp_path: Path) -> None:
    """An image of runc's comes back under pyruntime, and one of ours under runc."""
    own_bundle.config["ociVersion"] = "1.0.2"
    own_bundle.shell(COUNT)
    count = Path(own_bundle.config["root"]["path"]) / "count"
    image = tmp_path / "image"
    done = runc("run", "-d", "--bundle", own_bundle, "c1")
    assert done.returncode == 0, done.stdout
    reached = grows(count)
    done = runc("checkpoint", "--image-path", image, "c1")
    if done.returncode:
        pytest.skip(f"runc itself cannot: {done.stdout.strip()}")
    criu.ok("restore", "-d", "--image-path", image, "--bundle", own_bundle, "c1")
    again = grows(count)
    assert again > reached
    criu.ok("checkpoint", "--image-path", tmp_path / "ours", "c1")
    done = runc("restore", "-d", "--image-path", tmp_path / "ours", "--bundle", own_bundle, "c1")
    assert done.returncode == 0, done.stdout
    assert grows(count) > again
