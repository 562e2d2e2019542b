"""The server: one process for all containers of a containerd namespace.

One thread reads the links of all monitors; requests are worked on by others (workers.py). The server may be killed at
any moment: the monitors start another one, which learns from them and from the bundles all that it must know.
"""

from __future__ import annotations

import _socket
import gc
import os
import select
import signal
import sys
import threading
import time
import traceback

from pyruntime.errors import PyruntimeError, words
from pyruntime.shim import link as protocol
from pyruntime.shim import messages, sandbox_messages
from pyruntime.shim.calls import NOT_FOUND, UNIMPLEMENTED, Call, CallError, call_error
from pyruntime.shim.events import Publisher
from pyruntime.shim.link import MonitorLink, Packet, ProcessExit
from pyruntime.shim.protobuf import Malformed, Table
from pyruntime.shim.sandbox_service import SandboxService
from pyruntime.shim.service import Service
from pyruntime.shim.task import ROOT, Task, TaskProcess
from pyruntime.shim.workers import Workers
from pyruntime.system.files import forget
from pyruntime.system.locks import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.runtime.lifecycle.events import OomCounter

SERVICES = {"containerd.task.v2.Task": messages.METHODS, "containerd.task.v3.Task": messages.METHODS,
            sandbox_messages.SERVICE: sandbox_messages.METHODS}


class Monitor:
    """A link and the task of its monitor. ``task`` is None until the monitor has introduced itself."""

    def __init__(self, link: MonitorLink) -> None:
        self.link = link
        self.task: Task | None = None
        self.oom: OomCounter | None = None


class ShimServer:
    """The server that listens at ``path``; ``listener`` is its socket. It ends after ``idle`` seconds without a
    monitor."""

    def __init__(self, path: str, listener: _socket.socket, namespace: str, events: str, idle: float) -> None:
        self._idle = idle
        self._end = time.monotonic() + idle   # when the server ends, unless there is a monitor
        self._path = path
        self._listener = listener
        self._namespace = namespace
        self._poll = select.epoll()
        self._wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._publisher = Publisher(events, namespace, self._poll, self.log, self._look_again)
        self._service = Service(namespace, self._publisher, self._watch)
        self._pods = SandboxService(namespace)
        self._workers = Workers()
        self._monitors: dict[int, Monitor] = {}      # descriptor of the link -> monitor
        self._counters: dict[int, Monitor] = {}      # descriptor of an OOM counter -> monitor
        self._watching = threading.Lock()            # of their making and closing
        self._at_work: dict[int, tuple[str, str, float]] = {}   # thread -> method, task, since when
        self._stopping = False

    def log(self, text: str) -> None:
        """Write a line to containerd's log: through the FIFO of any bundle; containerd reads it as long as the task
        exists."""
        line = f"pyruntime shim, namespace {self._namespace}: {text}\n".encode()
        bundles = [monitor.task.bundle for monitor in list(self._monitors.values()) if monitor.task]
        for path in (*(f"{bundle}/log" for bundle in bundles), "/dev/stderr"):
            try:
                fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    os.write(fd, line)
                finally:
                    os.close(fd)
            except OSError:   # the task is gone, and the reader of its FIFO
                continue
            return

    # --- the loop ----------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Serve until no monitor has been connected for a while, or until SIGTERM."""
        # Commands collect no garbage (commandline/bytecode.py); here, tasks that have ended are cycles.
        gc.freeze()
        gc.set_threshold(2000, 5, 5)
        signal.set_wakeup_fd(self._waker)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGUSR1, lambda number, frame: self.dump())
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        self._listener.setblocking(False)
        self._poll.register(self._listener, select.EPOLLIN)
        self._poll.register(self._wake, select.EPOLLIN)
        while not self._stopping:
            ready = self._poll.poll(self._patience())
            if not ready and not self._monitors and time.monotonic() >= self._end and self._leave():
                return
            for fd, _ in ready:
                if fd == self._listener.fileno():
                    self._accept()
                elif fd == self._wake:
                    os.read(self._wake, 4096)
                else:
                    self._receive(fd)
            self._publisher.turn()
        self._finish()

    def _patience(self) -> float:
        """The seconds until the loop must go on; negative: it need not. Events of containers that have ended are
        published until the server ends."""
        patience, now = self._publisher.patience(), time.monotonic()
        if self._monitors:
            self._end = now + self._idle
            return patience
        left = max(self._end - now, 0.0)
        return left if patience < 0 else min(patience, left)

    def _receive(self, fd: int) -> None:
        """What the work in progress may wait for."""
        if fd in self._monitors:
            self._read(self._monitors[fd])
        elif fd == self._publisher.fileno():
            self._publisher.read()
        elif fd in self._counters:
            self._count(self._counters[fd])

    def _look_again(self) -> None:
        """Called by any thread: let the loop ask for the publisher's patience."""
        os.write(self._waker, b"w")

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _finish(self) -> None:
        """After SIGTERM: let the work in progress end, which may wait for what a monitor sends; the monitors then start
        another server."""
        for other in (self._listener, self._wake):
            self._poll.unregister(other)
        deadline = time.monotonic() + 10
        while self._at_work and time.monotonic() < deadline:
            for fd, _ in self._poll.poll(0.01):
                self._receive(fd)
            self._publisher.turn()

    def _leave(self) -> bool:
        """Nobody needs the server. A monitor that connects at this moment sees the end of the connection, and starts
        another server."""
        lock = f"{self._path}.lock"
        with Lock(lock):
            self._accept()
            if self._monitors:
                return False
            forget(self._path)
            forget(lock)   # a monitor that waits for it takes another one
            return True

    def _accept(self) -> None:
        while True:
            try:
                fd, _ = self._listener._accept()  # type: ignore[attr-defined]  # what socket.accept calls
            except BlockingIOError:
                return
            connection = _socket.socket(fileno=fd)
            connection.setblocking(True)
            self._monitors[connection.fileno()] = Monitor(MonitorLink(connection))
            self._poll.register(connection, select.EPOLLIN)

    def _read(self, monitor: Monitor) -> None:
        try:
            for packet in monitor.link.packets():
                self._take(monitor, packet)
        except (PyruntimeError, OSError, ValueError, KeyError) as error:   # KeyError: a record of another version
            self.log(f"{monitor.task.id if monitor.task else 'a monitor'}: {words(error)}")
            monitor.link.broken = True
        if monitor.link.broken:
            self._lose(monitor)

    def _lose(self, monitor: Monitor) -> None:
        """The monitor has ended. If it should not have, containerd runs the `delete` program."""
        connection = monitor.link.connection
        self._poll.unregister(connection)
        del self._monitors[connection.fileno()]
        monitor.link.close()
        self._forget_oom(monitor)
        if monitor.task:
            monitor.task.parent.lost()
            if not monitor.task.leaving:
                self.log(f"the monitor of {monitor.task.id} has ended")

    # --- packets -----------------------------------------------------------------------------------------------------

    def _take(self, monitor: Monitor, packet: Packet) -> None:
        if packet.kind == protocol.HELLO:
            monitor.task = self._hello(monitor.link, packet)
            return
        task = monitor.task
        if task is None:
            raise ValueError("a packet before HELLO")
        if packet.kind == protocol.REQUEST:
            if not self._stopping:   # otherwise it is repeated to the next server
                self._request(monitor, task, packet)
        elif packet.kind == protocol.EXITED:
            task.parent.exited(ProcessExit(packet.payload))
        elif packet.kind == protocol.SPAWNED:
            task.parent.spawned(packet.number, packet.payload)
        elif packet.kind == protocol.CLOSED:
            with task.changed:
                self._service_of(task).released.add(packet.number)
                task.changed.notify_all()
        elif packet.kind == protocol.EVENT:
            self._publisher.again(task.link, packet.number, packet.payload)
        elif packet.kind == protocol.READY:
            task.parent.forget_strangers()
            task.begin()
            if task.init and task.init.end is None and not task.pod:
                self._workers.run(lambda: self._watch(task))

    def _hello(self, link: MonitorLink, packet: Packet) -> Task:
        if not protocol.OLDEST <= packet.flags <= protocol.PROTOCOL:
            raise ValueError(f"monitor {packet.number} has version {packet.flags} of the link, this server"
                             f" {protocol.OLDEST} to {protocol.PROTOCOL}: use the version of pyruntime that started it")
        task_id, bundle = packet.payload.decode().split("\0")[:2]
        task = Task(task_id, bundle, link, f"{ROOT}/{self._namespace}", self._settle_soon)
        task.monitor = packet.number
        task.load()
        return task

    def _settle_soon(self, task: Task, process: TaskProcess) -> None:
        def settle() -> None:
            self._service_of(task).settle(task, process)

        if process.exec_id and process.lock.acquire(blocking=False):   # no other thread works on it: it is done at once
            try:
                with task.link.together():
                    self._guarded("exit", task, settle)
            finally:
                process.lock.release()
        else:
            self._workers.run(lambda: self._working("exit", task, settle))

    def _service_of(self, task: Task) -> Service:
        return self._pods if task.pod else self._service

    def _request(self, monitor: Monitor, task: Task, packet: Packet) -> None:
        try:
            request = messages.REQUEST.decode(packet.payload)
            kinds = SERVICES.get(request["service"], {}).get(request["method"])
            if kinds is None:
                raise CallError(UNIMPLEMENTED, f'unknown service or method: {request["service"]}/{request["method"]}')
            call = Call(task, kinds[0].decode(request["payload"]), again=bool(packet.flags & 1))
            if call.again and request["method"] in ("Create", "Start", "CreateSandbox", "StartSandbox"):
                call.expect()
        except (Malformed, CallError) as error:
            self._respond(task, packet.number, error=call_error(error))
        else:
            method = request["method"]
            service = self._pods if method in sandbox_messages.METHODS else self._service_of(task)

            def carry_out() -> None:
                self._answer(service, method, kinds[1], call, packet.number)
                service.after(call)

            if service.may_wait(method, call):
                self._workers.run(lambda: self._working(method, task, carry_out))
                return
            with task.link.together():
                self._answer(service, method, kinds[1], call, packet.number)
            service.after(call)

    def _answer(self, service: Service, method: str, table: Table, call: Call, number: int) -> None:
        """Carry out a request. Nothing that goes wrong may leave it without an answer."""
        try:
            if method in ("Wait", "WaitSandbox"):
                process = service.wait(call)
                call.task.when_finished(process, lambda: self._tell_end(call.task, process, table, number))
                return
            fields = getattr(service, method.lower())(call)
            with call.task.link.together():
                self._respond(call.task, number, table.encode(fields), last=call.last)
                service.answered(call)
        except Exception as error:
            if not isinstance(error, (CallError, PyruntimeError, Malformed)):
                self.log(f"{method} {call.task.id}: {traceback.format_exc()}")
            with call.task.link.together():
                self._respond(call.task, number, error=call_error(error))
                service.answered(call)

    def _tell_end(self, task: Task, process: TaskProcess, table: Table, number: int) -> None:
        """Answer a Wait."""
        if process.finished:
            self._respond(task, number, table.encode({
                "exit_status": process.status, "exited_at": messages.moment(process.exited_at)}))
        else:
            self._respond(task, number, error=CallError(
                NOT_FOUND, f"process {process.exec_id} was deleted before it was started: not found"))

    def _respond(self, task: Task, number: int, payload: bytes = b"", error: CallError | None = None, *,
                 last: int = 0) -> None:
        status = {"code": error.code, "message": str(error)} if error else None
        task.link.send(protocol.RESPONSE, number, messages.RESPONSE.encode({"status": status, "payload": payload}),
                       flags=last)

    def _working(self, what: str, task: Task, job: Any) -> None:
        thread = threading.get_ident()
        self._at_work[thread] = what, task.id, time.monotonic()
        self._guarded(what, task, job)
        del self._at_work[thread]

    def _guarded(self, what: str, task: Task, job: Any) -> None:
        try:
            job()
        except Exception:
            self.log(f"{what} {task.id}: {traceback.format_exc()}")

    # --- OOM kills ---------------------------------------------------------------------------------------------------

    def _watch(self, task: Task) -> None:
        monitor = next((monitor for monitor in list(self._monitors.values()) if monitor.task is task), None)
        if monitor is None:
            return
        with self._watching:
            if monitor.oom or monitor.link.broken:
                return
            try:
                counter = task.runtime.oom_counter(task.id)
            except (PyruntimeError, OSError):
                return   # no container is left, or nothing counts
            if counter.fds:
                monitor.oom = counter
                self._counters[counter.fds[0]] = monitor
                self._poll.register(counter.fds[0], counter.event | select.EPOLLET)

    def _count(self, monitor: Monitor) -> None:
        if monitor.oom is None or monitor.task is None:
            return
        kills = monitor.oom.count()
        for _ in range(kills):
            self._publisher.publish(monitor.link, "/tasks/oom", container_id=monitor.task.id)
        if not kills and not os.path.isdir(monitor.oom.directory):
            self._forget_oom(monitor)

    def _forget_oom(self, monitor: Monitor) -> None:
        with self._watching:
            counter, monitor.oom = monitor.oom, None
            if counter:
                del self._counters[counter.fds[0]]
                self._poll.unregister(counter.fds[0])
                counter.close()

    # --- for people --------------------------------------------------------------------------------------------------

    def dump(self) -> None:
        """On SIGUSR1: write to containerd's log what the server does."""
        lines = [f"process {os.getpid()}: {len(self._monitors)} monitors, {self._publisher.pending} events to publish,"
                 f" {self._workers.count} workers"]
        for monitor in self._monitors.values():
            if monitor.task:
                lines += [f"task {monitor.task.id}: process {process.exec_id or 'init'}, pid {process.pid},"
                          f" {'finished' if process.finished else process.phase}, {len(process.waiters)} wait for it"
                          for process in list(monitor.task.processes.values())]
        now = time.monotonic()
        frames = sys._current_frames()
        for thread, (what, task_id, since) in list(self._at_work.items()):
            lines.append(f"{what} {task_id}, since {now - since:.1f} s:")
            if thread in frames:
                lines += [line.rstrip() for line in traceback.format_stack(frames[thread])]
        for line in lines:
            self.log(line)
