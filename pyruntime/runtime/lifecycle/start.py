"""`start`: let init execute the container's program (runtime.md#start)."""

from __future__ import annotations

import _socket
import os

from pyruntime.errors import ConfigError, Problem, PyruntimeError, StateError, StepError
from pyruntime.runtime.lifecycle import channel
from pyruntime.runtime.lifecycle.delete import end_process
from pyruntime.runtime.lifecycle.launch import step_error
from pyruntime.runtime.lifecycle.status import CREATED, CREATING, PAUSED, RUNNING, STOPPED, hook_state, status_of
from pyruntime.runtime.lifecycle.store import StateDirectory, StateRecord
from pyruntime.runtime.plan.steps import Step
from pyruntime.system import sockets
from pyruntime.system.processes import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_LAST_MOMENTS = 2   # seconds for an init that has reported its failure
_REFUSED = {
    RUNNING: "cannot start an already running container",
    STOPPED: "cannot start a container that has stopped",
    PAUSED: "cannot start a container in the paused state",
    CREATING: "cannot start a container that is being created",
}


def start(root: str, container_id: str, *, notify: str = "", keep: Callable[[int], None] = lambda fd: None) -> None:
    """Start a created container; return when its program has been executed, and with ``notify`` (the service manager's
    socket, sd_notify(3)) when the program has sent READY=1 or has exited. ``keep`` is called with the descriptor of the
    connection to init: while another process has it open, init is not disturbed by the end of this one. Raises
    StateError in any other state."""
    container = StateDirectory(root, container_id)
    record = container.read()
    _require_created(container, record)
    start_until_ready(container, record, notify, keep)


def _require_created(container: StateDirectory, record: StateRecord) -> None:
    status = status_of(container, record)
    if status != CREATED:
        raise StateError(f'{_REFUSED[status]}: "{container.id}"')


def finish_start(root: str, container_id: str, connection: int) -> None:
    """The rest of a start that the front began: ``connection`` is the descriptor over which init reports. The front
    leaves unexpected reports to Python."""
    import _socket  # lazy: few starts fail

    record = StateDirectory(root, container_id).read()
    sock = _socket.socket(fileno=connection)
    try:
        _follow(sock, record)
    finally:
        sock.close()


def start_until_ready(container: StateDirectory, record: StateRecord, notify: str,
                      keep: Callable[[int], None] = lambda fd: None) -> None:
    """start_record; if the container was created with a notify socket and ``notify`` names the service manager's, then
    wait until the program is ready and the manager has been notified."""
    if not notify:
        start_record(container, record, keep)
        return
    from pyruntime.runtime.lifecycle.notify import NotifyRelay, prepared  # lazy: only with $NOTIFY_SOCKET

    if not prepared(container.directory):
        start_record(container, record)
        return
    relay = NotifyRelay(container.directory, notify)
    try:
        pidfd = os.pidfd_open(record.pid)
        try:
            start_record(container, record)
            relay.await_ready(record.pid, pidfd)
        finally:
            os.close(pidfd)
    finally:
        relay.close()


def start_record(container: StateDirectory, record: StateRecord, keep: Callable[[int], None] = lambda fd: None) -> None:
    """Start a container whose record is known to be in the created state; ``keep`` as in `start`."""
    if not record.has_process:
        # As after any failed start, the container is stopped: init has no program to execute.
        end_process(record.pid, record.started)
        raise ConfigError("config.json", [Problem(
            "process", "process property must not be empty",
            "a container without `process` can be created, but not started", "config.md#process")])
    try:
        sock = sockets.connect(os.path.join(container.directory, "start.sock"), "start", _socket.SOCK_SEQPACKET)
    except PyruntimeError:
        _require_created(container, record)
        raise
    try:
        keep(sock.fileno())
        try:
            sock.send(b"s")
            sock.recv(1, _socket.MSG_PEEK)   # wait for a report, or for the end of the connection
        except ConnectionError:   # init has not read the request: it died, or another `start` came first
            _require_created(container, record)
            raise
        _follow(sock, record)
    finally:
        sock.close()
    if record.hooks.get("poststart"):
        _poststart(container, record)


def _follow(sock: object, record: StateRecord) -> None:
    ready = False
    while True:
        report = channel.receive(sock)  # type: ignore[arg-type]
        if report is None:
            if ready:
                return
            raise StepError("the container's init process died before its program could start")
        if report.kind == channel.EXEC:
            ready = True
        elif report.kind == channel.FAILED:
            if not wait(record.pid, record.started, seconds=_LAST_MOMENTS):   # the container is stopped now
                end_process(record.pid, record.started)
            known = {entry[0]: Step(entry[1], entry[2], entry[3], {}, entry[4], ()) for entry in record.tail}
            if report.index not in known:
                raise StepError(f"the container's init process failed: {report.call}: {report.detail}")
            raise step_error(known, record.total, report.index, report.errno, report.detail, report.call)


def _poststart(container: StateDirectory, record: StateRecord) -> None:
    """Stop the container if a poststart hook fails (runtime.md#lifecycle, step 10)."""
    from pyruntime.errors import HookError  # lazy: only with poststart hooks
    from pyruntime.runtime.lifecycle.hooks import environment, run_hook

    for index, hook in enumerate(record.hooks["poststart"]):
        try:
            run_hook(f"hooks.poststart[{index}]", path=hook["path"], args=hook.get("args") or [hook["path"]],
                     env=environment(hook.get("env")), timeout=hook.get("timeout") or 0,
                     state=hook_state(record, RUNNING))
        except HookError as error:
            from pyruntime.runtime.lifecycle.delete import destroy  # lazy: only for a poststart hook that fails
            error.notes += destroy(container, record)
            raise
