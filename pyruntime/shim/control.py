"""The methods for a task that exists: its state, signals, limits, terminal and input."""

from __future__ import annotations

from pyruntime.errors import ConfigError, NoSuchContainer, PyruntimeError, StateError
from pyruntime.shim import messages
from pyruntime.shim.attach import resize
from pyruntime.shim.calls import FAILED_PRECONDITION, INVALID, NOT_FOUND, Call, CallError, failed, json_object
from pyruntime.shim.events import Publisher
from pyruntime.shim.link import CLOSE_STDIN
from pyruntime.shim.stats import metrics
from pyruntime.shim.task import ADDED, STARTED, Task, TaskProcess
from pyruntime.system.processes import send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_STATUS = {"created": 1, "running": 2, "stopped": 3, "paused": 4}
_SIGNALS = 64


class Control:
    """Each method gets a call and returns the fields of its response."""

    def __init__(self, publisher: Publisher) -> None:
        self._events = publisher

    def state(self, call: Call) -> dict[str, Any]:
        """State."""
        call.await_create()
        task, process = call.task, call.process()
        return {"id": process.exec_id or task.id, "bundle": task.bundle, "pid": process.pid,
                "status": _STATUS[status_of(task, process)], "stdin": process.stdin, "stdout": process.stdout,
                "stderr": process.stderr, "terminal": process.terminal, "exec_id": process.exec_id,
                "exit_status": process.status, "exited_at": messages.moment(process.exited_at)}

    def kill(self, call: Call) -> dict[str, Any]:
        """Kill: send a signal to a process, or to all of the container."""
        task, process, number = call.task, call.process(), call.values["signal"]
        if number > _SIGNALS:
            raise CallError(INVALID, f"cannot send signal {number}: Linux has {_SIGNALS}")
        if call.again and process.end is not None:
            return {}   # perhaps of the signal that another server has sent
        if process.end is not None and not call.values["all"]:
            raise CallError(NOT_FOUND, "process already finished: not found")
        if process.exec_id:
            if not process.pid:
                raise CallError(FAILED_PRECONDITION, "process not created")
            try:
                send_signal(process.pid, process.started, number)
            except ProcessLookupError:
                raise CallError(NOT_FOUND, "process already finished: not found") from None
            except OSError as error:
                raise CallError(INVALID, f"cannot send signal {number}: {error.strerror}") from None
            return {}
        try:
            task.runtime.kill(task.id, number, everything=call.values["all"])
        except StateError as error:
            raise CallError(NOT_FOUND, f"{error.sentence}: process already finished: not found") from None
        return {}

    def pids(self, call: Call) -> dict[str, Any]:
        """Pids: of the host."""
        task, init = call.task, call.init()
        if init.end is not None and task.own_pids:
            return {}
        pids = list(task.runtime.pids(task.id))
        if init.end is None and init.pid not in pids:   # a container without cgroups
            pids.insert(0, init.pid)
        execs = {process.pid: process.exec_id for process in list(task.processes.values())
                 if process.exec_id and process.end is None}
        return {"processes": [{"pid": pid, "info": {
            "type_url": "containerd.runc.v1.ProcessDetails",
            "value": messages.PROCESS_DETAILS.encode({"exec_id": execs[pid]})} if pid in execs else None}
            for pid in pids]}

    def pause(self, call: Call) -> dict[str, Any]:
        """Pause."""
        if not (call.again and status_of(call.task, call.init()) == "paused"):
            require(call, "pause a {} container", "running")
            call.task.runtime.pause(call.task.id)
        self._events.publish(call.task.link, "/tasks/paused", container_id=call.task.id)
        return {}

    def resume(self, call: Call) -> dict[str, Any]:
        """Resume."""
        if not (call.again and status_of(call.task, call.init()) != "paused"):
            require(call, "resume a {} container", "paused")
            call.task.runtime.resume(call.task.id)
        self._events.publish(call.task.link, "/tasks/resumed", container_id=call.task.id)
        return {}

    def checkpoint(self, call: Call) -> dict[str, Any]:
        """Checkpoint: to a directory; the container keeps running unless the options say that it exits."""
        task = call.task
        require(call, "checkpoint a {} container", "running", "paused")
        given = call.values["options"]
        options = messages.CHECKPOINT_OPTIONS.decode(given["value"] if given else b"")
        work = options["work_path"] or f"{task.bundle}/criu-work"
        try:
            task.runtime.checkpoint(
                task.id, options["image_path"] or call.values["path"], leave_running=not options["exit"],
                tcp_established=options["open_tcp"], ext_unix_sk=options["external_unix"],
                shell_job=options["terminal"], file_locks=options["file_locks"], empty_ns=options["empty_namespaces"],
                manage_cgroups_mode=options["cgroups_mode"], parent_path=options["parent_path"], work_path=work)
        except PyruntimeError as error:
            raise failed("checkpoint", error) from None
        self._events.publish(task.link, "/tasks/checkpointed", container_id=task.id, checkpoint=call.values["path"])
        return {}

    def update(self, call: Call) -> dict[str, Any]:
        """Update: change limits."""
        require(call, "update a {} container", "created", "running", "paused")
        text = (call.values["resources"] or {"value": b"{}"})["value"]
        try:
            call.task.runtime.update(call.task.id, json_object(text, "resources"))
        except ConfigError as error:
            raise CallError(INVALID, error.sentence) from None
        return {}

    def resizepty(self, call: Call) -> dict[str, Any]:
        """ResizePty: also between Create and Start."""
        process = call.process()
        if process.terminal:
            process.size = call.values["height"], call.values["width"]
            resize(call.task, process)
        return {}

    def closeio(self, call: Call) -> dict[str, Any]:
        """CloseIO: the input ends when the client has closed it, too."""
        call.await_create()
        task, process = call.task, call.process()
        if not call.values["stdin"]:
            return {}
        with process.lock:   # after a start in progress: the monitor gets the input then
            if task.processes.get(process.exec_id) is process:   # not deleted meanwhile
                process.input_closed = True
                if process.phase != STARTED:
                    task.save(process)
                task.link.send(CLOSE_STDIN, process.key)
        return {}

    def stats(self, call: Call) -> dict[str, Any]:
        """Stats."""
        call.init()
        try:
            runtime = call.task.runtime
            return {"stats": metrics(runtime.stats(call.task.id), runtime.oom_counters(call.task.id))}
        except StateError as error:
            raise CallError(NOT_FOUND, f"cgroup does not exist: {error.sentence}: not found") from None

    def connect(self, call: Call) -> dict[str, Any]:
        """Connect: also without a container."""
        init = call.task.init
        return {"shim_pid": call.task.monitor, "task_pid": init.pid if init else 0}


def status_of(task: Task, process: TaskProcess) -> str:
    """One of the keys of _STATUS."""
    if process.finished:
        return "stopped"
    if process.phase == ADDED:
        return "created"
    if not process.pid:   # Start restores it
        return "created"
    try:
        status = task.runtime.state(task.id).status
    except NoSuchContainer:
        return "stopped"
    if status == "paused":
        return status
    if process.exec_id:   # also in a container that waits for Start
        return "running"
    # A stopped one's exit is about to be announced.
    return {"creating": "created", "stopped": "running"}.get(status, status)


def require(call: Call, what: str, *allowed: str) -> None:
    """Raise CallError, in the words of containerd's own shim, unless the container has a status that is allowed."""
    status = status_of(call.task, call.init())
    if status not in allowed:
        raise CallError(FAILED_PRECONDITION, f"cannot {what.format(status)}")
