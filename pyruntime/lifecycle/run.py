"""`run`: create and start, and in the foreground wait and delete."""

from __future__ import annotations

import os

from pyruntime import sockets
from pyruntime.config.load import load_bundle
from pyruntime.errors import PyruntimeError
from pyruntime.lifecycle.create import Request, create
from pyruntime.lifecycle.delete import delete
from pyruntime.lifecycle.start import start_record
from pyruntime.lifecycle.store import Container, Record


def run(root: str, container_id: str, bundle: str, request: Request, *, keep: bool = False,
        subreaper: bool = True) -> int:
    """Create and start a container. Detached: return 0 once it runs. Otherwise forward signals and the terminal, wait,
    delete it (unless ``keep``) and return its exit status."""
    if request.detached:
        record = create(root, container_id, bundle, request)
        _start_or_delete(Container(root, container_id), record)
        return 0
    from pyruntime.lifecycle.foreground import Foreground

    foreground = Foreground()
    foreground.begin()
    try:
        ours = None
        if load_bundle(bundle, process_needed=False, file=request.config_file).get("process.terminal", False):
            import _socket
            ours, request.console = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM, 0)
        if subreaper:
            _become_subreaper()
        record = create(root, container_id, bundle, request)
        container = Container(root, container_id)
        pidfd = os.pidfd_open(record.pid)
        try:
            if ours is not None:
                foreground.terminal(sockets.receive_fd(ours))
            _start_or_delete(container, record)
            status = foreground.wait(record.pid, pidfd)
        finally:
            os.close(pidfd)
        if not keep:
            delete(root, container_id, force=True, warn=request.warn)
        return status
    finally:
        foreground.end()


def _become_subreaper() -> None:
    # Processes that outlive init (a pid namespace shared with the host) become ours, not the machine's init's.
    from pyruntime.native import kernel

    kernel.become_subreaper()


def _start_or_delete(container: Container, record: Record) -> None:
    try:
        start_record(container, record)
    except PyruntimeError as error:
        try:
            delete(container.root, container.id, force=True, warn=error.notes.append)
        except PyruntimeError as second:
            error.notes.append(str(second))
        raise
