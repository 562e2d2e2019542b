"""Processes that enter a pid namespace, as seen by a container with CAP_SYS_PTRACE in it.

CVE-2016-9962, CVE-2024-21626 and their class: /proc/PID/fd/N/... and /proc/PID/root lead to the files of that process.
The capability overrides PR_SET_DUMPABLE, so the process must never have anything open that leads to the host.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pyruntime
from bundles.build import busybox_rootfs
from tests.commands import COMMAND
from tests.conftest import TOP, compile_c
from tests.containers import Bundle, Runtime

CAPABILITIES = ["CAP_SYS_PTRACE", "CAP_KILL", "CAP_DAC_OVERRIDE", "CAP_SYS_CHROOT"]
ROUNDS = 1000


@pytest.fixture(scope="session")
def lookout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_c(tmp_path_factory.mktemp("lookout") / "lookout", [TOP / "tests/native/lookout.c"], "-static", "-O2")


class Watch:
    """A container that inspects every other process."""

    def __init__(self, runtime: Runtime, bundle: Bundle, lookout: Path) -> None:
        self.runtime = runtime
        self.bundle = bundle
        self.rootfs = Path(bundle.config["root"]["path"])
        self._said = bundle.path / "said"
        shutil.copy(lookout, self.rootfs / "bin/lookout")

    def start(self, **changes: Any) -> pyruntime.Runtime:
        process = self.bundle.config["process"]
        process["capabilities"] = {kind: CAPABILITIES for kind in ("bounding", "effective", "permitted")}
        self.bundle.save(process__args=["lookout", "/stop"], **changes)
        with self._said.open("wb") as out:
            subprocess.run([COMMAND, "--root", self.runtime.root, "run", "--detach", "--bundle", self.bundle.path,
                            "watched"], stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=True, timeout=60)
        return pyruntime.Runtime(self.runtime.root)

    def end(self) -> tuple[str, int]:
        """The links that led to the host, and the number of inspected processes."""
        (self.rootfs / "stop").touch()
        self.runtime.await_status("watched", "stopped")
        said = self._said.read_text()
        found = re.search(r"^seen (\d+) processes, \d+ links\n", said, re.MULTILINE)
        assert said.startswith("looking\n") and found, said
        return said[len("looking\n"):found.start()], int(found.group(1))


@pytest.fixture
def watch(runtime: Runtime, tmp_path: Path, lookout: Path) -> Iterator[Watch]:
    # Below a directory with search permission for a user namespace.
    with tempfile.TemporaryDirectory(prefix="pyruntime-watch-") as name:
        os.chmod(name, 0o755)
        busybox_rootfs(Path(name, "rootfs"))
        bundle = Bundle(tmp_path / "bundle", Path(name, "rootfs"))
        bundle.config["root"]["readonly"] = False
        yield Watch(runtime, bundle, lookout)


def _execute(library: pyruntime.Runtime, rounds: int, **options: Any) -> None:
    """Run programs in the container, one after another, with streams that are not files of the host."""
    kept = [os.dup(fd) for fd in (0, 1, 2)]
    reader, writer = os.pipe()
    try:
        for fd in (0, 1, 2):
            os.dup2(reader if fd == 0 else writer, fd)
        for _ in range(rounds):
            pid = library.exec("watched", ["true"], detach=True, **options)
            os.waitpid(pid, 0)
    finally:
        for fd, copy in enumerate(kept):
            os.dup2(copy, fd)
        for fd in (*kept, reader, writer):
            os.close(fd)


def _prove(watch: Watch, least: int) -> None:
    leads, seen = watch.end()
    assert seen >= least, f"only {seen} processes were caught at it: this proves nothing"
    assert leads == ""


def test_exec_a_thousand_times(watch: Watch) -> None:
    library = watch.start()
    _execute(library, ROUNDS)
    _prove(watch, ROUNDS // 10)


def test_exec_as_a_user_elsewhere(watch: Watch) -> None:
    library = watch.start()
    _execute(library, 200, user="1000:1000", cwd="/tmp")
    _prove(watch, 20)


def test_exec_into_a_container_that_shares_the_hosts_mounts(watch: Watch) -> None:
    """Without a mount namespace the root is changed by chroot(2), before the process becomes visible."""
    config = watch.bundle.config
    config["linux"]["namespaces"] = [{"type": kind} for kind in ("pid", "ipc", "uts", "network")]
    config["linux"]["maskedPaths"] = config["linux"]["readonlyPaths"] = []
    config["mounts"] = []
    library = watch.start()
    # The container sees only its own pid namespace, through a procfs mounted on the host; the mounting process also
    # enters the namespace, so the procfs is passed to the container afterwards.
    aside = watch.bundle.path / "proc"
    aside.mkdir()
    subprocess.run(["nsenter", "--target", str(library.state("watched").pid), "--pid", "mount", "-t", "proc", "proc",
                    aside], check=True)
    subprocess.run(["mount", "--bind", aside, watch.rootfs / "proc"], check=True)
    try:
        _execute(library, 200)
    finally:
        for place in (watch.rootfs / "proc", aside):
            subprocess.run(["umount", "--lazy", place], check=True)
    _prove(watch, 20)


def test_exec_into_a_user_namespace(watch: Watch) -> None:
    linux = watch.bundle.config["linux"]
    linux["namespaces"].append({"type": "user"})
    linux["uidMappings"] = linux["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    subprocess.run(["chown", "-R", "100000:100000", watch.rootfs], check=True)
    library = watch.start()
    _execute(library, 200)
    _prove(watch, 20)


def _beside(watch: Watch, tmp_path: Path, users: bool) -> Bundle:
    """The bundle of a container that joins the pid namespace of the watching one, with everything that needs
    descriptors: cgroup namespace, hooks, terminal."""
    linux = watch.bundle.config["linux"]
    if users:
        linux["namespaces"].append({"type": "user"})
        linux["uidMappings"] = linux["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        subprocess.run(["chown", "-R", "100000:100000", watch.rootfs], check=True)
    library = watch.start()
    pid = library.state("watched").pid
    beside = Bundle(tmp_path / "beside", watch.rootfs)
    shared = ("pid", "user") if users else ("pid",)
    namespaces = [entry for entry in beside.config["linux"]["namespaces"] if entry["type"] not in (*shared, "cgroup")]
    beside.config["linux"]["namespaces"] = [*namespaces, {"type": "cgroup"}, *(
        {"type": kind, "path": f"/proc/{pid}/ns/{kind}"} for kind in shared)]
    beside.config["linux"]["sysctl"] = {"net.ipv4.ping_group_range": "0 0"}
    beside.config["hooks"] = {"createRuntime": [{"path": "/bin/true"}]}
    beside.shell("test $$ -gt 1 && tty && exit 7", process__terminal=True)
    return beside


@pytest.mark.parametrize("users", [False, True], ids=["same users", "user namespace"])
def test_containers_that_join_its_pid_namespace(watch: Watch, tmp_path: Path, users: bool) -> None:
    """A pod with shared processes (`--pid container:NAME`): `create` sets up the whole container, and the other
    container sees nothing before the root has changed."""
    beside = _beside(watch, tmp_path, users)
    for number in range(40):
        done = watch.runtime("run", "--bundle", beside, f"beside-{number}")
        assert (done.returncode, "/dev/pts/0" in done.stdout) == (7, True), done.stderr + done.stdout
    _prove(watch, 10)


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace, which delays system calls")
@pytest.mark.parametrize("when", ["enter", "exit"])
def test_the_process_that_creates_procfs_inside_is_slow(watch: Watch, tmp_path: Path, when: str) -> None:
    """It enters the pid namespace, where the other container has the time to open what it has open."""
    beside = _beside(watch, tmp_path, False)
    command = [str(watch.runtime.command), "--root", str(watch.runtime.root), "run", "--bundle", str(beside), "beside"]
    # Among others its only message to the stub.
    delay = f"inject=sendmsg,fsmount:delay_{when}=100000"
    with (tmp_path / "out").open("w") as out:
        done = subprocess.run(["strace", "-qq", "-f", "-o", tmp_path / "trace", "-e", "trace=fsmount,sendmsg",
                               "-e", delay, *command], stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False,
                              timeout=60)
    assert done.returncode == 7, (tmp_path / "out").read_text()
    assert "DELAYED" in (tmp_path / "trace").read_text()
    _prove(watch, 10)
