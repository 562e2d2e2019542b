"""The task service (containerd's api/runtime/task/v3/shim.proto; v2 is the same).

A request may come a second time, from a monitor whose server was killed before it answered: ``again``. Then what was
done already is not done twice.
"""

from __future__ import annotations

import _socket
import os
import struct
import time
from errno import EACCES, ENOENT, ENOTDIR

from pyruntime.errors import ConfigError, ContainerExists, NoSuchContainer, PyruntimeError, StateError, UsageError
from pyruntime.runtime.api import Runtime
from pyruntime.shim import messages, rootfs
from pyruntime.shim.link import BIND, CLOSE_STDIN, HOLD, RELEASE, RESIZE, TERMINAL
from pyruntime.shim.options import read_options
from pyruntime.shim.pod import join_pod
from pyruntime.shim.protobuf import Malformed
from pyruntime.shim.stats import metrics
from pyruntime.shim.streams import ProcessStreams, StreamNames, end_loggers, open_streams
from pyruntime.shim.task import ADDED, CREATED, STARTED, Task, TaskProcess
from pyruntime.system import sockets
from pyruntime.system.files import read
from pyruntime.system.json import decode, encode
from pyruntime.system.processes import send_signal, start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.shim.events import Publisher

# google.rpc.Code, as containerd understands it
UNKNOWN, INVALID, NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION, UNIMPLEMENTED = 2, 3, 5, 6, 9, 12
_CODES = ((NoSuchContainer, NOT_FOUND), (ContainerExists, ALREADY_EXISTS), (StateError, FAILED_PRECONDITION),
          (UsageError, INVALID))
# Clients look for these words as Go writes them.
_SPELLED = [os.strerror(number) for number in (ENOENT, EACCES, ENOTDIR)]
_STATUS = {"created": 1, "running": 2, "stopped": 3, "paused": 4}
_DRAINED = 11.0     # seconds for the monitor to copy the rest of a terminal's output; it takes 10 at most
_MOMENT = 0.05      # seconds in which a process reads a request, or executes its program, ordinarily
_PATIENCE = 10.0    # seconds for the same, at most
_CREATED = 2.0      # seconds for a Create in progress; containerd waits as long for the answer to State
_LAST_EXECS = 10.0  # seconds for the processes of `exec` to end after init
_SIGNALS = 64
_STUB_NAME = b"pyruntime:init\n"   # of a process that has not executed its program: native/stub/stub.c
_IDS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-.")


class CallError(Exception):
    """An error for the client: a code and a text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def call_error(error: Exception) -> CallError:
    """The error for the client."""
    if isinstance(error, CallError):
        return error
    if isinstance(error, PyruntimeError):
        text = error.sentence
        for libc in _SPELLED:
            text = text.replace(libc, libc.lower())
        return CallError(next((code for kind, code in _CODES if isinstance(error, kind)), UNKNOWN), text)
    if isinstance(error, Malformed):
        return CallError(INVALID, f"malformed request: {error}")
    return CallError(UNKNOWN, f"{type(error).__name__}: {error}")


class Call:
    """A request. ``again``: another server may have begun with it."""

    def __init__(self, task: Task, values: dict[str, Any], *, again: bool) -> None:
        self.task = task
        self.values = values
        self.again = again
        self.started: TaskProcess | None = None   # by this call
        self.deleted: TaskProcess | None = None
        self.last = 0   # 1 if the monitor is to end when the answer is sent, 2: when the client has left after that

    def expect(self) -> None:
        """Called for a repeated Create or Start, before anything else: the process is announced by it."""
        process = self.task.processes.get(self.values.get("exec_id", ""))
        if process:
            process.expected = True

    def process(self) -> TaskProcess:
        """The process that the request names. Raises CallError."""
        exec_id = self.values.get("exec_id", "")
        self.init()
        process = self.task.processes.get(exec_id)
        if process is None:
            raise CallError(NOT_FOUND, f"process does not exist {exec_id}")
        return process

    def await_create(self) -> None:
        """Wait for a Create in progress. A client can see that init has its input before it gets the answer to Create:
        nerdctl then asks for the state, and if there is none, it never closes the input."""
        init = self.task.init
        if init and self.task.creating and init.lock.acquire(timeout=_CREATED):
            init.lock.release()

    def init(self) -> TaskProcess:
        """The init process. Raises CallError."""
        init = self.task.init
        if init is None or init.phase == ADDED or self.values["id"] != self.task.id:
            raise CallError(NOT_FOUND, "container not created")
        return init


class Service:
    """The methods. Each gets a call and returns the fields of its response."""

    def __init__(self, namespace: str, publisher: Publisher, watch: Callable[[Task], None]) -> None:
        """``watch`` is called with a task before it is started: watch it for OOM kills."""
        self._namespace = namespace
        self._events = publisher
        self._watch = watch
        self._plans = Runtime.plans()
        self.released: set[int] = set()   # keys of processes whose streams the monitor has closed

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
                raise _failed("create", error) from None
            self._announce(task, init, values)
            self._expected(call, init)
            return {"pid": init.pid}

    def _created_before(self, call: Call, init: TaskProcess) -> dict[str, Any]:
        """Another server has created it: what it may not have done is done again."""
        call.task.link.send(RELEASE, init.starting, flags=1)
        self._announce(call.task, init, call.values)
        self._expected(call, init)
        return {"pid": init.pid}

    def _expected(self, call: Call, process: TaskProcess) -> None:
        process.expected = False
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
                task.id, task.bundle, streams=() if init.terminal else streams.child, parent=task.parent,
                console=ours[1] if ours else None, pivot=not options["no_pivot_root"],
                new_keyring=not options["no_new_keyring"])
            task.own_pids = state.own_pids
            init.phase = CREATED
            self._hand_streams(task, init, streams, ours)
            task.known(init, state.pid, start_time(state.pid))
            task.save(init)
            # Not before: if this server ends here, another one begins again.
            task.link.send(RELEASE, init.starting, flags=1)
        finally:
            _close(streams, ours)

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
                criu=init.checkpoint["criu"], parent=task.parent, console=ours[1] if ours else None,
                streams=() if init.terminal else streams.child)
            pid = task.runtime.state(task.id).pid
            for end in ours[1:]:
                end.close()   # nothing comes if the image has no terminal
            self._hand_streams(task, init, streams, ours)
            task.known(init, pid, start_time(pid))
            task.save(init)
            task.link.send(RELEASE, init.starting, flags=1)
        except BaseException:
            self._let_go(task, init)
            end_loggers(init.loggers, patience=0)
            raise
        finally:
            _close(streams, ours)

    def _open(self, task: Task, process: TaskProcess) -> tuple[ProcessStreams, tuple[_socket.socket, ...]]:
        target = StreamNames(process.stdin, process.stdout, process.stderr, terminal=process.terminal, owner=task.owner)
        # Of an attempt of a server that was killed: the key is the same.
        task.link.send(RELEASE, process.key, flags=1)
        # The client would take the end of this server for the end of the process, and close its FIFOs.
        streams = open_streams(target, {"CONTAINER_ID": task.id, "CONTAINER_NAMESPACE": self._namespace},
                               lambda fifos: task.parent.hold_open(fifos, process.starting))
        process.loggers = streams.loggers
        return streams, _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM) if process.terminal else ()

    def _hand_streams(self, task: Task, process: TaskProcess, streams: ProcessStreams, ours: tuple[_socket.socket, ...]
                      ) -> None:
        """Give the monitor what it holds for the process."""
        if streams.held:
            task.link.send(HOLD, process.key, fds=streams.held)
        if streams.input and not process.input_closed:
            task.link.send(HOLD, process.key, flags=1, fds=streams.input)
        if not ours:
            return
        master = sockets.receive_fd(ours[0])
        try:
            source = streams.child[:1] if process.stdin else []
            task.link.send(TERMINAL, process.key, flags=len(source), fds=[master, streams.child[1], *source])
        finally:
            os.close(master)
        if process.size:
            self._resize(task, process, *process.size)

    def _undo(self, task: Task, init: TaskProcess) -> None:
        """Leave nothing of a Create that failed. Raises PyruntimeError: the rest is for the `delete` program."""
        try:
            self._let_go(task, init)
            self._remove(task)
            task.unmark()
        finally:
            end_loggers(init.loggers, patience=0)
            task.drop(init)

    def _remove(self, task: Task) -> None:
        """Remove what is left of a container whose creation failed."""
        task.runtime.delete(task.id, force=True)
        rootfs.unmount(task.rootfs)

    def _let_go(self, task: Task, process: TaskProcess) -> None:
        """Let the monitor close what it holds for a process that could not be started."""
        for key in (process.connection, process.starting, process.key):
            task.link.send(RELEASE, key, flags=1)

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
                self._let_start(task, init)
                return {"pid": init.pid}
            raise CallError(FAILED_PRECONDITION, f"cannot start a {_status(task, init)} process")
        if init.end is not None and not call.again:
            raise CallError(FAILED_PRECONDITION, "cannot start a stopped process")
        if init.checkpoint and not (call.again and init.pid):
            try:
                self._restore(task, init)
            except PyruntimeError as error:
                raise _failed("restore", error) from None
            self._watch(task)
        elif not init.checkpoint and not (call.again and self._init_has_begun(task, init)):
            self._watch(task)
            try:
                task.runtime.start(task.id, keep=lambda fd: task.link.send(HOLD, init.connection, fds=[fd]))
            except PyruntimeError as error:
                raise _failed("start", error) from None
            finally:
                task.link.send(RELEASE, init.connection, flags=1)
        self._events.publish(task.link, "/tasks/start", container_id=task.id, pid=init.pid)
        init.phase = STARTED
        task.save(init)
        return {"pid": init.pid}

    @staticmethod
    def _let_start(task: Task, process: TaskProcess) -> None:
        """The process has started: the monitor need not hold what was for the case that this server ends before."""
        for key in (process.connection, process.starting):
            task.link.send(RELEASE, key, flags=1)

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
            self._let_start(task, process)
            return {"pid": process.pid}
        if process.phase != ADDED or (process.finished and not call.again):   # again: to say again why it failed
            raise CallError(FAILED_PRECONDITION, f"cannot start a {_status(task, process)} process")
        if init.end is not None:
            raise CallError(FAILED_PRECONDITION, f"container {task.id} init process is not running")
        if not (call.again and self._has_begun(task, process)):
            try:
                self._exec(task, process)
            except BaseException as error:
                self._let_go(task, process)
                end_loggers(process.loggers, patience=0)
                task.finish(process, 255, time.time_ns())
                task.save(process)
                raise _failed("exec", error) from None
        self._events.publish(task.link, "/tasks/exec-started", container_id=task.id, exec_id=process.exec_id,
                             pid=process.pid)
        process.phase = STARTED
        task.save(process)
        self._let_start(task, process)
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
            task.parent.forget(process.end)
            with task.changed:
                process.end, process.pid = None, 0
            return False
        return True

    def _exec(self, task: Task, process: TaskProcess) -> None:
        streams, ours = self._open(task, process)

        def on_pid(pid: int) -> None:
            self._hand_streams(task, process, streams, ours)
            task.known(process, pid, start_time(pid))
            task.save(process)

        try:
            task.runtime.exec(task.id, process=process.spec.encode(), detach=True, console=ours[1] if ours else None,
                              streams=() if process.terminal else streams.child, parent=task.parent, on_pid=on_pid,
                              plans=self._plans,
                              keep=lambda fd: task.link.send(HOLD, process.connection, fds=[fd]))
        finally:
            _close(streams, ours)

    def exec(self, call: Call) -> dict[str, Any]:
        """Exec: record a process that Start will start."""
        task, values = call.task, call.values
        _require(call, "exec in a {} state", "created", "running")
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
            return _deleted(before)
        process = call.process()
        with process.lock:
            if task.processes.get(process.exec_id) is not process:   # another Delete was faster
                raise CallError(NOT_FOUND, f"process does not exist {process.exec_id}")
            if process.pid and process.end is None and not process.finished and process.phase != CREATED:
                raise CallError(FAILED_PRECONDITION, f"cannot delete a {_status(task, process)} process")
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
            self._release(task, process)
            task.drop(process)
        self._release(task, init)
        rootfs.unmount(task.rootfs)
        self._events.publish(task.link, "/tasks/delete", container_id=task.id, pid=init.pid, exit_status=init.status,
                             exited_at=messages.moment(init.exited_at))
        task.unmark()
        task.delete(init)

    def _delete_exec(self, task: Task, process: TaskProcess) -> None:
        if process.pid and not process.finished:
            self._await_end(task, process)
        self._release(task, process)
        task.delete(process)

    def _await_end(self, task: Task, process: TaskProcess) -> None:
        """Its exit is announced before it is deleted."""
        with task.changed:
            task.changed.wait_for(lambda: process.end is not None or task.link.broken, _DRAINED)
        self.settle(task, process)

    def _release(self, task: Task, process: TaskProcess) -> None:
        """Close the streams; what a terminal has written is copied before."""
        if process.terminal:
            task.link.send(RELEASE, process.key)
            task.await_released(process.key, self.released, _DRAINED)
        else:
            task.link.send(RELEASE, process.key, flags=1)
        end_loggers(process.loggers)

    # --- while it runs -----------------------------------------------------------------------------------------------

    def state(self, call: Call) -> dict[str, Any]:
        """State."""
        call.await_create()
        task, process = call.task, call.process()
        return {"id": process.exec_id or task.id, "bundle": task.bundle, "pid": process.pid,
                "status": _STATUS[_status(task, process)], "stdin": process.stdin, "stdout": process.stdout,
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
        if not (call.again and _status(call.task, call.init()) == "paused"):
            _require(call, "pause a {} container", "running")
            call.task.runtime.pause(call.task.id)
        self._events.publish(call.task.link, "/tasks/paused", container_id=call.task.id)
        return {}

    def resume(self, call: Call) -> dict[str, Any]:
        """Resume."""
        if not (call.again and _status(call.task, call.init()) != "paused"):
            _require(call, "resume a {} container", "paused")
            call.task.runtime.resume(call.task.id)
        self._events.publish(call.task.link, "/tasks/resumed", container_id=call.task.id)
        return {}

    def checkpoint(self, call: Call) -> dict[str, Any]:
        """Checkpoint: to a directory; the container keeps running unless the options say that it exits."""
        task = call.task
        _require(call, "checkpoint a {} container", "running", "paused")
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
            raise _failed("checkpoint", error) from None
        self._events.publish(task.link, "/tasks/checkpointed", container_id=task.id, checkpoint=call.values["path"])
        return {}

    def update(self, call: Call) -> dict[str, Any]:
        """Update: change limits."""
        _require(call, "update a {} container", "created", "running", "paused")
        text = (call.values["resources"] or {"value": b"{}"})["value"]
        try:
            call.task.runtime.update(call.task.id, _json_object(text, "resources"))
        except ConfigError as error:
            raise CallError(INVALID, error.sentence) from None
        return {}

    def resizepty(self, call: Call) -> dict[str, Any]:
        """ResizePty: also between Create and Start."""
        process = call.process()
        if process.terminal:
            process.size = call.values["height"], call.values["width"]
            self._resize(call.task, process, *process.size)
        return {}

    def _resize(self, task: Task, process: TaskProcess, rows: int, columns: int) -> None:
        task.link.send(RESIZE, process.key, struct.pack("=4H", rows & 0xFFFF, columns & 0xFFFF, 0, 0))

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

    def after(self, call: Call) -> None:
        """Called when the answer is on its way, also that it has failed."""
        if call.deleted:
            call.task.answered(call.deleted)
        if call.started:
            self.settle(call.task, call.started)   # it may have ended meanwhile


def _process_document(values: dict[str, Any]) -> str:
    """The process object of an Exec, whose field ``terminal`` overrides that of the document."""
    text: bytes = (values["spec"] or {"value": b""})["value"]
    document = _json_object(text, "process")
    if bool(document.get("terminal")) != values["terminal"]:
        return encode({**document, "terminal": values["terminal"]})
    return text.decode()


def _json_object(text: bytes, name: str) -> dict[str, Any]:
    """A JSON object of a request. Raises CallError."""
    try:
        document = decode(text, name)
    except ConfigError as error:
        raise CallError(INVALID, error.sentence) from None
    if not isinstance(document, dict):
        raise CallError(INVALID, f"{name}: not a JSON object")
    return document


def _status(task: Task, process: TaskProcess) -> str:
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


def _require(call: Call, what: str, *allowed: str) -> None:
    """Raise CallError, in the words of containerd's own shim, unless the container has a status that is allowed."""
    status = _status(call.task, call.init())
    if status not in allowed:
        raise CallError(FAILED_PRECONDITION, f"cannot {what.format(status)}")


def _failed(verb: str, error: BaseException) -> BaseException:
    """The error for the client, with the words in front that clients look for."""
    if isinstance(error, PyruntimeError):
        notes = "".join(f"; and while cleaning up: {note}" for note in getattr(error, "__notes__", ()))
        known = call_error(error)
        return CallError(known.code, f"OCI runtime {verb} failed: {known}{notes}")
    return error


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


def _close(streams: ProcessStreams, ours: tuple[_socket.socket, ...]) -> None:
    streams.close()
    for end in ours:
        end.close()


def _deleted(process: TaskProcess) -> dict[str, Any]:
    return {"pid": process.pid, "exit_status": process.status, "exited_at": messages.moment(process.exited_at)}
