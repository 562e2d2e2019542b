"""Containers on the real kernel: a root filesystem, a runtime, and a check for leftovers."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles.build import build, busybox_rootfs
from pyruntime.runtime.cgroups.host import Hierarchy, discover
from pyruntime.runtime.config.template import template
from tests.commands import COMMAND

PATIENCE = 60
# For a shell of root in a mount namespace of its own: `reachable DIRECTORY...` lets every user reach the interpreter
# and the package, which may be below /root. The directories of the machine stay below $hidden.
REACHABLE = """
reachable() {
    for place; do
        mkdir -p "$hidden$place"; mount --bind "$place" "$hidden$place"
    done
    mount -t tmpfs -o mode=755 tmpfs /root
    for place; do
        mkdir -p "$place"; mount --bind "$hidden$place" "$place"
    done
}
"""
NEED_ROOT = {"integration", "security"}
# Modules, and tests of other modules: those with a fixture of the runtime run twice, with the front and with the front
# switched off.
BOTH_WAYS = {f"runtime/integration/test_{name}" for name in (
    "foreground.py", "killed.py", "lifecycle.py", "pause.py", "ps.py", "restricted_hosts.py", "state_directory.py",
    "faults.py::test_every_process_is_killed", "faults.py::test_the_runtime_is_killed_at_every_step")}


def needs_root(item: pytest.Item) -> bool:
    return bool(NEED_ROOT.intersection(item.path.parts))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    module = "/".join(Path(str(metafunc.module.__file__)).parts[-3:])
    if "front" in metafunc.fixturenames and {module, f"{module}::{metafunc.function.__name__}"} & BOTH_WAYS:
        metafunc.parametrize("front", ["on", "off"], ids=["front", "python"], indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for item in items:
        if needs_root(item):
            item.add_marker(pytest.mark.skip(reason="needs root: containers with cgroups, mounts and device nodes"))


def mounts(below: str) -> set[str]:
    """Mount points of this mount namespace below the directory of all tests, where every root filesystem is."""
    points = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    return {point for point in points if point.startswith(below)}


def cgroups() -> set[str]:
    """Every cgroup directory below those of this test run."""
    return {directory for top in OWN_CGROUPS for directory, _, _ in os.walk(top)}


OWN_CGROUPS: list[str] = []


@pytest.fixture(scope="session", autouse=True)
def own_cgroup(request: pytest.FixtureRequest) -> Iterator[None]:
    """Move this process into its own cgroup in every hierarchy: containers without a cgroupsPath are created below
    that cgroup (v1) or beside it (v2), separate from everything else on the host."""
    if os.geteuid() != 0 or not any(map(needs_root, request.session.items)):
        yield
        return
    name = f"pyruntime-tests-{os.getpid()}"
    _remove_those_of_killed_sessions()
    home = []
    for hierarchy in discover().all():
        top = _above(hierarchy) / name
        inner = top / "run" if hierarchy.version == 2 else top
        if hierarchy.key == "cpuset":
            for file in ("cpuset.cpus", "cpuset.mems"):
                inner.mkdir(exist_ok=True)
                (inner / file).write_text((top.parent / file).read_text())
        inner.mkdir(parents=True, exist_ok=True)
        home.append((hierarchy.mountpoint + hierarchy.own, inner, top))
        (inner / "cgroup.procs").write_text(str(os.getpid()))
        OWN_CGROUPS.append(str(top))
    yield
    OWN_CGROUPS.clear()
    for old, inner, top in home:
        Path(old, "cgroup.procs").write_text(str(os.getpid()))
        for path in (inner, top):
            _remove(path)


def _above(hierarchy: Hierarchy) -> Path:
    """The cgroup of this process, or for v2, where it may have no sub-cgroups besides, the one above."""
    own = hierarchy.own.rstrip("/")
    return Path(hierarchy.mountpoint + (own.rpartition("/")[0] if hierarchy.version == 2 else own))


def _remove_those_of_killed_sessions() -> None:
    """Their names have the pids of these sessions. Cgroups that still have processes stay, and can be looked at."""
    places = {*map(_above, discover().all()), *Path("/sys/fs/cgroup").iterdir()}
    for top in (top for path in places for top in path.glob("*-*")):
        name = re.match(r"(?:pyruntime-tests|pyruntime-clients|shim-tests)-(\d+)", top.name)
        if name and not Path("/proc", name[1]).exists():
            for path in sorted(top.rglob("*/"), reverse=True):
                _try_remove(path)
            _try_remove(top)


def _try_remove(cgroup: Path) -> None:
    with contextlib.suppress(OSError):   # it has processes, or another session was faster
        cgroup.rmdir()


def _remove(cgroup: Path) -> None:
    """A killed process leaves its cgroup only when it has exited; systemd removes empty v1 cgroups by itself."""
    deadline = time.monotonic() + 60
    while cgroup.exists():
        try:
            cgroup.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                groups = (cgroup, *cgroup.rglob("*/"))
                left = {str(path): (path / "cgroup.procs").read_text().split() for path in groups}
                pytest.fail(f"cgroups are left, with these processes: {left}")
            time.sleep(0.05)


def processes(below: str) -> set[int]:
    """Processes that are the stub or init (their program is a sealed memfd) and whose root or working directory is
    the host's or that of a test; other containers may run on the host."""
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                program = os.readlink(f"/proc/{entry}/exe")
            except OSError:
                continue
            if program.startswith("/memfd:pyruntime") and _ours(entry, below):
                found.add(int(entry))
    return found


def _ours(pid: str, below: str) -> bool:
    try:
        groups = Path(f"/proc/{pid}/cgroup").read_text()
        return re.search(rf"/pyruntime-tests-{os.getpid()}(/|$)", groups, re.MULTILINE) is not None or os.readlink(
            f"/proc/{pid}/root").startswith(below)
    except OSError:
        return False   # the process has exited meanwhile


class Leftovers:
    """The state before the test; ``check`` fails if anything was added."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.below = f"{root.parent.parent}/"
        self.before = (mounts(self.below), cgroups(), processes(self.below))

    def found(self) -> list[str]:
        now = (mounts(self.below), cgroups(), processes(self.below))
        extra = [f"mount {item}" for item in sorted(now[0] - self.before[0])]
        extra += [f"cgroup {item}" for item in sorted(now[1] - self.before[1])]
        extra += [f"process {item}" for item in sorted(now[2] - self.before[2])]
        if self.root.is_dir():
            extra += [f"state {path}" for path in self.root.iterdir() if not path.name.startswith(".")]
        return extra

    def check(self) -> None:
        deadline = time.monotonic() + 5   # a killed process takes a moment to exit
        while (extra := self.found()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not extra, "left behind: " + ", ".join(extra)


class Runtime:
    """The command line, with a separate state directory."""

    def __init__(self, root: Path, command: Path = COMMAND) -> None:
        self.root = root
        self.command = command
        self.environment = dict(os.environ)

    def __call__(self, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        options.setdefault("stdin", subprocess.DEVNULL)
        environment = {**self.environment, **options.pop("env", {})}
        command = [self.command, "--root", self.root, *words]
        # Files, not pipes: a detached container keeps them open, and reading a pipe would wait for it.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.run([str(word) for word in command], env=environment, timeout=PATIENCE, stdout=out,
                                     stderr=err, check=False, **options)
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode("utf-8", "surrogateescape"))
        done = subprocess.CompletedProcess(process.args, process.returncode, *texts)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def ok(self, *words: object, **options: Any) -> str:
        done = self(*words, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def state(self, name: str) -> dict[str, Any]:
        value = json.loads(self.ok("state", name))
        assert isinstance(value, dict)
        return value

    def await_status(self, name: str, status: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.state(name)["status"] != status:
            assert time.monotonic() < deadline, f"{name} never became {status}"
            time.sleep(0.02)


class Bundle:
    """A bundle whose config.json is edited directly: ``bundle.config[...] = ...; bundle.save()``."""

    def __init__(self, path: Path, rootfs: Path) -> None:
        self.path = path
        self.config = template(rootless=False, uid=0, gid=0, unified=False)
        self.config["process"]["terminal"] = False
        self.config["root"]["path"] = str(rootfs)
        # The host may not permit raising hard limits.
        self.config["process"]["rlimits"] = []
        path.mkdir(parents=True, exist_ok=True)

    def __str__(self) -> str:
        return str(self.path)

    def save(self, **changes: Any) -> Bundle:
        """Write config.json; ``changes`` are dotted paths with __ for the dot: process__args=[...]."""
        for name, value in changes.items():
            *parents, last = name.split("__")
            place = self.config
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = value
        (self.path / "config.json").write_text(json.dumps(self.config))
        return self

    def shell(self, script: str, **changes: Any) -> Bundle:
        """The same, with a shell script as the program."""
        return self.save(process__args=["sh", "-c", script], **changes)

    def add_mount(self, destination: str, kind: str, source: str, *options: str, **more: Any) -> None:
        self.config["mounts"].append({"destination": destination, "type": kind, "source": source,
                                      "options": list(options), **more})

    def in_user_namespace(self) -> None:
        """Give the root filesystem to the root of a user namespace, and add such a namespace to the container."""
        subprocess.run(["chown", "-R", "100000:100000", self.path / "rootfs"], check=True)
        for path in (self.path, *list(self.path.parents)[:3]):
            path.chmod(0o755)
        ids = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        self.config["linux"].update(uidMappings=ids, gidMappings=ids)
        self.config["linux"]["namespaces"].append({"type": "user"})

    def without_root(self) -> None:
        """Remove settings that the root of a user namespace with one ID cannot apply."""
        self.config["linux"].pop("resources", None)
        self.config["mounts"] = [m for m in self.config["mounts"] if m["type"] not in ("mqueue", "cgroup", "sysfs")]
        for mount in self.config["mounts"]:
            mount["options"] = [word for word in mount.get("options", []) if word != "gid=5"]

    def copy(self) -> dict[str, Any]:
        return copy.deepcopy(self.config)


@pytest.fixture(scope="session")
def shared_rootfs() -> Iterator[Path]:
    """A busybox root filesystem for tests that do not write to it. User namespaces must reach it, so it is not below
    pytest's own directory, which every session makes inaccessible to others."""
    with tempfile.TemporaryDirectory(prefix="pyruntime-rootfs-") as name:
        os.chmod(name, 0o755)
        busybox_rootfs(Path(name))
        yield Path(name)


@pytest.fixture
def front(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether the front is switched on."""
    value = getattr(request, "param", "on")
    monkeypatch.setenv("PYRUNTIME_FRONT", value)
    return str(value)


@pytest.fixture
def runtime(tmp_path: Path, front: str) -> Iterator[Runtime]:
    """A runtime; nothing of its containers may remain at the end."""
    runtime = Runtime(tmp_path / "state")
    leftovers = Leftovers(runtime.root)
    yield runtime
    for name in runtime.ok("list", "-q").split() if runtime.root.exists() else []:
        runtime("delete", "--force", name)
    leftovers.check()


@pytest.fixture
def bundle(tmp_path: Path, shared_rootfs: Path) -> Bundle:
    return Bundle(tmp_path / "bundle", shared_rootfs)


@pytest.fixture
def own_bundle(tmp_path: Path) -> Bundle:
    """A bundle with its own writable root filesystem."""
    rootfs = tmp_path / "bundle" / "rootfs"
    busybox_rootfs(rootfs)
    made = Bundle(tmp_path / "bundle", rootfs)
    made.config["root"]["readonly"] = False
    return made


@pytest.fixture
def sample() -> Any:
    """Creates sample bundles by name, where user namespaces can reach them. What the hooks of one of them write is in
    the bundle, in hooks.log."""
    with tempfile.TemporaryDirectory(prefix="pyruntime-samples-") as name:
        os.chmod(name, 0o755)

        def make(sample: str) -> Path:
            path = build(Path(name), sample)
            config = path / "config.json"
            config.write_text(config.read_text().replace("/tmp/pyruntime-hooks.log", f"{path}/hooks.log"))
            return path
        yield make


def end(process: subprocess.Popen[Any]) -> None:
    """Kill a process that a test started."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE)
