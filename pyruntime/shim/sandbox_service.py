"""The sandbox service (containerd's api/runtime/sandbox/v1/sandbox.proto), for `sandboxer = "shim"`.

A pod is a task whose init process holds the pod's namespaces (pod.py): it is created, started and ended as every other
task, so a pod survives the server as they do. Its containers are tasks with monitors of their own. For containerd a pod
is not a task: there are no events of tasks.
"""

from __future__ import annotations

import os
import time

from pyruntime.errors import HostError, StateError, words
from pyruntime.shim import messages
from pyruntime.shim.calls import FAILED_PRECONDITION, NOT_FOUND, Call, CallError
from pyruntime.shim.events import Publisher
from pyruntime.shim.link import RELEASE
from pyruntime.shim.pod import TMPFS, Pod, mark_pod, read_mark
from pyruntime.shim.service import Service
from pyruntime.shim.stats import metrics
from pyruntime.shim.streams import ProcessStreams
from pyruntime.shim.task import ADDED, STARTED, Task, TaskProcess
from pyruntime.system.files import read, replace
from pyruntime.system.json import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any

    from pyruntime.shim.link import MonitorLink

_DEADLINE_EXCEEDED = 4   # of google.rpc.Code
_PATIENCE = 10.0         # seconds for the holder to end after SIGKILL
# The names of uname(2) -> those of Go
_PLATFORMS = {"x86_64": ("amd64", ""), "aarch64": ("arm64", "v8"), "armv7l": ("arm", "v7"), "i686": ("386", "")}


class NoEvents(Publisher):
    """The publisher of pods."""

    def __init__(self) -> None:
        """There is no queue, and no thread."""

    def publish(self, link: MonitorLink, topic: str, **fields: Any) -> None:
        """Publish nothing."""

    def flush(self, link: MonitorLink, seconds: float) -> bool:
        """Nothing is to be published."""
        return True


class SandboxService(Service):
    """The methods of both services, for tasks that are pods."""

    def __init__(self, namespace: str) -> None:
        super().__init__(namespace, NoEvents(), lambda task: None)

    # --- creation ----------------------------------------------------------------------------------------------------

    def createsandbox(self, call: Call) -> dict[str, Any]:
        """CreateSandbox: the holder of the namespaces exists, and waits for StartSandbox."""
        given = call.values
        call.values = {"id": given["id"], "rootfs": [TMPFS], "terminal": False, "checkpoint": "",
                       "options": {"config": given["options"], "netns": given["netns"]},
                       "bundle": given["bundle"], "stdin": "", "stdout": "", "stderr": ""}
        self.create(call)
        return {}

    def _options(self, task: Task, given: dict[str, Any] | None) -> dict[str, Any]:
        assert given is not None
        pod = Pod(given["config"], given["netns"])
        task.choose(task.root, systemd=pod.systemd)
        return {**messages.OPTIONS.decode(b""), "pod": pod}

    def _create(self, task: Task, init: TaskProcess, options: dict[str, Any]) -> None:
        pod: Pod = options["pod"]
        users = -1
        try:
            users = pod.open_users()
            path = f"/proc/{os.getpid()}/fd/{users}" if users >= 0 else ""
            pod.write_files(task.rootfs)
            replace(f"{task.bundle}/config.json", encode(pod.configuration(task.id, path)).encode())
            mark_pod(task.bundle, pod, time.time_ns())
            task.pod = True
            super()._create(task, init, options)
        except OSError as error:
            raise HostError(f'cannot prepare the pod in "{task.bundle}": {words(error)}') from None
        finally:
            if users >= 0:
                os.close(users)

    def _open(self, task: Task, process: TaskProcess) -> tuple[ProcessStreams, tuple[_socket.socket, ...]]:
        """The holder waits for the end of its input, whose other end the monitor holds: none outlives the other."""
        task.link.send(RELEASE, process.key, flags=1)   # as in Service
        streams = ProcessStreams()
        waits, held = os.pipe2(os.O_CLOEXEC)
        streams.child = [waits, *(os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC) for _ in range(2))]
        streams.held = [held]
        return streams, ()

    def startsandbox(self, call: Call) -> dict[str, Any]:
        """StartSandbox."""
        self._holder(call)
        started = self.start(call)
        return {**started, "created_at": messages.moment(read_mark(call.task.bundle)["created_at"])}

    # --- while it exists ---------------------------------------------------------------------------------------------

    def _holder(self, call: Call) -> TaskProcess:
        """The init process of the pod. Raises CallError."""
        init = call.init()
        _require_pod(call.task)
        return init

    def wait(self, call: Call) -> TaskProcess:
        """WaitSandbox, and Wait."""
        self._holder(call)
        return call.process()

    def platform(self, _call: Call) -> dict[str, Any]:
        """Platform: the host's."""
        machine = os.uname().machine
        architecture, variant = _PLATFORMS.get(machine, (machine, ""))
        return {"platform": {"os": "linux", "architecture": architecture, "variant": variant}}

    def pingsandbox(self, call: Call) -> dict[str, Any]:
        """PingSandbox: whether the holder lives."""
        if self._holder(call).end is not None:
            raise CallError(FAILED_PRECONDITION, f"sandbox {call.task.id} is not running")
        return {}

    def sandboxstatus(self, call: Call) -> dict[str, Any]:
        """SandboxStatus: ready from StartSandbox to the end of the holder."""
        task, init = call.task, self._holder(call)
        ready = init.phase == STARTED and init.end is None and not init.finished
        return {"id": task.id, "pid": init.pid if ready else 0,
                "state": "SANDBOX_READY" if ready else "SANDBOX_NOTREADY",
                "created_at": messages.moment(read_mark(task.bundle)["created_at"]),
                "exited_at": messages.moment(init.exited_at),
                "info": [{"key": "info", "value": _info(task, init, ready=ready)}] if call.values["verbose"] else []}

    def sandboxmetrics(self, call: Call) -> dict[str, Any]:
        """SandboxMetrics: of the cgroup of the pod, which is the parent of those of its containers."""
        self._holder(call)
        if not read_mark(call.task.bundle)["cgroup_parent"]:
            raise CallError(FAILED_PRECONDITION, f"sandbox {call.task.id} has no cgroup parent")
        try:
            data = metrics(call.task.runtime.parent_stats(call.task.id), {})
        except StateError as error:
            raise CallError(NOT_FOUND, f"cgroup does not exist: {error.sentence}: not found") from None
        return {"metrics": {"timestamp": messages.moment(time.time_ns()), "id": call.task.id, "data": data}}

    # --- the end -----------------------------------------------------------------------------------------------------

    def stopsandbox(self, call: Call) -> dict[str, Any]:
        """StopSandbox: end the holder; containerd has stopped the containers before."""
        self._stop(call.task, self._holder(call), float(call.values["timeout"]) or _PATIENCE)
        return {}

    def _stop(self, task: Task, init: TaskProcess, seconds: float) -> None:
        try:
            if not init.finished:
                task.runtime.kill(task.id, 9)
        except StateError:   # it has ended; that is not settled yet
            pass
        with task.changed:
            if not task.changed.wait_for(lambda: init.finished or task.link.broken, seconds):
                raise CallError(_DEADLINE_EXCEEDED, f"process {init.pid} of sandbox {task.id} has not ended within"
                                                    f" {seconds:g} seconds of SIGKILL")

    def shutdownsandbox(self, call: Call) -> dict[str, Any]:
        """ShutdownSandbox: remove the pod, also one that runs, and end the monitor."""
        task = call.task
        if call.values["id"] != task.id:
            raise CallError(NOT_FOUND, f"sandbox {call.values['id']} does not exist here")
        if not call.await_create(_PATIENCE):
            raise CallError(_DEADLINE_EXCEEDED, f"sandbox {task.id} is still being created after {_PATIENCE:g} seconds")
        init = task.init
        if init and init.phase != ADDED:
            _require_pod(task)
            self._stop(task, init, _PATIENCE)
            with init.lock:
                if task.init is init:   # otherwise another ShutdownSandbox was faster
                    self._delete_init(task, init)
                    call.deleted = init
        self.shutdown(call)
        # containerd leaves when it has read the answer. An answer and the end of the connection at once it takes for
        # either: its ttrpc client chooses at random.
        call.last *= 2
        return {}


def _require_pod(task: Task) -> None:
    if not task.pod:
        raise CallError(NOT_FOUND, f"{task.id} is no sandbox, but a container")


def _info(task: Task, init: TaskProcess, *, ready: bool) -> str:
    """What `crictl inspectp` shows: members of the CRI plugin's SandboxInfo."""
    return encode({"pid": init.pid, "processStatus": "running" if ready else "stopped", "runtimeType":
                   "io.containerd.pyruntime.v2", "runtimeSpec": decode(read(f"{task.bundle}/config.json"), "config")})
