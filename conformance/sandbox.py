"""Run a program or case so that it cannot affect the next one, whatever it does.

* It gets its own session, its own mount namespace (a slave of the harness's: no mount propagates back) and its own
  temporary directory, which is removed afterwards.
* The harness is the *subreaper* of all its descendants: a container whose runtime has exited becomes a child of the
  harness, which can kill exactly the processes that it started, by pid, and nothing else on the host.
* The runtime is called through a small wrapper script that records the IDs of created containers. Remaining containers
  are deleted by the runtime itself first, and their cgroups are removed by name.
"""

from __future__ import annotations

import os
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from conformance import kernel

CGROUP_ROOT = Path("/sys/fs/cgroup")
_DELETE_SECONDS = 30
_KILL_SECONDS = 10

# $RECORD: file of IDs; $RUNTIME...: the command. OCI_VERSION rewrites the version in config.json, for runtimes that are
# older than the version that the official suite writes.
_WRAPPER = """#!/bin/sh
for word; do
    case $word in
    create|run) creates=1 ;;
    esac
    [ "$previous" = --bundle ] && bundle=$word
    previous=$word
done
if [ -n "$creates" ]; then
    printf '%s\\n' "$previous" >> {record}
    if [ -n "{oci_version}" ] && [ -f "$bundle/config.json" ]; then
        sed -i '1,/"ociVersion"/s/"ociVersion": *"1\\.[0-9.]*"/"ociVersion": "{oci_version}"/' "$bundle/config.json"
    fi
fi
exec {command} "$@"
"""


@dataclass(frozen=True)
class RuntimeCommand:
    """The runtime's command line before the operation, for example ``["runc", "--root", "/run/x"]``."""

    words: tuple[str, ...]
    oci_version: str = ""

    @classmethod
    def parse(cls, text: str, oci_version: str = "") -> RuntimeCommand:
        words = shlex.split(text)
        if not words or not (found := shutil.which(words[0])):
            raise FileNotFoundError(f'no such runtime: "{text}"')
        return cls((os.path.abspath(found), *words[1:]), oci_version)

    @property
    def name(self) -> str:
        return os.path.basename(self.words[0])

    def version(self) -> str:
        """The first line of ``RUNTIME --version``, or a note that there is no such line."""
        try:
            done = subprocess.run([*self.words, "--version"], capture_output=True, text=True, timeout=20, check=False)
        except subprocess.TimeoutExpired:
            return f"{self.name} (--version hangs)"
        lines = done.stdout.splitlines()
        return lines[0] if lines else f"{self.name} (no --version)"


@dataclass
class Workplace:
    """The temporary directory of one program: ``wrapper`` is the runtime to call, ``path`` the directory for
    bundles."""

    path: Path
    runtime: RuntimeCommand
    unmount: tuple[str, ...] = ()
    known_cgroups: tuple[str, ...] = ()
    leftovers: list[str] = field(default_factory=list)

    @property
    def wrapper(self) -> Path:
        return self.path / "runtime"

    @property
    def record(self) -> Path:
        return self.path / "created-ids"

    def prepare(self) -> None:
        self.path.chmod(0o711)  # containers in a user namespace need search permission
        command = shlex.join(self.runtime.words)
        script = _WRAPPER.format(
            record=shlex.quote(str(self.record)), command=command, oci_version=self.runtime.oci_version
        )
        self.wrapper.write_text(script)
        self.wrapper.chmod(0o755)

    def created_ids(self) -> list[str]:
        if not self.record.exists():
            return []
        ids = dict.fromkeys(self.record.read_text().splitlines())
        return [name for name in ids if name and not name.startswith("-") and "/" not in name]

    def isolate(self) -> None:
        """In the child: a mount namespace that does not propagate back, with the given paths unmounted."""
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_SLAVE)
        for target in self.unmount:
            kernel.umount2(target, kernel.MNT_DETACH)


@dataclass(frozen=True)
class Ended:
    """How a supervised child ended. ``status`` is that of ``os.waitstatus_to_exitcode``; None after a timeout."""

    status: int | None
    seconds: float


@contextmanager
def workplace(
    runtime: RuntimeCommand, *, unmount: tuple[str, ...] = (), known_cgroups: tuple[str, ...] = ()
) -> Iterator[Workplace]:
    """A new workplace; on exit, all its processes and files are removed (see ``leftovers``)."""
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    place = Workplace(Path(tempfile.mkdtemp(prefix="oci-conformance-")), runtime, unmount, known_cgroups)
    try:
        place.prepare()
        yield place
    finally:
        _clean(place)


def supervise(place: Workplace, body: Callable[[], int], timeout: float, stdout: Path, stderr: Path) -> Ended:
    """Run ``body`` in a forked child with its own session and mount namespace; reap all orphans meanwhile.

    ``body`` returns the exit status, or replaces the process. On timeout the child's process group is killed.
    """
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _child(place, body, stdout, stderr)
    status = _wait(pid, start + timeout)
    if status is None:
        os.killpg(pid, signal.SIGKILL)
        _wait(pid, time.monotonic() + _KILL_SECONDS)
    return Ended(status, time.monotonic() - start)


def _child(place: Workplace, body: Callable[[], int], stdout: Path, stderr: Path) -> None:
    status = 120
    try:
        os.setsid()
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        null = os.open(os.devnull, os.O_RDONLY)
        out = os.open(stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        err = os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for source, target in ((null, 0), (out, 1), (err, 2)):
            os.dup2(source, target)
        os.environ["TMPDIR"] = str(place.path)
        place.isolate()
        status = body()
    except BaseException as error:  # the forked child must never run the parent's code after this
        os.write(2, f"conformance: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(status)


def _wait(pid: int, deadline: float) -> int | None:
    """Wait for one child while reaping all others (orphans of containers); None if the deadline passes."""
    pidfd = os.pidfd_open(pid)
    try:
        while True:
            status = _reap(pid)
            if status is not None:
                return status
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            select.select([pidfd], [], [], min(left, 0.02))
    finally:
        os.close(pidfd)


def _reap(wanted: int | None = None) -> int | None:
    """Reap every exited child; return the exit status of the given child if it was among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == wanted:
            found = os.waitstatus_to_exitcode(status)


def _clean(place: Workplace) -> None:
    ids = place.created_ids()
    for container in ids:
        _delete_container(place, container)
    _kill_orphans(place)
    for name in (*place.known_cgroups, *ids):
        _remove_cgroups(place, name)
    if place.unmount:
        _remove_below_unmounted(place, (*place.known_cgroups, *ids))
    try:
        shutil.rmtree(place.path)
    except OSError as error:
        place.leftovers.append(f"{place.path}: {error.strerror}")


def _delete_container(place: Workplace, container: str) -> None:
    """``delete --force`` in a mount namespace like the program's: the state of a container may refer to mounts
    there."""
    out = place.path / "delete.log"

    def delete() -> int:
        os.execv(place.runtime.words[0], [*place.runtime.words, "delete", "--force", container])

    if supervise(place, delete, _DELETE_SECONDS, out, out).status is None:
        place.leftovers.append(f'container {container}: "delete --force" hangs')


def _kill_orphans(place: Workplace) -> None:
    """Kill orphans that became children of the harness, since no other process will."""
    deadline = time.monotonic() + _KILL_SECONDS
    while orphans := _children():
        for pid in orphans:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        _reap()
        if time.monotonic() > deadline:
            place.leftovers.append(f"processes that cannot be killed: {orphans}")
            return
        time.sleep(0.01)


def _children() -> list[int]:
    """The running and zombie children of the harness, from /proc (children(5) needs an optional kernel feature)."""
    me, found = str(os.getpid()), []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if stat.rpartition(")")[2].split()[1] == me:
                found.append(int(entry))
    return found


def _remove_cgroups(place: Workplace, name: str) -> None:
    """Remove cgroups whose name contains ``name``, in every hierarchy, leaves first."""
    for hierarchy in _hierarchies():
        for parent, folders, _ in os.walk(hierarchy, topdown=False):
            for folder in folders:
                path = Path(parent, folder)
                if name in folder and path.is_dir():
                    _remove_tree(place, path)


def _remove_below_unmounted(place: Workplace, names: tuple[str, ...]) -> None:
    """Some runtimes treat any directory below /sys/fs/cgroup as a hierarchy, and create directories where one was
    unmounted."""
    log = place.path / "hidden.log"

    def remove() -> int:
        for top in place.unmount:
            for path in Path(top).iterdir():
                if path.name in names and path.is_dir():
                    shutil.rmtree(path)
        return 0

    if supervise(place, remove, _KILL_SECONDS, log, log).status != 0:
        place.leftovers.append(f"below {place.unmount}: {log.read_text().strip()}")


def _remove_tree(place: Workplace, top: Path) -> None:
    for parent, folders, _ in os.walk(top, topdown=False):
        for folder in folders:
            _remove_cgroup(place, Path(parent, folder))
    _remove_cgroup(place, top)


def _remove_cgroup(place: Workplace, path: Path) -> None:
    try:
        path.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        place.leftovers.append(f"{path}: {error.strerror}")


def _hierarchies() -> list[Path]:
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        if right.split()[0] in ("cgroup", "cgroup2"):
            found.append(Path(left.split()[4]))
    return found
