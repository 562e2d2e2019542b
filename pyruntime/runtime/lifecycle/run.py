"""`run`: create and start; in the foreground, also wait and delete."""

from __future__ import annotations

import _socket
import os

from pyruntime.errors import PyruntimeError
from pyruntime.runtime.config.load import load_bundle
from pyruntime.runtime.lifecycle.create import Request, create
from pyruntime.runtime.lifecycle.delete import delete
from pyruntime.runtime.lifecycle.start import start_record, start_until_ready
from pyruntime.runtime.lifecycle.store import StateDirectory
from pyruntime.system import sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.runtime.lifecycle.foreground import Foreground


def run(root: str, container_id: str, bundle: str, request: Request, *, keep: bool = False,
        subreaper: bool = True, before: int = 0) -> int:
    """Create and start a container. Detached: return 0 once the container runs. Otherwise forward signals and the
    terminal, wait, delete the container (unless ``keep``) and return its exit status. ``before``: this process has
    nothing else to do, and so many words of its command line are before `run`; the front may do the rest in its
    place."""
    container = StateDirectory(root, container_id)
    if request.detached:
        record = create(root, container_id, bundle, request)
        _or_delete(container, lambda: start_until_ready(container, record, request.notify))
        return 0
    from pyruntime.runtime.lifecycle.foreground import Foreground  # lazy: only without --detach

    foreground = Foreground()
    foreground.begin()
    try:
        ours = None
        if load_bundle(bundle, process_needed=False, file=request.config_file).get("process.terminal", False):
            ours, request.console = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM, 0)
            sockets.blocking(ours, request.console)
        if subreaper:
            _become_subreaper()
        record = create(root, container_id, bundle, request)
        pidfd = os.pidfd_open(record.pid)
        try:
            if ours is not None:
                foreground.terminal(sockets.receive_fd(ours))
            if request.notify:
                _or_delete(container, lambda: _relay(foreground, container, request))
            _or_delete(container, lambda: start_record(container, record))
            if before and not keep:
                foreground.leave_to_front(record.pid, container_id, before)
            status = foreground.wait(record.pid, pidfd)
        finally:
            os.close(pidfd)
        if not keep:
            delete(root, container_id, force=True, warn=request.warn)
        return status
    finally:
        foreground.end()


def _relay(foreground: Foreground, container: StateDirectory, request: Request) -> None:
    from pyruntime.runtime.lifecycle.notify import NotifyRelay, prepared  # lazy: only with $NOTIFY_SOCKET

    if prepared(container.directory):
        foreground.relay(NotifyRelay(container.directory, request.notify), request.warn)


def _become_subreaper() -> None:
    # Processes that outlive init (a pid namespace shared with the host) become children of the runtime, not of the
    # host's init.
    from pyruntime.system import kernel  # lazy: only for a caller that asks to adopt orphans

    kernel.become_subreaper()


def _or_delete(container: StateDirectory, start: Callable[[], None]) -> None:
    try:
        start()
    except PyruntimeError as error:
        try:
            delete(container.root, container.id, force=True, warn=error.notes.append)
        except PyruntimeError as second:
            error.notes.append(str(second))
        raise
