"""`kill` and `delete`: the end of a container (runtime.md#kill, #delete)."""

from __future__ import annotations

import os
import time
from errno import EBUSY, ENOENT, ENOTEMPTY

from pyruntime.errors import NoSuchContainer, PyruntimeError, StateError
from pyruntime.runtime.cgroups.group import Cgroup
from pyruntime.runtime.cgroups.host import directories_of
from pyruntime.runtime.lifecycle.status import CREATED, CREATING, PAUSED, RUNNING, STOPPED, hook_state, status_of
from pyruntime.runtime.lifecycle.store import StateDirectory, StateRecord
from pyruntime.system import processes
from pyruntime.system.processes import SIGKILL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE = 10.0   # seconds to wait for a killed process; it may be in uninterruptible sleep


def kill(root: str, container_id: str, signal: int, *, everything: bool = False) -> None:
    """Send a signal to init, or to every process of the container.

    In a container that shares the host's pid namespace, SIGKILL is sent to every process: the others do not die with
    init there. Raises StateError unless the container is created, running or paused.
    """
    container = StateDirectory(root, container_id)
    record = container.read()
    status = status_of(container, record)
    if status == STOPPED and everything:
        _signal_group(record, signal)
        return
    if status not in (CREATED, RUNNING, PAUSED):
        raise StateError(f'container not running: "{container_id}" is {status}')
    # Init first: it may exit once the others are dead, and the caller would get the error that the container is not
    # running.
    try:
        _signal_init(record, signal)
    except StateError:   # it has ended meanwhile
        if not everything:
            raise
    if everything or (signal == SIGKILL and not record.own_pids):
        _signal_group(record, signal, but=record.pid)
    if signal == SIGKILL and status == PAUSED:
        _thaw(Cgroup(record.cgroup))


def _thaw(group: Cgroup) -> None:
    # A task in a frozen v1 cgroup does not handle SIGKILL until it is thawed.
    if group.frozen():
        group.thaw()


def _signal_init(record: StateRecord, signal: int) -> None:
    try:
        processes.send_signal(record.pid, record.started, signal)
    except ProcessLookupError:
        raise StateError(f'container not running: "{record.id}"') from None
    except OSError as error:
        raise PyruntimeError(f'cannot send signal {signal} to "{record.id}": {error.strerror}') from None


def _signal_group(record: StateRecord, signal: int, *, but: int = 0) -> None:
    group = Cgroup(record.cgroup)
    if signal == SIGKILL and not record.own_pids:
        group.kill()
        return
    # Nothing is frozen meanwhile, and would stay frozen if this process were killed: SIGKILL to its init ends a pid
    # namespace, and no process can escape that by forking.
    for pid in group.pids():
        if pid in (0, but):   # of another pid namespace; or has the signal already, and may count signals
            continue
        try:
            os.kill(pid, signal)
        except ProcessLookupError:
            continue
    if signal == SIGKILL:
        group.thaw_for_death()


def delete(root: str, container_id: str, *, force: bool = False, created: bool = False,
           warn: Callable[[str], None] = lambda text: None) -> None:
    """Destroy a stopped container; with ``created``, also a container that waits for `start`; with ``force``, a
    container in any state, and a missing container is not an error. Raises StateError (runtime.md#delete)."""
    container = StateDirectory(root, container_id)
    container.hold()
    try:
        _delete(container, force=force, created=created, warn=warn)
    finally:
        container.release()


def _delete(container: StateDirectory, *, force: bool, created: bool, warn: Callable[[str], None]) -> None:
    try:
        record = container.read()
    except NoSuchContainer:
        if container.exists():
            _end_unrecorded(container)
            container.remove()
        else:
            container.clear()   # a `delete` that was killed may have released the ID only
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
        raise StateError(f"cannot delete container {container.id} that is not stopped: {status};"
                         " kill it, or use --force")
    if status == CREATING:
        try:
            record = _end_creation(container, record)
        except NoSuchContainer:   # `create` had failed and finished its cleanup
            container.remove()
            return
    try:
        notes = destroy(container, record)
    except NoSuchContainer:   # another `delete` came first
        if force:
            return
        raise
    for note in notes:
        warn(note)
    if container.retire():
        for failure in poststop(record):
            warn(str(failure))
        container.clear()
    elif not force:   # another `delete` came first
        raise NoSuchContainer(f'container does not exist: "{container.id}"')


def _end_creation(container: StateDirectory, record: StateRecord) -> StateRecord:
    """The record after the end of `create`, which must not run concurrently: the command is killed; another program,
    which has more to do, is waited for. Raises NoSuchContainer if it failed, StateError if it does not end."""
    pid, started, *command = record.creator
    if command == [0]:
        deadline = time.monotonic() + _PATIENCE
        while record.being_created():
            if time.monotonic() > deadline:
                raise StateError(f"container {container.id} is still being created by process {pid}, a program that has"
                                 " more to do: try again later, or end that program")
            time.sleep(0.01)
            record = container.read()
        return record
    end_process(pid, started)
    return container.read()   # with what `create` has added since


def _end_unrecorded(container: StateDirectory) -> list[str]:
    """Kill the init of a container whose record cannot be read, and remove its cgroup; return what remains."""
    pid, started = container.init()
    if not processes.alive(pid, started):
        return []
    group = Cgroup({key: path for key, path in directories_of(pid).items()
                   if _named_after(container.id, os.path.basename(path))})
    end_process(pid, started, group if group.paths else None)
    if not group.paths:
        return ["the container's cgroup is unknown and was not removed"]
    group.kill()   # without an own pid namespace, processes outlive init
    group.delete()
    return []


def _named_after(container_id: str, cgroup: str) -> bool:
    """Whether the name of a cgroup is derived from the ID: ``ID`` or ``PREFIX-ID.scope``. Every process in the cgroup
    is about to be killed; a cgroup with another name may be that of a session or a service."""
    return cgroup == container_id or (cgroup.endswith(f"-{container_id}.scope") and not cgroup.startswith("session-"))


def destroy(container: StateDirectory, record: StateRecord) -> list[str]:
    """Kill remaining processes and remove everything that `create` made; return the failures.

    Raises StateError if a process cannot be killed: everything else then stays for another `delete`. Raises
    NoSuchContainer if the directory is held, and another one has the ID.
    """
    notes: list[str] = []
    with Cgroup(record.cgroup).hold() as held:
        # From here on, no process of a later container with the same paths is killed, even if another `delete` is
        # faster than this one.
        if not container.current():
            raise NoSuchContainer(f'container does not exist: "{container.id}"')
        made = {key: path for key, path in record.cgroup.items() if path in record.cgroup_made}
        group = Cgroup({key: path for key, path in held.paths.items() if key in made})
        if record.creator[0] and made:
            # Left behind by a killed command: init could not die while a CRIU traces it.
            group.kill()
        if record.alive():
            end_process(record.pid, record.started, held)
        if not record.own_pids and record.pid and record.cgroup:
            # The container joined a pid namespace, so its processes outlive init. All processes of the cgroup are the
            # container's, even in a cgroup that existed before: `create` requires that it is empty.
            held.kill()
        if made:
            group.kill()
            if record.unit and container.current():
                notes += _stop_unit(record)
            Cgroup(made).delete(held=held)
    for path in reversed(record.cgroup_made):
        if path in made.values():
            continue
        try:
            os.rmdir(path)
        except OSError as error:   # an ancestor that others use meanwhile stays
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
    # Before the directories are removed: systemd removes its own, and would take their absence for the end of the
    # scope.
    if _forgotten(record):
        return []
    # lazy: jeepney (30 ms): only for a unit that systemd still has
    from pyruntime.runtime.cgroups.systemd_bus import stop_unit

    try:
        stop_unit(record.unit, user=record.user_unit)
    except PyruntimeError as error:
        return [str(error)]
    return []


def _forgotten(record: StateRecord) -> bool:
    """Whether systemd has unloaded the unit, as usual when a container has exited before `delete`. A transient unit has
    a file as long as it is loaded (systemd.unit(5)). A query on D-Bus would cost more than the rest of `delete`."""
    runtime = (os.environ.get("XDG_RUNTIME_DIR") or "none") if record.user_unit else "/run"
    directory = f"{runtime}/systemd/transient"
    return os.path.isdir(directory) and not os.path.exists(f"{directory}/{record.unit}")


def poststop(record: StateRecord) -> list[PyruntimeError]:
    """Run the poststop hooks. The failure of a hook is a warning, and the others still run (runtime.md#lifecycle)."""
    if not record.hooks.get("poststop"):
        return []
    from pyruntime.runtime.lifecycle.hooks import run_all  # lazy: only with poststop hooks

    return list(run_all("poststop", record.hooks["poststop"], hook_state(record, STOPPED)))


def end_process(pid: int, started: int, group: Cgroup | None = None) -> None:
    """Kill a process and wait until it has exited; ``group`` is its cgroup. Raises StateError."""
    if not processes.kill(pid, started, seconds=_PATIENCE, thaw=group.thaw_for_death if group else None):
        raise StateError(f"process {pid} does not die (uninterruptible sleep?)")
