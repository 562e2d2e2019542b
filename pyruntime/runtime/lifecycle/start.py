"""`start`: tell init to become the container's program (runtime.md#start)."""

from __future__ import annotations

import os

from pyruntime.errors import ConfigError, Problem, StateError, StepError
from pyruntime.runtime.lifecycle import channel
from pyruntime.runtime.lifecycle.delete import end_process
from pyruntime.runtime.lifecycle.launch import step_error
from pyruntime.runtime.lifecycle.status import CREATED, CREATING, PAUSED, RUNNING, STOPPED, hook_state, status_of
from pyruntime.runtime.lifecycle.store import StateDirectory, StateRecord
from pyruntime.runtime.plan.steps import Step
from pyruntime.system import sockets

_REFUSED = {
    RUNNING: "cannot start an already running container",
    STOPPED: "cannot start a container that has stopped",
    PAUSED: "cannot start a container in the paused state",
    CREATING: "cannot start a container that is being created",
}


def start(root: str, container_id: str, *, notify: str = "") -> None:
    """Start a created container; returns when its program has taken over, and with ``notify`` (the service manager's
    socket, sd_notify(3)) when it has said that it is ready or has ended. Raises StateError in any other state."""
    container = StateDirectory(root, container_id)
    record = container.read()
    status = status_of(container, record)
    if status != CREATED:
        raise StateError(f'{_REFUSED[status]}: "{container_id}"')
    start_until_ready(container, record, notify)


def start_until_ready(container: StateDirectory, record: StateRecord, notify: str) -> None:
    """start_record; if the container was created to notify a service manager and ``notify`` names its socket, then wait
    until the program is ready and the manager knows it."""
    if not notify:
        start_record(container, record)
        return
    from pyruntime.runtime.lifecycle.notify import NotifyRelay, prepared

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


def start_record(container: StateDirectory, record: StateRecord) -> None:
    """The same for a record that is known to be in the created state."""
    import _socket

    if not record.has_process:
        # As after any other start that fails, the container has stopped: there is nothing that init could become.
        end_process(record.pid, record.started)
        raise ConfigError("config.json", [Problem(
            "process", "process property must not be empty",
            "a container without `process` can be created, but not started", "config.md#process")])
    sock = sockets.connect(os.path.join(container.directory, "start.sock"), "start", _socket.SOCK_SEQPACKET)
    try:
        sock.send(b"s")
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
            known = {entry[0]: Step(entry[1], entry[2], entry[3], {}, entry[4], ()) for entry in record.tail}
            if report.index not in known:
                raise StepError(f"the container's init process failed: {report.call}: {report.detail}")
            raise step_error(known, record.total, report.index, report.errno, report.detail, report.call)


def _poststart(container: StateDirectory, record: StateRecord) -> None:
    """A poststart hook that fails stops the container (runtime.md#lifecycle, step 10)."""
    from pyruntime.errors import HookError
    from pyruntime.runtime.lifecycle.hooks import environment, run_hook

    for index, hook in enumerate(record.hooks["poststart"]):
        try:
            run_hook(f"hooks.poststart[{index}]", path=hook["path"], args=hook.get("args") or [hook["path"]],
                     env=environment(hook.get("env")), timeout=hook.get("timeout") or 0,
                     state=hook_state(record, RUNNING))
        except HookError as error:
            from pyruntime.runtime.lifecycle.delete import destroy
            error.notes += destroy(container, record)
            raise
