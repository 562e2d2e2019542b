"""What the flags of `run` and `create` do to a container."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands import BIN
from tests.pocker.integration.command import Pocker

NONE = ("--network", "none")


def run(pocker: Pocker, *words: object) -> str:
    """The output of a container: flags, then "--", then a line for its shell, whose commands may fail."""
    place = words.index("--")
    return pocker.ok("run", "--rm", *NONE, *words[:place], "busybox", "sh", "-c", f"{words[place + 1]}; true")


def configuration(pocker: Pocker, *words: object) -> dict[str, Any]:
    """The config.json of a container with these flags."""
    pocker.ok("run", "-d", "--name", "it", *words, "busybox", "sleep", "1000")
    value = json.loads((pocker.directory("it") / "config.json").read_text())
    assert isinstance(value, dict)
    pocker.ok("rm", "-f", "-v", "it")
    return value


def cgroup(pocker: Pocker, name: str, controller: str, file: str, modern: str) -> str:
    """A file of the cgroup of a container that runs."""
    container = os.readlink(pocker.root / "names" / name)
    if controller:
        old = Path(f"/sys/fs/cgroup/{controller}/pocker-{container}/{file}")
        if old.exists():
            return old.read_text().strip()
    pid = pocker.run_file(name)["pid"]
    own = Path(f"/proc/{pid}/cgroup").read_text().rpartition("0::")[2].strip()
    return Path(f"/sys/fs/cgroup{own}/{modern}").read_text().strip()


# --- the process ------------------------------------------------------------------------------------------------------


def test_environment(pocker: Pocker, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("FROM_FILE=1\nMINE\n")
    said = pocker.ok("run", "--rm", *NONE, "--env-file", file, "-e", "A=b c", "-eMINE", "-h", "box", "busybox", "env",
                     env={"MINE": "here"}).splitlines()
    assert {"FROM_FILE=1", "MINE=here", "A=b c", "HOSTNAME=box", "HOME=/root"} <= set(said)
    assert any(line.startswith("PATH=/usr/local/sbin:") for line in said)
    assert not any(line.startswith("TERM=") for line in said)


def test_names_of_the_container(pocker: Pocker) -> None:
    said = run(pocker, "-h", "box", "--domainname", "example.org", "--",
               "hostname; cat /etc/hostname /proc/sys/kernel/domainname; grep -c localhost /etc/hosts")
    assert said.split() == ["box", "box", "example.org", "2"]
    pocker.ok("create", "--name", "it", *NONE, "busybox", "hostname")
    assert pocker.ok("start", "-a", "it") == os.readlink(pocker.root / "names" / "it")[:12]


def test_user_groups_and_directory(pocker: Pocker) -> None:
    said = run(pocker, "-u", "1000:2000", "--group-add", "5", "--group-add", "6", "-w", "/tmp", "--",
               "id -u; id -G; pwd")
    uid, groups, directory = said.splitlines()
    assert (uid, sorted(groups.split()), directory) == ("1000", ["2000", "5", "6"], "/tmp")
    assert "no group" in pocker.fails("run", "--rm", *NONE, "--group-add", "nobody-knows", "busybox", "true",
                                      status=125)


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Iterator[str]:
    """An image whose users have groups, made of the busybox image: alice has 50 and 10 beside her own 1100."""
    path = tmp_path_factory.mktemp("grouped")
    made = Pocker(path, store)
    (path / "Dockerfile").write_text(
        "FROM busybox\n"
        "RUN echo alice:x:1100:1100::/home/alice:/bin/sh >>/etc/passwd && echo bob:x:1101:1100::/:/bin/sh >>/etc/passwd"
        " && echo alice:x:1100:alice >>/etc/group && echo staff:x:50:alice,alice >>/etc/group"
        " && echo wheel:x:10:root,alice >>/etc/group && touch /denied && chown 0:1100 /denied && chmod 604 /denied\n"
        "USER alice\nRUN id -G >/tmp/alice\nUSER 5:6\nRUN id -G >/tmp/numbers\nUSER root\n")
    made.ok("build", "--network", "none", "-t", "grouped", path)
    yield "grouped"
    made.ok("rmi", "grouped")
    made.clear()
    made.check()


def groups(said: str) -> list[int]:
    """The supplementary groups that the kernel knows a process to have, as /proc/PID/status lists them."""
    return [int(word) for word in said.removeprefix("Groups:").split()]


@pytest.mark.parametrize(("user", "expected"), [
    ("", [0, 10]), ("alice", [10, 50, 1100]), ("1100", [10, 50, 1100]), ("bob", [1100]), ("alice:staff", [50]),
    ("1100:1100", [1100]), ("5000:6000", [6000]), ("5000", [0])])
def test_supplementary_groups(user: str, expected: list[int], pocker: Pocker, grouped: str) -> None:
    """CVE-2022-36109, -2989, -2990, CVE-2023-25173: the primary group is among them, else a program that changes its
    primary group gets at files that are denied to that group. Each comes once; numeric users have those of /etc/group;
    an exec has its own user's and not those of the container's user."""
    flags = ["-u", user] if user else []
    look = ["grep", "Groups", "/proc/self/status"]
    assert groups(pocker.ok("run", "--rm", *NONE, *flags, grouped, *look)) == expected
    pocker.ok("run", "-d", "--name", "it", *NONE, "-u", "root", "--group-add", "7", grouped, "sleep", "1000")
    if user:
        assert groups(pocker.ok("exec", *flags, "it", *look)) == sorted([*expected, 7])
    assert groups(pocker.ok("exec", "it", *look)) == [0, 7, 10]
    pocker.ok("rm", "-f", "it")


def test_a_group_that_is_denied_access_stays_denied(pocker: Pocker, grouped: str) -> None:
    for user in ("alice", "1100:1100", "bob"):
        assert "Permission denied" in pocker.fails("run", "--rm", *NONE, "-u", user, grouped, "cat", "/denied"), user
    said = pocker.ok("run", "--rm", *NONE, grouped, "cat", "/tmp/alice", "/tmp/numbers").splitlines()
    assert [sorted(map(int, line.split())) for line in said] == [[10, 50, 1100], [6]], "of RUN in a build"


def test_entrypoint(pocker: Pocker) -> None:
    assert pocker.ok("run", "--rm", *NONE, "--entrypoint", "echo", "busybox", "a", "b") == "a b"
    assert "declares no command" in pocker.fails("run", "--rm", *NONE, "--entrypoint", "", "busybox", status=125)


def test_a_cidfile(pocker: Pocker, tmp_path: Path) -> None:
    container = pocker.ok("create", "--cidfile", tmp_path / "id", *NONE, "busybox", "true")
    assert (tmp_path / "id").read_text() == container
    assert "--cidfile" in pocker.fails("create", "--cidfile", tmp_path / "id", *NONE, "busybox", "true")
    assert "--cidfile" in pocker.fails("create", "--cidfile", tmp_path / "no" / "id", *NONE, "busybox", "true")
    assert pocker.ok("ps", "-aq").split() == [container[:12]]


def test_init_reaps_orphans_and_forwards_signals(pocker: Pocker) -> None:
    said = run(pocker, "--init", "--", "echo $$; (sleep 0.1 & ) ; sleep 0.5; grep -c Z /proc/[0-9]*/stat | grep -c :1;"
               " cat /proc/1/comm; true").splitlines()
    assert said[0] != "1" and said[1] == "0" and said[2].endswith("pocker-init"), said
    pocker.ok("run", "-d", "--name", "it", "--init", *NONE, "busybox", "sh", "-c",
              "trap 'echo got it; exit 7' TERM; echo ready; while :; do sleep 0.05; done")
    pocker.eventually(lambda: "ready" in pocker.ok("logs", "it"), "the trap is set")
    pocker.ok("stop", "it")
    assert pocker.ok("wait", "it") == "7" and "got it" in pocker.ok("logs", "it")


@pytest.mark.parametrize(("words", "status"), [
    (["sh", "-c", "exit 9"], 9), (["sh", "-c", "kill -9 $$"], 137), (["/no/such/program"], 127), (["/etc"], 126)])
def test_status_by_init(pocker: Pocker, words: list[str], status: int) -> None:
    pocker.fails("run", "--rm", "--init", *NONE, "busybox", *words, status=status)


# --- what it may do ---------------------------------------------------------------------------------------------------


def capabilities(said: str) -> set[str]:
    from pyruntime.system.uapi import ALL_CAPABILITIES

    bits = int(said.rsplit(maxsplit=1)[-1], 16)
    return {name for number, name in enumerate(ALL_CAPABILITIES) if bits >> number & 1}


def test_capabilities(pocker: Pocker) -> None:
    from pyruntime.images.runtime_config import CAPABILITIES

    look = "grep CapEff /proc/self/status"
    assert capabilities(run(pocker, "--", look)) == set(CAPABILITIES)
    assert capabilities(run(pocker, "--cap-drop", "ALL", "--cap-add", "net_admin", "--", look)) == {"CAP_NET_ADMIN"}
    assert capabilities(run(pocker, "--cap-drop", "CHOWN", "--", look)) == set(CAPABILITIES) - {"CAP_CHOWN"}
    everything = capabilities(run(pocker, "--cap-add", "ALL", "--cap-drop", "SYS_ADMIN", "--", look))
    assert "CAP_NET_ADMIN" in everything and "CAP_SYS_ADMIN" not in everything


def test_the_default_filter_at_work(pocker: Pocker) -> None:
    assert run(pocker, "--", "grep Seccomp: /proc/self/status").split() == ["Seccomp:", "2"]
    # The kernel lets all users create user namespaces, the seccomp filter does not.
    look = "busybox unshare -U true 2>&1 && echo made"
    assert "not permitted" in run(pocker, "--", look)
    assert "not permitted" in run(pocker, "--privileged", "--security-opt", "seccomp=builtin", "--",
                                  "busybox swapon /etc/passwd 2>&1")
    assert run(pocker, "--security-opt", "seccomp=unconfined", "--", f"grep Seccomp: /proc/self/status; {look}").split(
        ) == ["Seccomp:", "0", "made"]


def test_a_filter_of_ones_own(pocker: Pocker, tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    file.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}))
    pocker.ok("create", "--name", "it", *NONE, "--security-opt", f"seccomp={file}", "busybox", "mkdir", "/x")
    file.unlink()   # the container keeps the value that it was created with
    assert "No space left" in pocker.fails("start", "-a", "it")


def test_security_options(pocker: Pocker) -> None:
    assert run(pocker, "--security-opt", "no-new-privileges", "--", "grep NoNewPrivs /proc/self/status").endswith("1")
    assert run(pocker, "--", "grep NoNewPrivs /proc/self/status").endswith("0")
    look = "wc -c </proc/keys; echo 0 >/proc/sys/vm/stat_interval && echo written"
    assert "written" not in pocker("run", "--rm", *NONE, "busybox", "sh", "-c", look).stdout
    found = configuration(pocker, *NONE, "--security-opt", "systempaths=unconfined")["linux"]
    assert found["maskedPaths"] == [] and found["readonlyPaths"] == []
    found = configuration(pocker, *NONE, "--security-opt", "mask=/etc/a:/etc/b", "--security-opt", "unmask=/proc/keys",
                          "--security-opt", "unmask=/proc/sys")["linux"]
    assert {"/etc/a", "/etc/b"} <= set(found["maskedPaths"]) and "/proc/keys" not in found["maskedPaths"]
    assert "/proc/sys" not in found["readonlyPaths"] and "/proc/bus" in found["readonlyPaths"]


def test_paths_of_the_host_are_masked(pocker: Pocker) -> None:
    said = run(pocker, "--", "cat /proc/keys /proc/timer_list /proc/interrupts | wc -c; ls /sys/firmware | wc -l;"
               " touch /sys/x /sys/fs/cgroup/x 2>&1; (echo 60 >/proc/sys/vm/swappiness) 2>&1")
    lines = said.splitlines()
    assert lines[:2] == ["0", "0"] and all("Read-only" in line for line in lines[2:5]), said


def test_privileged(pocker: Pocker) -> None:
    from pyruntime.pocker.containers.capabilities import known

    said = run(pocker, "--privileged", "--",
               "grep -E 'CapEff|Seccomp:' /proc/self/status; test -c /dev/kmsg && echo dev;"
               " mount -t tmpfs x /tmp && echo mounted; mount | grep -c '^sysfs.*rw'")
    lines = said.splitlines()
    assert capabilities(lines[0]) == set(known())
    assert lines[1].split() == ["Seccomp:", "0"] and "mounted" in lines and lines[-1] == "1"
    assert ("dev" in lines) == os.path.exists("/dev/kmsg")


def test_read_only(pocker: Pocker) -> None:
    said = run(pocker, "--read-only", "--tmpfs", "/tmp", "--", "touch /x 2>&1; touch /tmp/x && echo fine;"
               " touch /etc/hosts 2>&1")
    assert said.count("Read-only file system") == 2 and "fine" in said


# --- namespaces -------------------------------------------------------------------------------------------------------


def namespace(kind: str) -> str:
    return os.readlink(f"/proc/self/ns/{kind}")


@pytest.mark.parametrize(("flag", "kind"), [("ipc", "ipc"), ("pid", "pid"), ("uts", "uts"), ("cgroupns", "cgroup"),
                                            ("network", "net")])
def test_namespaces_of_the_host(pocker: Pocker, flag: str, kind: str) -> None:
    words = [] if flag == "network" else NONE
    assert pocker.ok("run", "--rm", *words, f"--{flag}", "host", "busybox", "readlink",
                     f"/proc/self/ns/{kind}") == namespace(kind)


def test_namespaces_of_its_own(pocker: Pocker) -> None:
    kinds = ["ipc", "pid", "uts", "net", "mnt", "cgroup"]
    said = run(pocker, "--cgroupns", "private", "--", f"for k in {' '.join(kinds)}; do readlink /proc/self/ns/$k; done")
    assert not set(said.split()) & {namespace(kind) for kind in kinds}


def test_namespaces_of_another_container(pocker: Pocker) -> None:
    pocker.ok("run", "-d", "--name", "other", "-h", "otherbox", "--ipc", "shareable", *NONE, "busybox", "sh", "-c",
              "echo hello >/dev/shm/word; for k in ipc pid uts net; do readlink /proc/self/ns/$k; done; sleep 1000")
    pocker.eventually(lambda: pocker.ok("logs", "other").count("\n") == 3, "the container has printed its namespaces")
    look = "for k in ipc pid uts net; do readlink /proc/self/ns/$k; done; cat /dev/shm/word; hostname;" \
           " cat /etc/hostname"
    said = pocker.ok("run", "--rm", "--ipc", "container:other", "--pid", "container:other", "--uts", "container:other",
                     "--network", "container:other", "busybox", "sh", "-c", look)
    assert said.split("\n") == [*pocker.ok("logs", "other").split("\n"), "hello", "otherbox", "otherbox"]
    pocker.ok("run", "-d", "--name", "closed", *NONE, "busybox", "sleep", "1000")
    assert "ipc shareable" in pocker.fails("run", "--rm", *NONE, "--ipc", "container:closed", "busybox", "true",
                                             status=125)
    pocker.ok("stop", "-t", "0", "other")
    assert "is not running" in pocker.fails("run", "--rm", *NONE, "--pid", "container:other", "busybox", "true",
                                          status=125)
    assert "no such container" in pocker.fails("run", "--rm", *NONE, "--pid", "container:none", "busybox", "true",
                                               status=125)


def test_shared_memory(pocker: Pocker) -> None:
    assert "size=8192k" in run(pocker, "--shm-size", "8m", "--", "mount | grep /dev/shm")
    assert run(pocker, "--ipc", "none", "--", "mount | grep -c /dev/shm; true") == "0"
    assert run(pocker, "--ipc", "host", "--", "stat -c %d /dev/shm") == str(os.stat("/dev/shm").st_dev)


@pytest.fixture
def ranges() -> Iterator[Path]:
    """A directory that all users may search, and an /etc/subuid to mount over that of the host."""
    path = Path(tempfile.mkdtemp(prefix="pocker-userns-"))
    path.chmod(0o755)
    (path / "subuid").write_text("pocker:1000000:131072\nsomebody:3000000:1000\nsomebody:4000000:70000\n")
    yield path
    shutil.rmtree(path)


def in_range(pocker: Pocker, ranges: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a pocker command that sees the ID ranges of ``ranges``."""
    script = "mount --make-rprivate / && for f in /etc/subuid /etc/subgid; do [ -e $f ] || touch $f;" \
             " mount --bind \"$0\" $f || exit 99; done; exec \"$@\""
    return subprocess.run(["unshare", "-m", "sh", "-c", script, str(ranges / "subuid"),
                           str(BIN / "pocker"), *map(str, words)], check=False,
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, env=pocker.environment, timeout=120)


def test_user_namespaces(store: Path, ranges: Path) -> None:
    pocker = Pocker(ranges, store)
    look = "cat /proc/self/uid_map; touch /new /data/new; stat -c '%u %n' /bin /new /data/new /etc/hosts;" \
           " echo x >/etc/hosts"
    pocker.ok("volume", "create", "data")
    for words, lines in ((["auto"], ["0 1000000 65536"]), (["somebody"], ["0 3000000 1000", "1000 4000000 70000"])):
        done = in_range(pocker, ranges, "run", "--rm", *NONE, "--userns", *words, "-v", "data:/data", "busybox", "sh",
                        "-c", look)
        said = [" ".join(line.split()) for line in done.stdout.splitlines()]
        assert said == [*lines, "0 /bin", "0 /new", "0 /data/new", "0 /etc/hosts"], (done.stdout, done.stderr)
        assert done.returncode == 0, done.stderr
    # Files in a volume are stored with the container's IDs: the next container is mapped to other host IDs.
    assert (pocker.root / "volumes/data/_data/new").stat().st_uid == 0
    first = in_range(pocker, ranges, "run", "-d", "--name", "a1", *NONE, "--userns", "auto", "busybox", "sleep", "1000")
    assert first.returncode == 0, first.stderr
    auto = (*NONE, "--userns", "auto", "busybox", "true")
    assert in_range(pocker, ranges, "create", "--name", "b1", *auto).returncode == 0
    ids = [json.loads((pocker.directory(name) / "container.json").read_text())["settings"]["ids"]["uids"]
           for name in ("a1", "b1")]
    assert ids == [["0 1000000 65536"], ["0 1065536 65536"]]
    third = in_range(pocker, ranges, "create", *auto)
    assert third.returncode == 1 and "all 2 ranges of 65536 IDs are in use" in third.stderr
    pocker.ok("rm", "b1")
    assert in_range(pocker, ranges, "create", "--name", "c1", *auto).returncode == 0
    assert in_range(pocker, ranges, "restart", "-t", "0", "a1").returncode == 0
    pocker.clear()
    assert not [name for name in os.listdir(pocker.root / "ids") if name != ".lock"]
    pocker.check()


def test_parameters_of_the_kernel_are_the_containers_own(pocker: Pocker) -> None:
    """--sysctl neither creates a private network namespace with --network host nor changes the host's parameters."""
    assert "without a private network namespace" in pocker.fails(
        "run", "--rm", "--network", "host", "--sysctl", "net.ipv4.tcp_fin_timeout=61", "busybox", "true", status=125)
    assert pocker.ok("run", "--rm", "--network", "host", "--sysctl", "kernel.shmmni=4000", "busybox", "readlink",
                     "/proc/self/ns/net") == namespace("net")


@pytest.mark.parametrize("driver", ["overlay", "copy"])
def test_set_user_id_programs_of_a_user_namespace_are_out_of_reach(store: Path, ranges: Path, driver: str) -> None:
    """The container's IDs are stored on disk: its set-user-ID program would run as the host's root for every user who
    can reach the file."""
    pocker = Pocker(ranges, store)
    made = in_range(pocker, ranges, "--storage-driver", driver, "run", "-d", "--name", "it", *NONE, "--userns", "auto",
                    "busybox", "sh", "-c", "cp /bin/busybox /suid && chmod 4755 /suid && echo made; exec sleep 1000")
    assert made.returncode == 0, made.stderr
    pocker.eventually(lambda: pocker.ok("logs", "it") == "made", "the program is made")
    there = [path for path in pocker.directory("it").rglob("suid") if path.is_file()]
    assert there and all(path.stat().st_mode & 0o4000 for path in there)
    for path in there:
        with pytest.raises(PermissionError):
            subprocess.run([path], check=False, user=65534, group=65534, extra_groups=[], timeout=60)
    assert "A /suid" in pocker.ok("diff", "it").splitlines()
    assert in_range(pocker, ranges, "restart", "-t", "0", "it").returncode == 0
    pocker.eventually(lambda: pocker.ok("logs", "it").split() == ["made", "made"], "the container has started again")
    assert pocker.ok("exec", "it", "stat", "-c", "%u", "/suid", "/bin").split() == ["0", "0"]
    assert in_range(pocker, ranges, "cp", "it:/suid", ranges / "suid").returncode == 0
    assert (ranges / "suid").stat().st_mode & 0o7777 == 0o755
    pocker.clear()
    pocker.check()


def test_userns_of_strangers(pocker: Pocker) -> None:
    assert "--privileged and --userns" in pocker.fails("run", "--rm", "--privileged", "--userns", "auto", *NONE,
                                                       "busybox", "true", status=125)
    assert namespace("user") == run(pocker, "--userns", "host", "--", "readlink /proc/self/ns/user")


# --- limits -----------------------------------------------------------------------------------------------------------


def test_limits(pocker: Pocker) -> None:
    pocker.ok("run", "-d", "--name", "it", *NONE, "-m", "64m", "--memory-reservation", "32m", "--cpus", "0.5",
              "--cpu-shares", "512", "--cpuset-cpus", "0", "--pids-limit", "50", "--ulimit", "nofile=100:200",
              "--oom-score-adj", "500", "--sysctl", "net.ipv4.ip_forward=1", "--stop-timeout", "1", "busybox", "sh",
              "-c", "ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_forward; sleep 1000")
    pocker.eventually(lambda: pocker.ok("logs", "it").count("\n") == 3, "the container has printed its namespaces")
    assert pocker.ok("logs", "it").split() == ["100", "200", "500", "1"]
    assert cgroup(pocker, "it", "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert cgroup(pocker, "it", "pids", "pids.max", "pids.max") == "50"
    assert cgroup(pocker, "it", "cpuset", "cpuset.cpus", "cpuset.cpus") == "0"
    if os.path.exists("/sys/fs/cgroup/cpu"):
        assert cgroup(pocker, "it", "cpu", "cpu.shares", "") == "512"
        assert cgroup(pocker, "it", "cpu", "cpu.cfs_quota_us", "") == "50000"
        if os.path.exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"):
            assert cgroup(pocker, "it", "memory", "memory.memsw.limit_in_bytes", "") == str(128 << 20)
    else:
        assert cgroup(pocker, "it", "", "", "cpu.max") == "50000 100000"


def test_a_program_over_its_memory_limit_is_killed(pocker: Pocker) -> None:
    pocker.fails("run", "--name", "it", *NONE, "--mem", "16m", "--memory-swap", "16m", "busybox", "sh", "-c",
                 "x=$(head -c 60000000 /dev/zero | tr '\\0' x); echo never", status=137)
    assert json.loads(pocker.ok("inspect", "it"))[0]["State"]["OOMKilled"] is True


def test_a_program_over_its_pids_limit_cannot_fork(pocker: Pocker) -> None:
    said = pocker("run", "--rm", *NONE, "--pids", "5", "busybox", "sh", "-c",
                  "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; true")
    assert "fork" in said.stderr, said


# --- devices ----------------------------------------------------------------------------------------------------------


def test_devices(pocker: Pocker, tmp_path: Path) -> None:
    assert run(pocker, "--device", "/dev/null:/dev/nothing", "--", "stat -c '%F %t:%T' /dev/nothing") == (
        "character special file 1:3")
    (tmp_path / "dev").mkdir()
    os.mknod(tmp_path / "dev" / "a", 0o600 | 0o020000, os.makedev(1, 5))
    os.mknod(tmp_path / "dev" / "b", 0o600 | 0o020000, os.makedev(1, 9))
    assert run(pocker, "--device", f"{tmp_path}/dev:/dev/some:r", "--", "ls /dev/some; head -c2 /dev/some/a | wc -c"
               ).split() == ["a", "b", "2"]
    assert "the directory contains no devices" in pocker.fails("run", "--rm", *NONE, "--device", "/proc/sys/vm",
                                                               "busybox", "true", status=125)
    found = configuration(pocker, *NONE, "--device", "/dev/null:r", "--device-cgroup-rule", "c 188:* rwm")
    assert found["linux"]["resources"]["devices"][-2:] == [
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"},
        {"allow": True, "type": "c", "major": 188, "access": "rwm"}]


def test_devices_of_cdi(pocker: Pocker, tmp_path: Path) -> None:
    (tmp_path / "cdi").mkdir()
    (tmp_path / "note").write_text("from the vendor\n")
    kind = {"cdiVersion": "0.6.0", "containerEdits": {"env": ["VENDOR=yes"]}}
    edits = {"deviceNodes": [{"path": "/dev/thing0", "hostPath": "/dev/null"}],
             "mounts": [{"hostPath": str(tmp_path / "note"), "containerPath": "/note"}]}
    for vendor in ("vendor.com/thing", "nvidia.com/gpu"):
        (tmp_path / "cdi" / f"{vendor.replace('/', '-')}.json").write_text(json.dumps(
            {**kind, "kind": vendor, "devices": [{"name": "all", "containerEdits": edits}]}))
    for words in (["--device", "vendor.com/thing=all"], ["--gpus", "all"]):
        said = pocker.ok("run", "--rm", *NONE, *words, "busybox", "sh", "-c",
                         "echo $VENDOR; cat /note; echo >/dev/thing0", env={"POCKER_CDI": str(tmp_path / "cdi")})
        assert said.split("\n") == ["yes", "from the vendor"]
    assert "vendor.com/thing=two" in pocker.fails("run", "--rm", *NONE, "--device", "vendor.com/thing=two", "busybox",
                                                  "true", env={"POCKER_CDI": str(tmp_path / "cdi")}, status=125)


# --- files ------------------------------------------------------------------------------------------------------------


def test_binds(pocker: Pocker, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "file").write_text("word\n")
    said = run(pocker, "-v", f"{tmp_path}/here:/rw", "-v", f"{tmp_path}/here/file:/file:ro", "-v",
               f"{tmp_path}/made/deep:/made", "--mount", f"type=bind,src={tmp_path}/here,dst=/ro,readonly", "--",
               "cat /file /rw/file /ro/file; echo new >/rw/new; touch /made/x; touch /ro/x /file 2>&1")
    assert said.count("word") == 3 and said.count("Read-only") == 2, said
    assert (tmp_path / "here" / "new").read_text() == "new\n" and (tmp_path / "made/deep/x").exists()
    assert not (tmp_path / "here/x").exists()


def test_mounts_below_a_read_only_bind_are_read_only(pocker: Pocker, tmp_path: Path) -> None:
    (tmp_path / "top" / "below").mkdir(parents=True)
    script = 'mount --make-rprivate / && mount -t tmpfs x "$0/below" && exec "$@"'
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, str(tmp_path / "top"),
                           str(BIN / "pocker"), "run", "--rm", *NONE, "-v",
                           f"{tmp_path}/top:/t:ro", "busybox", "sh", "-c", "touch /t/x; touch /t/below/x"],
                          capture_output=True, text=True, check=False, env=pocker.environment, timeout=120)
    assert done.stderr.count("Read-only file system") == 2, done.stderr


def test_propagation(pocker: Pocker, tmp_path: Path) -> None:
    """In both directions, in a mount namespace that stands in for the host."""
    (tmp_path / "shared").mkdir()
    script = """
        set -e; mount --make-rprivate /; mount -t tmpfs x "$0"; mount --make-shared "$0"; mkdir "$0/a" "$0/b"
        "$1" run --rm --network none --cap-add SYS_ADMIN --security-opt apparmor=unconfined -v "$0:/s:rshared" busybox \
            sh -c 'mount -t tmpfs y /s/a && touch /s/a/inside'
        ls "$0/a"
        "$1" run -d --name it --network none -v "$0:/s:rslave" busybox sleep 1000 >/dev/null
        mount -t tmpfs z "$0/b"; touch "$0/b/outside"; "$1" exec it ls /s/b; "$1" rm -f it >/dev/null"""
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, str(tmp_path / "shared"),
                           str(BIN / "pocker")], capture_output=True, text=True, check=False,
                          env=pocker.environment, timeout=120, stdin=subprocess.DEVNULL)
    assert done.stdout.split() == ["inside", "outside"], done.stderr
    done = subprocess.run(["unshare", "-m", "sh", "-c", 'mount --make-rprivate / && exec "$@"', "-",
                           str(BIN / "pocker"), "run", "--rm", *NONE, "-v",
                           "/proc/self/ns:/s:rshared", "busybox", "true"], capture_output=True, text=True, check=False,
                          env=pocker.environment, timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == 125 and "not shared" in done.stderr, done.stderr


def test_home_is_that_of_the_user(pocker: Pocker) -> None:
    pocker.ok("run", "-d", "--name", "plain", *NONE, "busybox", "sh", "-c",
              "echo 'u:x:1234:1234::/home/u:' >>/etc/passwd; echo made; sleep 100")
    while "made" not in pocker.ok("logs", "plain"):
        pass
    told = ["plain", "sh", "-c", "echo $HOME"]
    for user, home in (("u", "/home/u"), ("1234", "/home/u"), ("4711", "/"), ("root", "/root")):
        assert pocker.ok("exec", "-u", user, *told) == home
    assert pocker.ok("exec", *told) == "/root"
    assert pocker.ok("exec", "-u", "u", "-e", "HOME=/asked", *told) == "/asked"
    pocker.ok("run", "-d", "--name", "given", *NONE, "-e", "HOME=/given", "busybox", "sleep", "100")
    assert pocker.ok("exec", "-u", "1000", "given", *told[1:]) == "/given"


def test_a_tmpfs_on_a_new_mount_point_is_world_writable(pocker: Pocker) -> None:
    pocker.ok("run", "--name", "tt", *NONE, "--user", "1000", "--tmpfs", "/new/x", "--mount", "type=tmpfs,dst=/new/y",
              "busybox", "sh", "-c", "stat -c %a /new/x /new/y; touch /new/x/f /new/y/f")
    assert pocker.ok("start", "-a", "tt") == "1777\n1777"   # the mount points are there by now


def test_tmpfs(pocker: Pocker) -> None:
    said = run(pocker, "--tmpfs", "/t:size=1m,mode=700,exec", "--mount", "type=tmpfs,dst=/u,tmpfs-size=2m", "--",
               "mount | grep -E ' /[tu] '; stat -c %a /t /u")
    lines = [*sorted(said.splitlines()[:2]), *said.splitlines()[2:]]
    assert "size=1024k" in lines[0] and "noexec" not in lines[0] and "nosuid" in lines[0]
    assert "size=2048k" in lines[1] and "noexec" in lines[1] and lines[2:] == ["700", "1777"]


def test_a_bind_mount_replaces_a_default_file(pocker: Pocker, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("10.0.0.1 mine\n")
    assert run(pocker, "-v", f"{tmp_path}/hosts:/etc/hosts", "--", "cat /etc/hosts") == "10.0.0.1 mine"


def test_annotations_and_cgroup_parent(pocker: Pocker) -> None:
    found = configuration(pocker, *NONE, "--annotation", "a=b", "--cgroup-parent", "pocker/below")
    assert found["annotations"] == {"a": "b"}
    assert found["linux"]["cgroupsPath"].startswith("/pocker/below/")
    for path in Path("/sys/fs/cgroup").glob("*/pocker/below"):
        path.rmdir()


# --- where it ends ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [
    ["-v", "/proc/nowhere/x:/x"], ["-u", "nobody-knows"], ["--cpuset-cpus", "999"], ["--device", "/dev/nowhere"],
    ["--volumes-from", "nobody"], ["--pull", "sometimes"], ["--network", "container:nobody"]])
def test_nothing_is_left_of_a_container_that_cannot_be(pocker: Pocker, words: list[str]) -> None:
    network = [] if "--network" in words else NONE
    said = pocker.fails("run", "--rm", "-v", "/anonymous", *network, *words, "busybox", "true", status=125)
    assert said.startswith("error: ") and pocker.ok("ps", "-aq") == "" and pocker.ok("volume", "ls", "-q") == ""


def test_the_umask_is_not_the_caller_s(pocker: Pocker) -> None:
    pocker.ok("run", "-d", "--name", "it", *NONE, "busybox", "sh", "-c", "umask > /u; sleep 1000", umask=0o077)
    pocker.eventually(lambda: pocker.ok("exec", "it", "cat", "/u") == "0022", "the container has another umask")
    assert pocker.ok("exec", "it", "sh", "-c", "umask", umask=0o077) == "0022"


def test_the_last_variable_of_a_name_wins(pocker: Pocker, tmp_path: Path) -> None:
    """Later sources override earlier ones: the image's ENV, --env-file, --env, exec's --env; ENV over ARG in RUN."""
    entries = "exec 3</proc/self/environ; tr '\\0' '\\n' <&3 | grep ^A="
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(
        f"FROM busybox\nARG A=argument\nENV A=first\nENV A=image\nRUN {entries} >/seen\n")
    pocker.ok("build", "-q", "-t", "variables", "--network", "none", context)
    assert pocker.ok("run", "--rm", "--network", "none", "variables", "sh", "-c", f"cat /seen; {entries}"
                     ) == "A=image\nA=image"
    (tmp_path / "file").write_text("A=file\n")
    pocker.ok("run", "-d", "--name", "box", "--network", "none", "--env-file", tmp_path / "file", "-e", "A=flag",
              "-e", "A=run", "variables", "sleep", "1000")
    assert pocker.ok("exec", "box", "sh", "-c", entries) == "A=run"
    assert pocker.ok("exec", "-e", "A=one", "-e", "A=exec", "box", "sh", "-c", entries) == "A=exec"
    assert "A=run" in pocker.ok("inspect", "-f", "{{.Config.Env}}", "box")
    assert "A=image" not in pocker.ok("inspect", "-f", "{{.Config.Env}}", "box")
