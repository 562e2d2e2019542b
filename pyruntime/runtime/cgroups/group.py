"""A container's cgroup, for the commands after `create`: list processes, freeze, kill, remove."""

from __future__ import annotations

# ruff: noqa: SIM105 -- contextlib is too dear for the hot path
import os
from errno import EBUSY, EMFILE, ENFILE, ENODEV, ENOENT, ENOTEMPTY

from pyruntime.errors import HostError, StateError
from pyruntime.runtime.cgroups import tree
from pyruntime.runtime.cgroups.host import read
from pyruntime.runtime.cgroups.tree import processes
from pyruntime.system.processes import SIGKILL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Cgroup:
    """The directories of one container's cgroup by hierarchy key (empty: v2), as returned by `container_paths`."""

    __slots__ = ("_held", "paths")

    def __init__(self, paths: Mapping[str, str]) -> None:
        self.paths = dict(paths)
        self._held: list[int] = []

    def hold(self) -> Cgroup:
        """A context manager: the same cgroup as far as it exists now, by descriptors: its paths do not lead to a cgroup
        that is made later with the same name. Raises OSError if there are no more descriptors."""
        held = Cgroup({})
        for key, path in self.paths.items():
            try:
                fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                if error.errno in (EMFILE, ENFILE):
                    held.__exit__()
                    raise
                continue   # removed, or never made
            held._held.append(fd)
            held.paths[key] = f"/proc/self/fd/{fd}/."
        return held

    def __enter__(self) -> Cgroup:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._held:
            os.close(fd)
        self._held = []

    def main(self) -> str:
        """The directory whose processes are those of the container: ``devices`` in v1 (no other program uses it), else
        v2, else any. Raises HostError if there is none."""
        for key in ("devices", ""):
            if key in self.paths:
                return self.paths[key]
        for path in self.paths.values():
            return path
        raise HostError("the container has no cgroup")

    def exists(self) -> bool:
        """Whether the container's cgroup exists in any hierarchy."""
        return any(os.path.isdir(path) for path in self.paths.values())

    def pids(self, recursive: bool = True) -> list[int]:
        """The container's processes, including those in sub-cgroups if ``recursive``; empty if the cgroup does not
        exist."""
        return processes(self.main(), recursive=recursive) if self.paths else []

    # --- the freezer -------------------------------------------------------------------------------------------------

    def find_freezer(self) -> tuple[str, bool]:
        """The directory with the freezer, and whether it is v2. Raises HostError if there is none."""
        # A v1 freezer has its own hierarchy or shares one.
        for key, path in self.paths.items():
            if "freezer" in key.split(","):
                return path, False
        if "" in self.paths:
            return self.paths[""], True
        raise HostError("the host has no cgroup freezer")

    def freezer(self) -> str:
        """The directory with the container's freezer. Raises HostError if there is none."""
        return self.find_freezer()[0]

    def freeze(self, timeout: float = 10.0) -> None:
        """Freeze every process of the container; return when all are frozen.

        Raises StateError if that takes more than ``timeout`` seconds; the container is then thawed.
        """
        path, modern = self.find_freezer()
        if not _set(path, "cgroup.freeze" if modern else "freezer.state", "1" if modern else "FROZEN"):
            raise StateError(f"unable to freeze: the container's cgroup no longer exists ({path})")
        if self._wait(timeout):
            return
        self.thaw()
        raise StateError(f"unable to freeze: processes did not stop within {timeout:g} s")

    def _wait(self, timeout: float) -> bool:
        pause = 0.0005
        while timeout > 0:
            if self.frozen():
                return True
            _sleep(pause)
            timeout -= pause
            pause = min(pause * 2, 0.05)
            path, modern = self.find_freezer()
            if not modern:
                _set(path, "freezer.state", "FROZEN")   # v1 may miss a task that forked meanwhile: write again
        return self.frozen()

    def thaw(self) -> None:
        """Thaw the container's processes. No effect if the container is not frozen or its cgroup no longer exists."""
        path, modern = self.find_freezer()
        _set(path, "cgroup.freeze" if modern else "freezer.state", "0" if modern else "THAWED")

    def frozen(self) -> bool:
        """Whether every process of the container is frozen by the freezer of its cgroup or of an ancestor."""
        try:
            path, modern = self.find_freezer()
            if modern:
                return "frozen 1" in read(path + "/cgroup.events")
            return read(path + "/freezer.state").strip() == "FROZEN"
        except (OSError, HostError):
            return False

    def kill(self) -> None:
        """Send SIGKILL to every process of the container, so that none can escape by forking; do not wait."""
        path = self.paths.get("")
        if path is not None:
            try:
                _write(path + "/cgroup.kill", "1")   # Linux 5.14
            except OSError:
                pass
            if list(self.paths) == [""] and not self.pids():
                return
        for _round in range(5):
            pids = self.pids()
            if not pids:
                return
            self._kill_frozen(pids)

    def _kill_frozen(self, pids: list[int]) -> None:
        # No process can fork while it is frozen. A frozen task handles the signal when it is thawed.
        try:
            path, modern = self.find_freezer()
            was_frozen = self.frozen()
            if not was_frozen:
                _set(path, "cgroup.freeze" if modern else "freezer.state", "1" if modern else "FROZEN")
                pids = self.pids()
        except (HostError, StateError):   # no freezer, or not writable: killed while running
            path = ""
        for pid in pids:
            _kill(pid)
        if path:
            _thaw_tree(path)

    # --- removal -----------------------------------------------------------------------------------------------------

    def delete(self, timeout: float = 5.0, held: Cgroup | None = None) -> None:
        """Remove the cgroup in every hierarchy, sub-cgroups first, and kill remaining processes.

        With ``held``, a cgroup that is in use and is not that of `hold` belongs to another container, and stays. A
        missing cgroup is not an error. Raises StateError with the name of the directory if it is still in use after
        ``timeout`` seconds; the other hierarchies are removed before.
        """
        failed: list[str] = []
        for key, path in self.paths.items():
            try:
                os.rmdir(path)
            except OSError as error:
                # A read-only hierarchy returns EROFS even for a missing directory.
                if error.errno in (ENOENT, ENODEV) or not os.path.isdir(path):
                    continue
                if held and not _same(held.paths.get(key, ""), path):
                    continue
                self.thaw_for_death()
                reason = _remove_tree(path, timeout, held.paths[key] if held else path)
                if reason:
                    failed.append(f'rmdir "{path}": {reason}')
        if failed:
            raise StateError("unable to remove the container's cgroup: " + "; ".join(failed))

    def thaw_for_death(self) -> None:
        """Thaw every process, also in sub-cgroups that have been frozen separately, so that none survives SIGKILL."""
        # By the freezer's hierarchy, whichever hierarchy the remaining process blocks.
        try:
            path, _modern = self.find_freezer()
        except HostError:
            return
        _thaw_tree(path)


def _same(held: str, path: str) -> bool:
    try:
        return os.path.samestat(os.stat(held), os.stat(path))
    except FileNotFoundError:
        return False


def _remove_tree(path: str, timeout: float, held: str) -> str:
    # A killed process leaves its cgroup only when it has exited: EBUSY until then.
    pause = 0.001
    while True:
        reason = tree.remove(path)
        if not reason or timeout <= 0:
            return reason
        if reason in (os.strerror(EBUSY), os.strerror(ENOTEMPTY)):
            for pid in processes(held, recursive=True):
                _kill(pid)
        _sleep(pause)
        timeout -= pause
        pause = min(pause * 2, 0.1)


def _thaw_tree(path: str) -> None:
    # A frozen v1 task does not handle SIGKILL until it is thawed, and a sub-cgroup may have been frozen separately.
    for place in tree.walk(path):
        for file, data in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
            try:
                _write(f"{place}/{file}", data)
            except OSError:
                continue   # the hierarchy has no freezer, or the cgroup was removed


def _kill(pid: int) -> None:
    # The pid was just read from the cgroup. 0 stands for a process of another pid namespace, which has no ID here.
    if pid > 0:
        try:
            os.kill(pid, SIGKILL)
        except ProcessLookupError:
            pass   # the process exited by itself


def _write(path: str, data: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, data.encode())
    finally:
        os.close(descriptor)


def _set(path: str, file: str, data: str) -> bool:
    """Write a file; False if the cgroup no longer exists, so that no process is left in it."""
    try:
        _write(f"{path}/{file}", data)
        return True
    except OSError as error:
        if error.errno in (ENOENT, ENODEV):
            return False
        raise StateError(f'{file}: write "{data}": {os.strerror(error.errno or 0)} ({path})') from None


def _sleep(seconds: float) -> None:
    import time  # lazy: only while a process leaves its cgroup

    time.sleep(seconds)
