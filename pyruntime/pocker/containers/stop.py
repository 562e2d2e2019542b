"""Stop, clean up and remove containers. The first process that gets there cleans up.

When the program has exited, the monitor calls ``finish``, or the command in the foreground does; if they were killed,
the next command cleans up (``sweep``). All functions may be called more than once.
"""

from __future__ import annotations

import os
import select

from pyruntime.errors import NoSuchContainer, PyruntimeError, StateError, UsageError
from pyruntime.images.snapshots.choose import named
from pyruntime.images.store import bundles, trees
from pyruntime.networks import present
from pyruntime.pocker import events as history
from pyruntime.pocker.containers.container import (
    UNCLAIMED,
    Container,
    Exit,
    forget_names,
    identifiers,
    unclaimed,
    unname,
)
from pyruntime.runtime.api import Runtime
from pyruntime.system.files import forget
from pyruntime.system.processes import kill, start_time, wait
from pyruntime.system.times import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.pocker.containers.container import ContainerRecord, ContainerRun
    from pyruntime.pocker.directories import Directories

_WITH_VOLUMES = "remove-volumes"   # file of a container that is being removed together with its anonymous volumes
_LONGEST = 2e6   # seconds, 23 days: poll(2) cannot wait for more than 2^31 milliseconds
_PATIENCE = 10.0   # seconds that a monitor may take to end; its clients may be slow


def clear_run(container: Container, record: ContainerRecord, *, waits: ContainerRun | None = None) -> None:
    """Clean up a run: processes, cgroup, network. ``waits``: the run to write then, which waits for its restart, so
    that the container is never seen as exited in between. The container is locked. Raises PyruntimeError."""
    runtime = Runtime(container.places.runtime)
    run = waits or container.run()
    end = container.exit()
    departure = None
    if present.has_endpoint(container.places.run, container.id):
        from pyruntime.networks.attach import Departure  # lazy: only with networks

        departure = Departure(container.places.networks, container.id)
    runtime.delete(container.id, force=True)
    if departure is not None:
        departure.finish()
    forget(container.socket)
    if end is None and run.started:
        end = Exit(finished=timestamp(), error="exit status unknown: the monitor was killed")
        container.write_exit(end)
    if end is not None and run.pid and not run.over:
        if end.oom:
            history.of_container(container.places, record, "oom")
        history.of_container(container.places, record, "die", exitCode=str(end.status))
    run.over, run.waiting = True, waits is not None
    container.write_run(run)


def finish(container: Container, record: ContainerRecord) -> None:
    """The program has exited: clean up the run, and remove the container if its settings ask for that.

    The container is locked. Another process may have done it already.
    """
    run = container.run()
    if not run.over:
        clear_run(container, record)
    if record.settings.remove and not run.waiting and not run.kept:
        discard(container, record, volumes=True)


def stop(container: Container, record: ContainerRecord, *, signal: str = "", timeout: float = 10.0,
         keep: bool = False) -> bool:
    """Stop a container: ``signal`` ("": the container's or the image's), then SIGKILL after ``timeout`` seconds (< 0:
    never). Whether it was running.

    Its restart policy does not apply. ``keep``: nor is it removed, for a caller that starts it again. Raises
    PyruntimeError.
    """
    run = _forbid_restart(container, keep=keep)
    if not run.started or (run.over and not run.watched()):
        return False
    runtime = Runtime(container.places.runtime)
    word = signal or record.settings.stop_signal or record.image_config.get("StopSignal") or "TERM"
    try:
        state = runtime.state(container.id)
        if state.pid:
            pidfd = os.pidfd_open(state.pid)
            try:
                if state.status == "paused":
                    runtime.resume(container.id)
                try:
                    send_signal(container, record, word)
                except UsageError:
                    if signal:
                        raise
                    # The image names an unknown signal, which must not keep the container running.
                    send_signal(container, record, "TERM")
                if not _gone(pidfd, timeout):
                    send_signal(container, record, "KILL")
                    _gone(pidfd, _PATIENCE)
            finally:
                os.close(pidfd)
    except (StateError, ProcessLookupError):
        pass   # it has exited by itself in the meantime
    settle(container, record)
    return True


def send_signal(container: Container, record: ContainerRecord, word: str) -> None:
    """Send a signal, by name or number, to a container's init process. Raises StateError, UsageError."""
    import signal  # lazy: imports enum, 5 ms

    Runtime(container.places.runtime).kill(container.id, int(word) if word.isdecimal() else word)
    number = getattr(signal, f"SIG{word.upper().removeprefix('SIG')}", word)   # RTMIN+1 stays as it is
    history.of_container(container.places, record, "kill", signal=str(int(number) if number != word else word))


def settle(container: Container, record: ContainerRecord) -> None:
    """Wait until a run that has ended is cleaned up; clean up here if the monitor does not."""
    run = container.run()
    if run.watched():
        wait(*run.monitor, seconds=_PATIENCE)
    try:
        with container.lock():
            if not container.run().over:
                finish(container, record)
    except NoSuchContainer:
        return   # removed at its exit, as its settings ask


def _forbid_restart(container: Container, *, keep: bool = False) -> ContainerRun:
    """Disable the restart policy until the next start; a container that waits for its restart has exited then."""
    with container.lock():
        run = container.run()
        if run.started and (not run.stopping or run.kept != keep):
            run.stopping, run.kept = True, keep
            if run.waiting:
                kill(*run.monitor, seconds=_PATIENCE)
                run.waiting = False
            container.write_run(run)
        return run


def _gone(pidfd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if seconds < 0 else int(min(seconds, _LONGEST) * 1000)))


def remove(container: Container, record: ContainerRecord, *, force: bool = False, volumes: bool = False) -> None:
    """Remove a container; ``force``: stop it first if it runs; ``volumes``: remove its anonymous volumes too. Raises
    StateError."""
    from pyruntime.pocker.containers.status import CREATED, EXITED, status_of  # lazy: only for removals

    status = status_of(container)
    if status.word not in (CREATED, EXITED) or (status.word == CREATED and status.run.watched()):
        if not force:
            raise StateError(f'container "{record.name}" is {status.word}: stop it first, or force the removal')
        stop(container, record, signal="KILL", timeout=_PATIENCE)
    try:
        if _forbid_restart(container).watched():
            settle(container, record)
        with container.lock():
            # Without a record of the run, which was damaged, the runtime may still know the container.
            if not container.run().over or (force and os.path.exists(f"{container.places.runtime}/{container.id}")):
                clear_run(container, record)
            discard(container, record, volumes=volumes)
    except NoSuchContainer:
        return   # removed at its exit


def discard(container: Container, record: ContainerRecord, *, volumes: bool = False) -> None:
    """Remove the directory of a container that has exited; ``volumes``: its anonymous volumes too. It is locked."""
    if record.settings.ids:
        from pyruntime.pocker.containers.user_namespaces import give_ids  # lazy: only with a user namespace

        give_ids(container.places, record)
    if volumes and any(mount.unnamed for mount in record.settings.mounts):
        container.put(_WITH_VOLUMES, b"")   # for the process that finishes this, if this one is killed
    gone = unclaimed(container.places, container.id)
    try:
        os.rename(container.directory, gone)
    except FileNotFoundError:
        return
    history.of_container(container.places, record, "destroy")
    unname(container.places, record)   # not before: until then `rm NAME` must find the container
    _clear(container.places, gone)


def _clear(places: Directories, directory: str) -> None:
    """Remove the directory of a container that was removed, or not completely created."""
    if os.path.isdir(f"{directory}/mounts"):
        from pyruntime.pocker.containers.mounts import release  # lazy: only with mounts

        release(directory)
    if os.path.exists(f"{directory}/{_WITH_VOLUMES}"):
        from pyruntime.pocker.volumes import remove_anonymous  # lazy: only with volumes

        remove_anonymous(places, directory)
    try:
        mark = bundles.read_mark(directory)
        store = places.store
        named(mark["driver"], store).remove(f"{directory}/rootfs", f"{directory}/.rootfs")
        store.remove_bundle(bundles.read(store.layout, mark["id"]))
    except (FileNotFoundError, PyruntimeError):
        pass   # it has no layers, or its record is removed already: only files are left
    try:
        trees.remove(directory)
    except OSError as error:
        raise PyruntimeError(f'cannot remove "{directory}": {error.strerror}') from None


def sweep(places: Directories, warn: Callable[[str], None] = lambda text: None) -> None:
    """Clean up after commands and monitors that were killed."""
    directory = f"{places.root}/containers"
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        names = []   # no container was ever created; a build may have had addresses in a network
    for name in names:
        if name.startswith(UNCLAIMED) and not start_time(int(name.rpartition(".")[2])):
            ours = unclaimed(places, name[len(UNCLAIMED):].partition(".")[0])
            try:
                os.rename(f"{directory}/{name}", ours)
                _clear(places, ours)
            except FileNotFoundError:
                continue   # another command is doing it
            except PyruntimeError as error:   # the remains do no harm: the caller goes on
                warn(str(error))
            forget_names(places)
    for container_id in identifiers(places):
        container = Container(places, container_id)
        run = container.run()
        if run.over or run.watched():
            continue
        try:
            with container.lock(wait=False):
                run = container.run()
                if not run.over and not run.watched() and not _lives(container):
                    finish(container, container.read())
        except (BlockingIOError, NoSuchContainer):
            continue   # another process is doing it
        except PyruntimeError as error:
            warn(str(error))
    if not present.in_use(places.run):
        return
    from pyruntime.networks import attach  # lazy: only with networks

    try:
        attach.sweep(places.networks, warn)
    except PyruntimeError as error:
        warn(str(error))


def _lives(container: Container) -> bool:
    """Whether the program of a container without a monitor still runs: only `stop` and a forced removal end it."""
    try:
        return bool(Runtime(container.places.runtime).state(container.id).pid)
    except NoSuchContainer:
        return False
