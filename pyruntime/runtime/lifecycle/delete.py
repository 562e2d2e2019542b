"""`kill` and `delete`: the end of a container (runtime.md#kill, #delete)."""

from __future__ import annotations

import os
import select
from errno import EBUSY, ENOENT, ENOTEMPTY, ESRCH

from pyruntime.errors import NoSuchContainer, PyruntimeError, StateError
from pyruntime.runtime.cgroups.group import Cgroup
from pyruntime.runtime.lifecycle.status import CREATED, CREATING, PAUSED, RUNNING, STOPPED, hook_state, status_of
from pyruntime.runtime.lifecycle.store import StateDirectory, StateRecord
from pyruntime.system.processes import start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SIGKILL = 9
_PATIENCE = 10_000   # milliseconds that a killed process may take to go; it may be in uninterruptible sleep


def kill(root: str, container_id: str, signal: int, *, everything: bool = False) -> None:
    """Send a signal to init, or to every process of the container.

    SIGKILL to a container that shares the host's pid namespace reaches every process too: there the others do not die
    with init. Raises StateError unless it is created, running or paused.
    """
    container = StateDirectory(root, container_id)
    record = container.read()
    status = status_of(container, record)
    if status == STOPPED and everything:
        _signal_group(record, signal)
        return
    if status not in (CREATED, RUNNING, PAUSED):
        raise StateError(f'container not running: "{container_id}" is {status}')
    # Init first: once the others are dead it may be gone as well, and the caller would hear that it had not run.
    _signal_init(record, signal)
    if everything or (signal == SIGKILL and not record.own_pids):
        _signal_group(record, signal, but=record.pid)
    if signal == SIGKILL and status == PAUSED:
        _thaw(Cgroup(record.cgroup))


def _thaw(group: Cgroup) -> None:
    # A task in a frozen v1 cgroup does not take SIGKILL before it is thawed.
    if group.frozen():
        group.thaw()


def _signal_init(record: StateRecord, signal: int) -> None:
    from _signal import pidfd_send_signal  # type: ignore[import-not-found]

    try:
        pidfd = os.pidfd_open(record.pid)
    except ProcessLookupError:
        raise StateError(f'container not running: "{record.id}"') from None
    try:
        if start_time(record.pid) != record.started:   # the pid names another process by now
            raise StateError(f'container not running: "{record.id}"')
        pidfd_send_signal(pidfd, signal)
    except ProcessLookupError:
        raise StateError(f'container not running: "{record.id}"') from None
    except OSError as error:
        raise PyruntimeError(f'cannot send signal {signal} to "{record.id}": {error.strerror}') from None
    finally:
        os.close(pidfd)


def _signal_group(record: StateRecord, signal: int, *, but: int = 0) -> None:
    group = Cgroup(record.cgroup)
    if signal == SIGKILL:
        group.kill()
        return
    for pid in group.pids():
        if pid == but:   # has it already, and may count
            continue
        try:
            os.kill(pid, signal)
        except ProcessLookupError:
            continue


def delete(root: str, container_id: str, *, force: bool = False, created: bool = False,
           warn: Callable[[str], None] = lambda text: None) -> None:
    """Destroy a stopped container, with ``created`` one that waits for `start` too; with ``force`` one in any state,
    and none is no error. Raises StateError (runtime.md#delete)."""
    container = StateDirectory(root, container_id)
    try:
        record = container.read()
    except NoSuchContainer:
        if container.exists():
            _end_unrecorded(container)
            container.remove()
        else:
            container.clear()   # a `delete` that was killed may have given the ID back, and come no further
        if force:
            return
        raise
    except PyruntimeError as error:   # a damaged record
        if not force:
            raise
        warn(str(error))
        for note in _end_unrecorded(container):
            warn(note)
        container.remove()
        return
    status = status_of(container, record)
    if status != STOPPED and not force and not (created and status == CREATED):
        raise StateError(f"cannot delete container {container_id} that is not stopped: {status};"
                         " kill it, or use --force")
    if status == CREATING:
        # Its `create` undoes everything itself when init or the stub dies; it must not go on meanwhile.
        end_process(record.creator[0], record.creator[1])
        try:
            record = container.read()   # its last words: what it made since
        except NoSuchContainer:   # it had failed, and was done with cleaning up
            container.remove()
            return
    for note in destroy(container, record):
        warn(note)
    if container.retire():
        for failure in poststop(record):
            warn(str(failure))
        container.clear()
    elif not force:   # another `delete` was faster
        raise NoSuchContainer(f'container does not exist: "{container_id}"')


def _end_unrecorded(container: StateDirectory) -> list[str]:
    """Kill the init of a container whose record cannot be read, and remove its cgroup; what stays is returned."""
    pid, started = container.init()
    if not pid or start_time(pid) != started:
        return []
    from pyruntime.runtime.cgroups.host import directories_of

    group = Cgroup({key: path for key, path in directories_of(pid).items()
                   if _named_after(container.id, os.path.basename(path))})
    end_process(pid, started, group if group.paths else None)
    if not group.paths:
        return ["the container's cgroup is not known any more, and stays"]
    group.kill()   # what init leaves behind without a pid namespace of its own
    group.delete()
    return []


def _named_after(container_id: str, cgroup: str) -> bool:
    """Whether a cgroup has the name that is made of the ID: ``ID`` or ``PREFIX-ID.scope``. Everything in it is going to
    be killed, and another one may be a session's or a service's that the container was left in."""
    return cgroup == container_id or (cgroup.endswith(f"-{container_id}.scope") and not cgroup.startswith("session-"))


def destroy(container: StateDirectory, record: StateRecord) -> list[str]:
    """Kill what is left, remove what was made; what failed on the way is returned.

    Raises StateError when a process cannot be killed: then everything else stays for another `delete`.
    """
    notes: list[str] = []
    made = {key: path for key, path in record.cgroup.items() if path in record.cgroup_made}
    group = Cgroup(made)
    if record.creator[0] and made:
        # Left by one that was killed: a CRIU that traces init would not let it go.
        group.kill()
    if record.alive():
        end_process(record.pid, record.started, Cgroup(record.cgroup))
    if not record.own_pids and record.pid and record.cgroup:
        # No pid namespace ended with init. The cgroup is ours even if it was there before: `create` found it empty.
        Cgroup(record.cgroup).kill()
    if made:
        group.kill()
        if record.unit:
            notes += _stop_unit(record)
        group.delete()
    for path in reversed(record.cgroup_made):
        try:
            os.rmdir(path)
        except OSError as error:   # an ancestor that others use by now stays
            if error.errno not in (ENOENT, EBUSY, ENOTEMPTY) and os.path.isdir(path):
                notes.append(f'rmdir "{path}": {error.strerror}')
    for path in record.rdt:
        try:
            os.rmdir(path)
        except OSError as error:
            if error.errno != ENOENT:
                notes.append(f'rmdir "{path}": {error.strerror}')
    return notes


def _stop_unit(record: StateRecord) -> list[str]:
    # Before the directories go: systemd removes its own, and would take their absence for the scope's end.
    if _forgotten(record):
        return []
    from pyruntime.runtime.cgroups.systemd_bus import stop_unit

    try:
        stop_unit(record.unit, user=record.user_unit)
    except PyruntimeError as error:
        return [str(error)]
    return []


def _forgotten(record: StateRecord) -> bool:
    """Whether systemd has the unit no more, as usual when a container has ended before `delete`: each transient unit
    has a file as long as it is loaded (systemd.unit(5)). To ask on the bus costs more than the rest of `delete`."""
    runtime = (os.environ.get("XDG_RUNTIME_DIR") or "none") if record.user_unit else "/run"
    directory = f"{runtime}/systemd/transient"
    return os.path.isdir(directory) and not os.path.exists(f"{directory}/{record.unit}")


def poststop(record: StateRecord) -> list[PyruntimeError]:
    """Run the poststop hooks. What one does wrong is a warning, and the others still run (runtime.md#lifecycle)."""
    if not record.hooks.get("poststop"):
        return []
    from pyruntime.runtime.lifecycle.hooks import run_all

    return list(run_all("poststop", record.hooks["poststop"], hook_state(record, STOPPED)))


def end_process(pid: int, started: int, group: Cgroup | None = None) -> None:
    """Kill a process and wait until it is gone; ``group`` is the cgroup it stands in."""
    from _signal import pidfd_send_signal

    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        if error.errno == ESRCH:
            return
        raise
    try:
        if start_time(pid) != started:
            return
        pidfd_send_signal(pidfd, SIGKILL)
        if group:
            _thaw(group)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(_PATIENCE):
            raise StateError(f"process {pid} does not die (uninterruptible sleep?)")
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)
