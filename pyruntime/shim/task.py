"""A task: a container of containerd's, and its processes.

What another server needs to know of a process is in the bundle, which containerd removes with the task:

    BUNDLE/shim.json            the task and its init process
    BUNDLE/shim.exec.ID.json    a process of `exec`
    BUNDLE/shim.deleted.KEY.json    a process of which Delete has not been answered yet
    BUNDLE/state                a link to the container's state directory, for the `delete` program
"""

from __future__ import annotations

import os
import threading
import time

from pyruntime.errors import PyruntimeError
from pyruntime.runtime.api import Runtime
from pyruntime.shim.link import MonitorLink, MonitorParent, ProcessExit
from pyruntime.system.files import forget, read, write
from pyruntime.system.json import encode
from pyruntime.system.records import check_version, members

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

ROOT = "/run/containerd/pyruntime"   # of the state directories, one for each namespace
_LARGEST = 16 << 20   # of a file: the message that it is made of has 4 MiB at most; JSON in JSON takes twice as much

_FORMAT = 1   # of the files; the number stands in them from the second on
_REMEDY = "kill the container's processes; containerd then deletes the task"

# The phases of a process. ADDED: only recorded. STARTED: its start was announced. DELETED: Delete is not answered yet.
ADDED, CREATED, STARTED, DELETED = "added", "created", "started", "deleted"


class TaskProcess:
    """A process of a task: init, or one of `exec`.

    ``key``       identifies the process to the monitor, and what the monitor holds until Delete
    ``starting``  the same for what it holds until the process has been started: the process's own ends of its streams
    ``connection``  the same for the connection over which the process is started
    ``end``       its exit, as soon as the monitor has reported it
    ``expected``  whether a request that is repeated, Create or Start, will announce it: not its end before that
    ``finished``  whether the exit was announced, and waiters are answered
    ``status``, ``exited_at``   of a process that is finished
    """

    FIELDS = ("key", "exec_id", "pid", "started", "phase", "terminal", "stdin", "stdout", "stderr", "spec", "loggers",
              "checkpoint", "input_closed", "status", "exited_at")

    def __init__(self, bundle: str, **values: Any) -> None:
        self._bundle = bundle
        self.key: int = time.time_ns() << 2
        self.exec_id: str = ""
        self.pid: int = 0
        self.started: int = 0   # start time
        self.phase: str = ADDED
        self.status = 0      # of a process that is finished
        self.exited_at = 0
        self.terminal: bool = False
        self.stdin: str = ""
        self.stdout: str = ""
        self.stderr: str = ""
        self.spec: str = ""     # of `exec`: the process object, JSON
        self.input_closed = False   # by the client, before Start
        self.loggers: list[list[int]] = []
        self.checkpoint: dict[str, str] = {}   # of an init that Start restores: options of Runtime.restore
        for name, value in values.items():
            if name in self.FIELDS:
                setattr(self, name, value)
        self.lock = threading.RLock()   # of what is done with the process, one thing after the other
        self.size: tuple[int, int] | None = None   # of a terminal that does not exist yet: rows and columns
        self.end: ProcessExit | None = None
        self.expected = False
        self.finished = self.exited_at != 0   # in a file: of a process that could not be started
        self.waiters: list[Callable[[], None]] = []

    @property
    def starting(self) -> int:
        """See above."""
        return self.key | 1

    @property
    def connection(self) -> int:
        """See above."""
        return self.key | 2

    @property
    def file(self) -> str:
        """The file of the process."""
        if self.phase == DELETED:
            return f"{self._bundle}/shim.deleted.{self.key}.json"
        return f"{self._bundle}/shim.exec.{self.exec_id}.json" if self.exec_id else f"{self._bundle}/shim.json"

    def values(self) -> dict[str, Any]:
        """What the file says of the process."""
        return {name: getattr(self, name) for name in self.FIELDS}


class Task:
    """A task and its processes. ``processes``: exec ID -> process, "" for init."""

    def __init__(self, task_id: str, bundle: str, link: MonitorLink, root: str,
                 settle: Callable[[Task, TaskProcess], None]) -> None:
        self.id = task_id
        self.bundle = bundle
        self.link = link
        self.root = root
        self.own_pids = True
        self.systemd = False
        self.pod = False       # whether it holds the namespaces of a pod: sandbox_service.py
        self.monitor = 0       # pid
        self.leaving = False   # whether the monitor ends
        self.owner = (0, 0)    # of FIFOs and pipes
        self.processes: dict[str, TaskProcess] = {}
        self.deleted: dict[str, TaskProcess] = {}   # of which a killed server may not have said that they are
        self.parent = MonitorParent(link, self._claim)
        self.changed = threading.Condition()   # of `processes` and their ends
        self.ready = False   # whether the monitor has told everything, and which requests are repeated
        self._settle = settle
        self.runtime = self._runtime()

    def _runtime(self) -> Runtime:
        return Runtime(self.root, cgroup_manager="systemd" if self.systemd else "cgroupfs")

    def choose(self, root: str, *, systemd: bool) -> None:
        """Take the options of `create`."""
        self.root, self.systemd = root, systemd
        self.runtime = self._runtime()

    @property
    def rootfs(self) -> str:
        """Where the root filesystem is mounted."""
        return f"{self.bundle}/rootfs"

    @property
    def init(self) -> TaskProcess | None:
        """The init process; None if there is no container."""
        return self.processes.get("")

    @property
    def creating(self) -> bool:
        """Whether a Create is in progress, or is to be repeated."""
        init = self.init
        return init is not None and init.phase == ADDED and init.expected

    # --- the record ------------------------------------------------------------------------------------------------

    def save(self, process: TaskProcess) -> None:
        """Write the file of a process. Raises PyruntimeError."""
        values = process.values()
        if not process.exec_id and process.phase != DELETED:
            values["task"] = {"root": self.root, "own_pids": self.own_pids, "systemd": self.systemd,
                              "owner": list(self.owner)}
        write(process.file, encode(values).encode())

    def load(self) -> None:
        """Read what another server has written."""
        try:
            names = os.listdir(self.bundle)
        except FileNotFoundError:
            return   # the bundle is gone: there will be a Shutdown
        self.pod = "pod.json" in names
        for name in names:
            if name != "shim.json" and not (name.startswith(("shim.exec.", "shim.deleted."))
                                            and name.endswith(".json")):
                continue
            path = f"{self.bundle}/{name}"
            values = members(read(path, _LARGEST), path, _REMEDY)
            check_version(values, path, _FORMAT, _REMEDY)
            process = TaskProcess(self.bundle, **values)
            if process.phase == DELETED:
                self.deleted[process.exec_id] = process
                continue
            self.processes[process.exec_id] = process
            if not process.exec_id:
                of_task = values["task"]
                self.own_pids, self.owner = of_task["own_pids"], tuple(of_task["owner"])
                self.choose(of_task["root"], systemd=of_task["systemd"])

    def mark(self) -> None:
        """Let the `delete` program find the container."""
        self.unmark()
        try:
            os.symlink(f"{self.root}/{self.id}", f"{self.bundle}/state")
        except OSError as error:   # containerd has removed the bundle meanwhile
            raise PyruntimeError(f'cannot write "{self.bundle}/state": {error.strerror}') from None

    def unmark(self) -> None:
        """There is no container any more."""
        forget(f"{self.bundle}/state")

    def delete(self, process: TaskProcess) -> None:
        """Forget a process, but for the answer to Delete: `answered`."""
        before, process.phase = process.file, DELETED
        if os.path.exists(before):   # otherwise another server has come that far
            os.rename(before, process.file)   # on a full disk there is no room for another file
        self.save(process)
        self._forget(process, before)

    def answered(self, process: TaskProcess) -> None:
        """The answer to Delete is on its way."""
        forget(process.file)

    def drop(self, process: TaskProcess) -> None:
        """Forget a process."""
        self._forget(process, process.file)

    def _forget(self, process: TaskProcess, file: str) -> None:
        with self.changed:
            if self.processes.get(process.exec_id) is process:
                del self.processes[process.exec_id]
            waiters, process.waiters = process.waiters, []   # of a process that was never started
            self.changed.notify_all()
        forget(file)
        if process.end:
            self.parent.forget(process.end)
        for waiter in waiters:
            waiter()

    # --- exits -------------------------------------------------------------------------------------------------------

    def _claim(self, end: ProcessExit) -> bool:
        """Called by the thread that reads the link: find the process of an exit."""
        with self.changed:
            for process in self.processes.values():
                if process.key == end.key or (not end.key and process.pid == end.pid and process.end is None):
                    process.end = end
                    if end.key:   # another server has announced it
                        process.status, process.exited_at, process.finished = end.status, end.time, True
                    elif self.ready:
                        self._settle(self, process)
                    self.changed.notify_all()
                    return True
        return False

    def begin(self) -> None:
        """The monitor has told everything: deal with the ends that nobody has dealt with."""
        with self.changed:
            self.ready = True
            ended = [process for process in self.processes.values() if process.end and not process.finished]
        for process in ended:
            self._settle(self, process)

    def known(self, process: TaskProcess, pid: int, started: int) -> None:
        """The process exists."""
        with self.changed:
            process.pid, process.started = pid, started
        self.parent.reclaim(pid)

    def finish(self, process: TaskProcess, status: int, exited_at: int) -> None:
        """The end of the process is announced: answer who waits for it."""
        with self.changed:
            process.status, process.exited_at, process.finished = status, exited_at, True
            waiters, process.waiters = process.waiters, []
            self.changed.notify_all()
        for waiter in waiters:
            waiter()

    def when_finished(self, process: TaskProcess, call: Callable[[], None]) -> None:
        """Call at once, or when the process has finished, or was deleted before it was started."""
        with self.changed:
            if not process.finished and self.processes.get(process.exec_id) is process:
                process.waiters.append(call)
                return
        call()

    def await_execs(self, seconds: float) -> bool:
        """Wait until no process of `exec` is left, after the end of init."""
        with self.changed:
            return self.changed.wait_for(lambda: not any(
                process.exec_id and process.pid and not process.finished for process in self.processes.values()
            ), seconds)

    def await_released(self, key: int, released: set[int], seconds: float) -> bool:
        """Wait until the monitor has closed the streams of a process."""
        with self.changed:
            done = self.changed.wait_for(lambda: key in released or self.link.broken, seconds)
            released.discard(key)
            return done
