"""A container's end: what a run leaves is taken away, by whoever comes first.

The monitor calls ``finish`` when the program has ended, or the command in the foreground does; after either was killed,
the next command of pocker (``sweep``). All of it may be done twice.
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

    from pyruntime.pocker.containers.container import Record, Run
    from pyruntime.pocker.directories import Places

_WITH_VOLUMES = "remove-volumes"   # file of a container that is being removed: its anonymous volumes go with it
_LONGEST = 2e6   # seconds, 23 days: poll(2) cannot wait for more than 2^31 milliseconds
_PATIENCE = 10.0   # seconds that a monitor may take for its last words; its clients may be slow


def clear_run(container: Container, record: Record, *, waits: Run | None = None) -> None:
    """Take away what belongs to a run: processes, cgroup, network. ``waits``: the run as it is to be written down then,
    which waits to be started again: nobody sees it ended in between. The container is locked. Raises PyruntimeError."""
    runtime = Runtime(container.places.runtime)
    run = waits or container.run()
    end = container.exit()
    if end is not None and not run.over:
        try:
            end.oom = runtime.oom_kills(container.id) > 0
        except NoSuchContainer:
            end.oom = False   # it never came so far
        if end.oom:
            container.write_exit(end)
    departure = None
    if present.has_endpoint(container.places.run, container.id):
        from pyruntime.networks.attach import Departure

        departure = Departure(container.places.networks, container.id)
    runtime.delete(container.id, force=True)
    if departure is not None:
        departure.finish()
    forget(container.socket)
    if end is None and run.started:
        end = Exit(finished=timestamp(), error="nobody saw how it ended: its monitor was killed")
        container.write_exit(end)
    if end is not None and run.pid and not run.over:
        if end.oom:
            history.of_container(container.places, record, "oom")
        history.of_container(container.places, record, "die", exitCode=str(end.status))
    run.over, run.waiting = True, waits is not None
    container.write_run(run)


def finish(container: Container, record: Record) -> None:
    """The program has ended: take away what belonged to the run, and the container itself if that is wished for.

    The container is locked. Somebody else may have done it already.
    """
    run = container.run()
    if not run.over:
        clear_run(container, record)
    if record.settings.remove and not run.waiting and not run.kept:
        discard(container, record, volumes=True)


def stop(container: Container, record: Record, *, signal: str = "", timeout: float = 10.0, keep: bool = False) -> bool:
    """End a container: ``signal`` (the image's for ""), and after ``timeout`` seconds (< 0: never) SIGKILL.

    It is not started again by its restart policy; ``keep``: nor removed by --rm, for a caller who starts it again.
    Nothing happens to one that does not run: whether it did. Raises PyruntimeError.
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
                    # An image that names none that there is must not stay for that.
                    send_signal(container, record, "TERM")
                if not _gone(pidfd, timeout):
                    send_signal(container, record, "KILL")
                    _gone(pidfd, _PATIENCE)
            finally:
                os.close(pidfd)
    except (StateError, ProcessLookupError):
        pass   # it has ended by itself meanwhile
    settle(container, record)
    return True


def send_signal(container: Container, record: Record, word: str) -> None:
    """Send a signal, by name or number, to a container's program. Raises StateError, UsageError."""
    import signal

    Runtime(container.places.runtime).kill(container.id, int(word) if word.isdecimal() else word)
    number = getattr(signal, f"SIG{word.upper().removeprefix('SIG')}", word)   # RTMIN+1 stays as it is
    history.of_container(container.places, record, "kill", signal=str(int(number) if number != word else word))


def settle(container: Container, record: Record) -> None:
    """Wait until what belongs to a run that has ended is gone; do it ourselves if its monitor does not."""
    run = container.run()
    if run.watched():
        wait(*run.monitor, seconds=_PATIENCE)
    try:
        with container.lock():
            if not container.run().over:
                finish(container, record)
    except NoSuchContainer:
        return   # removed, as it wished to be


def _forbid_restart(container: Container, *, keep: bool = False) -> Run:
    """See to it that nothing but a new start makes it run again; one that only waits to be started again is over."""
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


def remove(container: Container, record: Record, *, force: bool = False, volumes: bool = False) -> None:
    """Remove a container that does not run, or with ``force`` any; ``volumes``: its anonymous volumes too."""
    from pyruntime.pocker.containers.status import CREATED, EXITED, status_of

    status = status_of(container)
    if status.word not in (CREATED, EXITED) or (status.word == CREATED and status.run.watched()):
        if not force:
            raise StateError(f'container "{record.name}" is {status.word}: stop it first, or give --force')
        stop(container, record, signal="KILL", timeout=_PATIENCE)
    try:
        if _forbid_restart(container).watched():
            settle(container, record)
        with container.lock():
            if not container.run().over:
                clear_run(container, record)
            discard(container, record, volumes=volumes)
    except NoSuchContainer:
        return   # it was to be removed at its end


def discard(container: Container, record: Record, *, volumes: bool = False) -> None:
    """Remove the directory of a container that is over; ``volumes``: its anonymous ones too. It is locked."""
    if record.settings.ids:
        from pyruntime.pocker.options.namespaces import give_ids

        give_ids(container.places, record)
    if volumes and any(mount.get("anonymous") for mount in record.settings.mounts):
        container.put(_WITH_VOLUMES, "")   # for who finishes this, if we are killed
    gone = unclaimed(container.places, container.id)
    try:
        os.rename(container.directory, gone)
    except FileNotFoundError:
        return
    history.of_container(container.places, record, "destroy")
    unname(container.places, record)   # not before: one that nobody finds by its name could not be removed by it
    _clear(container.places, gone)


def _clear(places: Places, directory: str) -> None:
    """Remove what was a container, or was to become one."""
    if os.path.isdir(f"{directory}/mounts"):
        from pyruntime.pocker.options.mounts import release

        release(directory)
    if os.path.exists(f"{directory}/{_WITH_VOLUMES}"):
        from pyruntime.pocker.volumes import remove_anonymous

        remove_anonymous(places, directory)
    try:
        mark = bundles.read_mark(directory)
        store = places.store
        named(mark["driver"], store).remove(f"{directory}/rootfs", f"{directory}/.rootfs")
        store.remove_bundle(bundles.read(store.layout, mark["id"]))
    except (FileNotFoundError, PyruntimeError):
        pass   # it has no layers, or its record is gone already: what is left are files
    try:
        trees.remove(directory)
    except OSError as error:
        raise PyruntimeError(f'cannot remove "{directory}": {error.strerror}') from None


def sweep(places: Places, warn: Callable[[str], None] = lambda text: None) -> None:
    """Take away what commands and monitors left that were killed."""
    directory = f"{places.root}/containers"
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        names = []   # there never was a container; a build may have had a place in a network
    for name in names:
        if name.startswith(UNCLAIMED) and not start_time(int(name.rpartition(".")[2])):
            ours = unclaimed(places, name[len(UNCLAIMED):].partition(".")[0])
            try:
                os.rename(f"{directory}/{name}", ours)
                _clear(places, ours)
            except FileNotFoundError:
                continue   # another command does it at this moment
            except PyruntimeError as error:   # it is in nobody's way: whoever has called us goes on
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
            continue   # somebody is at it
        except PyruntimeError as error:
            warn(str(error))
    if not present.in_use(places.run):
        return
    from pyruntime.networks import attach

    try:
        attach.sweep(places.networks)
    except PyruntimeError as error:
        warn(str(error))


def _lives(container: Container) -> bool:
    """Whether the program of a container without a monitor still runs: it is then `stop`'s and `rm --force`'s."""
    try:
        return bool(Runtime(container.places.runtime).state(container.id).pid)
    except NoSuchContainer:
        return False
