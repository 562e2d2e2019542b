"""The task service (containerd's api/runtime/task/v3/shim.proto; v2 is the same).

A request may come a second time, from a monitor whose server was killed before it answered: ``again``. Then what was
done already is not done twice.
"""

from __future__ import annotations

import os
import struct
import time

from pyruntime.errors import PyruntimeError, StateError
from pyruntime.runtime.api import Runtime
from pyruntime.shim import attach, messages, rootfs
from pyruntime.shim.calls import (
    ALREADY_EXISTS,
    FAILED_PRECONDITION,
    INVALID,
    NOT_FOUND,
    UNIMPLEMENTED,
    Call,
    CallError,
    failed,
    json_object,
)
from pyruntime.shim.control import Control, require, status_of
from pyruntime.shim.link import BIND, HOLD, RELEASE
from pyruntime.shim.options import read_options
from pyruntime.shim.pod import join_pod
from pyruntime.shim.streams import ProcessStreams, end_loggers
from pyruntime.shim.task import ADDED, CREATED, STARTED, Task, TaskProcess
from pyruntime.system.files import read
from pyruntime.system.json import encode
from pyruntime.system.processes import start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.shim.events import Publisher

_MOMENT = 0.05      # seconds in which a process reads a request, or executes its program, ordinarily
_PATIENCE = 10.0    # seconds for the same, at most
_EXITED = 11.0      # seconds for the exit of a process that was killed to be reported
_LAST_EXECS = 10.0  # seconds for the processes of `exec` to end after init
_AT_ONCE = {"Connect", "Wait", "Exec", "ResizePty", "WaitSandbox", "PingSandbox", "Platform"}
_STUB_NAME = b"pyruntime:init\n"   # of a process that has not executed its program: native/stub/stub.c
_IDS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-.")


class Service(Control):
    """The methods. Each gets a call and returns the fields of its response."""

    def __init__(self, namespace: str, publisher: Publisher, watch: Callable[[Task], None]) -> None:
        """``watch`` is called with a task before it is started: watch it for OOM kills."""
        super().__init__(publisher)
        self._namespace = namespace
        self._watch = watch
        self._plans = Runtime.plans()
        self.released: set[int] = set()   # keys of processes whose streams the monitor has closed

    def may_wait(self, method: str, call: Call) -> bool:
        """Whether a request needs a thread. The others wait for nothing: what a thread would cost is more than they do.
        """
        process = call.task.processes.get(call.values.get("exec_id", ""))
        if method == "State":
            return call.task.creating
        if method == "Delete":
            return not (process and process.exec_id and process.finished) or process.terminal or bool(process.loggers)
        return method not in _AT_ONCE

    # --- create ------------------------------------------------------------------------------------------------------

    def create(self, call: Call) -> dict[str, Any]:
        """Create: mount the root filesystem, and let init wait for Start."""
        task, values = call.task, call.values
        if values["id"] != task.id:
            raise CallError(UNIMPLEMENTED, f'"{values["id"]}" needs a shim of its own')
        with task.changed:
            known = task.init
            if known and not call.again:
                raise CallError(ALREADY_EXISTS, f"container {task.id}: already exists")
            if known and known.phase != ADDED:
                return self._created_before(call, known)
            init = task.processes[""] = TaskProcess(
                task.bundle, terminal=values["terminal"], stdin=values["stdin"], stdout=values["stdout"],
                stderr=values["stderr"], **({"key": known.key} if known else {}))
            init.expected = True
        with init.lock:
            try:
                options = self._options(task, values["options"])
                task.mark()
                if call.again:
                    self._remove(task)
                task.save(init)
                rootfs.mount(task.rootfs, values["rootfs"])
                if values["checkpoint"]:
                    self._create_later(task, init, values["checkpoint"], options)
                else:
                    self._create(task, init, options)
            except BaseException as error:
                try:
                    self._undo(task, init)
                except PyruntimeError as second:
                    error.add_note(str(second))
                raise failed("create", error) from None
            self._announce(task, init, values)
            self._expected(call, init)
            return {"pid": init.pid}

    def _created_before(self, call: Call, init: TaskProcess) -> dict[str, Any]:
        """Another server has created it: what it may not have done is done again."""
        self._announce(call.task, init, call.values)
        self._expected(call, init)
        return {"pid": init.pid}

    def _expected(self, call: Call, process: TaskProcess) -> None:
        with call.task.changed:
            process.expected = False
            call.task.changed.notify_all()
        call.started = process

    def _announce(self, task: Task, init: TaskProcess, values: dict[str, Any]) -> None:
        self._events.publish(task.link, "/tasks/create", container_id=task.id, bundle=task.bundle,
                             rootfs=values["rootfs"], pid=init.pid, checkpoint=values["checkpoint"], io={
                                 name: values[name] for name in ("stdin", "stdout", "stderr", "terminal")})

    def _options(self, task: Task, given: dict[str, Any] | None) -> dict[str, Any]:
        options = read_options(given)
        task.choose(os.path.join(options["root"], self._namespace) if options["root"] else task.root,
                    systemd=options["systemd_cgroup"])
        task.owner = options["io_uid"], options["io_gid"]
        return options

    def _create(self, task: Task, init: TaskProcess, options: dict[str, Any]) -> None:
        join_pod(task.bundle, self._namespace)
        streams, ours = self._open(task, init)
        try:
            state = task.runtime.create(
                task.id, task.bundle, parent=attach.parent_of(task, init, streams),
                console=ours[1] if ours else None, pivot=not options["no_pivot_root"],
                new_keyring=not options["no_new_keyring"])
            task.own_pids = state.own_pids
            attach.hand_over(task, init, streams, ours)
            task.known(init, state.pid, start_time(state.pid))
            init.phase = CREATED
            task.save(init)
        finally:
            attach.close(streams, ours)

    def _create_later(self, task: Task, init: TaskProcess, checkpoint: str, options: dict[str, Any]) -> None:
        """From a checkpoint, Start creates the container; until then it has no pid."""
        join_pod(task.bundle, self._namespace)
        init.checkpoint = {"image_path": checkpoint, "criu": options["criu_path"],
                           "work_path": options["criu_work_path"] or f"{task.bundle}/criu-work"}
        init.phase = CREATED
        task.save(init)

    def _restore(self, task: Task, init: TaskProcess) -> None:
        task.runtime.delete(task.id, force=True)   # what another server has begun
        streams, ours = self._open(task, init)
        try:
            task.runtime.restore(
                task.id, task.bundle, init.checkpoint["image_path"], work_path=init.checkpoint["work_path"],
                criu=init.checkpoint["criu"], parent=attach.parent_of(task, init, streams),
                console=ours[1] if ours else None)
            pid = task.runtime.state(task.id).pid
            for end in ours[1:]:
                end.close()   # nothing comes if the image has no terminal
            attach.hand_over(task, init, streams, ours)
            task.known(init, pid, start_time(pid))
            task.save(init)
        except BaseException:
            attach.let_go(task, init)
            end_loggers(init.loggers, patience=0)
            raise
        finally:
            attach.close(streams, ours)

    def _open(self, task: Task, process: TaskProcess) -> tuple[ProcessStreams, attach.Ours]:
        return attach.open_for(task, process, self._namespace)

    def _undo(self, task: Task, init: TaskProcess) -> None:
        """Leave nothing of a Create that failed. Raises PyruntimeError: the rest is for the `delete` program."""
        try:
            attach.let_go(task, init)
            self._remove(task)
            task.unmark()
        finally:
            end_loggers(init.loggers, patience=0)
            task.drop(init)

    def _remove(self, task: Task) -> None:
        """Remove what is left of a container whose creation failed."""
        task.runtime.delete(task.id, force=True)
        rootfs.unmount(task.rootfs)

    # --- start -------------------------------------------------------------------------------------------------------

    def start(self, call: Call) -> dict[str, Any]:
        """Start: init, or a process that was added by Exec."""
        process = call.process()
        with process.lock:
            try:
                return self._start_exec(call, process) if process.exec_id else self._start_init(call, process)
            finally:
                self._expected(call, process)

    def _start_init(self, call: Call, init: TaskProcess) -> dict[str, Any]:
        task = call.task
        if init.phase == STARTED:
            if call.again:
                return {"pid": init.pid}
            raise CallError(FAILED_PRECONDITION, f"cannot start a {status_of(task, init)} process")
        if init.end is not None and not call.again:
            raise CallError(FAILED_PRECONDITION, "cannot start a stopped process")
        if init.checkpoint and not (call.again and init.pid):
            try:
                self._restore(task, init)
            except PyruntimeError as error:
                raise failed("restore", error) from None
            self._watch(task)
        elif not init.checkpoint and not (call.again and self._init_has_begun(task, init)):
            self._watch(task)
            try:
                task.runtime.start(task.id, keep=lambda fd: task.link.send(HOLD, init.connection, fds=[fd]))
            except PyruntimeError as error:
                raise failed("start", error) from None
        self._events.publish(task.link, "/tasks/start", container_id=task.id, pid=init.pid)
        init.phase = STARTED
        task.save(init)
        return {"pid": init.pid}

    def _init_has_begun(self, task: Task, init: TaskProcess) -> bool:
        """Whether a server that was killed has asked init to start the program; then wait until it is executed."""
        time.sleep(_MOMENT)   # init may not have read the request yet
        begun = task.runtime.state(task.id).status != "created"
        if begun:
            _await_program(init, _PATIENCE)
        task.link.send(RELEASE, init.connection, flags=1)
        return begun

    def _start_exec(self, call: Call, process: TaskProcess) -> dict[str, Any]:
        task, init = call.task, call.init()
        if process.phase == STARTED and call.again:
            return {"pid": process.pid}
        if process.phase != ADDED or (process.finished and not call.again):   # again: to say again why it failed
            raise CallError(FAILED_PRECONDITION, f"cannot start a {status_of(task, process)} process")
        if init.end is not None:
            raise CallError(FAILED_PRECONDITION, f"container {task.id} init process is not running")
        if not (call.again and self._has_begun(task, process)):
            try:
                self._exec(task, process)
            except BaseException as error:
                attach.let_go(task, process)
                end_loggers(process.loggers, patience=0)
                task.finish(process, 255, time.time_ns())
                task.save(process)
                raise failed("exec", error) from None
        self._events.publish(task.link, "/tasks/exec-started", container_id=task.id, exec_id=process.exec_id,
                             pid=process.pid)
        process.phase = STARTED
        task.save(process)
        return {"pid": process.pid}

    def _has_begun(self, task: Task, process: TaskProcess) -> bool:
        """Whether a server that was killed has started the program. If it has not, the process ends when the monitor
        closes the connection."""
        if not process.pid:
            return False
        _await_program(process, _MOMENT)
        task.link.send(RELEASE, process.connection, flags=1)
        _await_program(process, _PATIENCE)
        if process.end is not None and not process.end.executed:
            end = process.end
            with task.changed:
                process.end, process.pid = None, 0
            task.save(process)   # before its exit is forgotten: another server would wait for it
            task.parent.forget(end)
            return False
        return True

    def _exec(self, task: Task, process: TaskProcess) -> None:
        streams, ours = self._open(task, process)

        def on_pid(pid: int) -> None:
            attach.hand_over(task, process, streams, ours)
            task.known(process, pid, start_time(pid))
            task.save(process)

        try:
            task.runtime.exec(task.id, process=process.spec.encode(), detach=True, console=ours[1] if ours else None,
                              parent=attach.parent_of(task, process, streams), on_pid=on_pid, plans=self._plans,
                              keep=lambda fd: task.link.send(HOLD, process.connection, fds=[fd]))
        finally:
            attach.close(streams, ours)

    def exec(self, call: Call) -> dict[str, Any]:
        """Exec: record a process that Start will start."""
        task, values = call.task, call.values
        require(call, "exec in a {} state", "created", "running")
        exec_id = values["exec_id"]
        if not exec_id or not _IDS.issuperset(exec_id) or len(exec_id) > 128:
            raise CallError(INVALID, f'"{exec_id}" is not a valid exec ID')
        with task.changed:
            if exec_id in task.processes:
                if not call.again:   # otherwise only the event may be missing
                    raise CallError(ALREADY_EXISTS, f"id {exec_id}: already exists")
            else:
                process = TaskProcess(task.bundle, exec_id=exec_id, spec=_process_document(values), **{
                    name: values[name] for name in ("terminal", "stdin", "stdout", "stderr")})
                task.save(process)
                task.processes[exec_id] = process
        self._events.publish(task.link, "/tasks/exec-added", container_id=task.id, exec_id=exec_id)
        return {}

    # --- the end -----------------------------------------------------------------------------------------------------

    def settle(self, task: Task, process: TaskProcess) -> None:
        """Announce the end of a process: after its start, and the end of init after those of all others."""
        with process.lock:   # held by a start in progress
            end = process.end
            if end is None or process.finished or process.expected or (process.exec_id and process.phase == ADDED):
                return
            if not process.exec_id:
                self._end_others(task)
            self._events.publish(task.link, "/tasks/exit", container_id=task.id, id=process.exec_id or task.id,
                                 pid=process.pid, exit_status=end.status, exited_at=messages.moment(end.time))
            with task.link.together():
                task.link.send(BIND, end.serial, struct.pack("=Q", process.key))
                task.finish(process, end.status, end.time)

    def _end_others(self, task: Task) -> None:
        if not task.own_pids:
            try:
                task.runtime.kill(task.id, 9, everything=True)
            except StateError:   # no container is left
                return
        task.await_execs(_LAST_EXECS)

    def wait(self, call: Call) -> TaskProcess:
        """Wait: the process whose end is the answer."""
        return call.process()

    def delete(self, call: Call) -> dict[str, Any]:
        """Delete: of init, the container too."""
        task = call.task
        before = task.deleted.get(call.values["exec_id"]) if call.again else None
        if before and call.values["exec_id"] not in task.processes:
            attach.let_go(task, before)   # the server that has deleted it may not have said so
            return _deleted(before)
        process = call.process()
        with process.lock:
            if task.processes.get(process.exec_id) is not process:   # another Delete was faster
                raise CallError(NOT_FOUND, f"process does not exist {process.exec_id}")
            if process.pid and process.end is None and not process.finished and process.phase != CREATED:
                raise CallError(FAILED_PRECONDITION, f"cannot delete a {status_of(task, process)} process")
            if not process.exec_id:
                self._delete_init(task, process)
            else:
                self._delete_exec(task, process)
        call.deleted = process
        return _deleted(process)

    def _delete_init(self, task: Task, init: TaskProcess) -> None:
        task.runtime.delete(task.id, force=True)   # kills an init that waits for Start
        if init.pid:
            self._await_end(task, init)
        for process in [process for process in list(task.processes.values()) if process.exec_id]:
            attach.release(task, process, self.released)
            task.drop(process)
        attach.release(task, init, self.released)
        rootfs.unmount(task.rootfs)
        self._events.publish(task.link, "/tasks/delete", container_id=task.id, pid=init.pid, exit_status=init.status,
                             exited_at=messages.moment(init.exited_at))
        task.unmark()
        task.delete(init)

    def _delete_exec(self, task: Task, process: TaskProcess) -> None:
        if process.pid and not process.finished:
            self._await_end(task, process)
        attach.release(task, process, self.released)
        task.delete(process)

    def _await_end(self, task: Task, process: TaskProcess) -> None:
        """Its exit is announced before it is deleted."""
        with task.changed:
            task.changed.wait_for(lambda: process.end is not None or task.link.broken, _EXITED)
        self.settle(task, process)

    def shutdown(self, call: Call) -> dict[str, Any]:
        """Shutdown: of the monitor, unless it has a container."""
        init = call.task.init
        if init and init.phase == ADDED and not init.expected:
            # The server was killed during Create, which nobody repeats: containerd has ended, too.
            with init.lock:
                self._undo(call.task, init)
        if call.task.init is None:
            self._events.flush(call.task.link, 2.0)
            call.task.leaving, call.last = True, 1
        return {}

    def answered(self, call: Call) -> None:
        """Called with the answer: the monitor need not hold what was for the case that this server ends before."""
        if call.started:
            for key in (call.started.connection, call.started.starting):
                call.task.link.send(RELEASE, key, flags=1)

    def after(self, call: Call) -> None:
        """Called when the answer is on its way, also that it has failed."""
        if call.deleted:
            call.task.answered(call.deleted)
        if call.started:
            self.settle(call.task, call.started)   # it may have ended meanwhile


def _process_document(values: dict[str, Any]) -> str:
    """The process object of an Exec, whose field ``terminal`` overrides that of the document."""
    text: bytes = (values["spec"] or {"value": b""})["value"]
    document = json_object(text, "process")
    if bool(document.get("terminal")) != values["terminal"]:
        return encode({**document, "terminal": values["terminal"]})
    return text.decode()


def _await_program(process: TaskProcess, seconds: float) -> None:
    """Wait until the process has executed its program, or has ended."""
    deadline = time.monotonic() + seconds
    while process.end is None and time.monotonic() < deadline:
        try:
            if read(f"/proc/{process.pid}/comm") != _STUB_NAME:
                return
        except OSError:   # it has ended
            pass
        time.sleep(0.002)


def _deleted(process: TaskProcess) -> dict[str, Any]:
    return {"pid": process.pid, "exit_status": process.status, "exited_at": messages.moment(process.exited_at)}
