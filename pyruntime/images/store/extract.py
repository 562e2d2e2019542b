"""Extraction: forked workers extract the missing layers of an image, a process for each layer.

The caller claims every missing layer from the bottom up: it creates STORE/work/<chain> and holds its lock. Another
process that needs the same layer waits for the lock, and then finds the layer. All processes claim along a chain from
the bottom, so there is no deadlock. Workers write the trees. When all are done, the parent completes the layers that
inherit from others, writes everything to disk once (syncfs: after a power failure, no rename must exist without its
content), and renames. A worker whose parent has ended ends at its next read.
"""
# ruff: noqa: SIM105 -- contextlib would slow down the start of commands

from __future__ import annotations

import errno
import marshal
import os
import select
from _thread import allocate_lock

from pyruntime import errors
from pyruntime.errors import DigestError, PyruntimeError
from pyruntime.images.store import blobs, layers, trees
from pyruntime.images.store.layout import same, write_all, write_file
from pyruntime.system import kernel
from pyruntime.system.locks import hold
from pyruntime.system.user_namespace import mapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.images.document import Descriptor
    from pyruntime.images.store.layout import Layout
    from pyruntime.images.store.leases import Lease

    Wanted = tuple[str, str, Descriptor]   # diffID, chainID, the archive

_STEP = 1 << 20   # bytes of archive between two reports of progress


class Talk:
    """Callbacks: ``progress(index, bytes of the archive)``, ``warn(sentence)``, ``waiting()`` (for other processes)."""

    __slots__ = ("progress", "waiting", "warn")

    def __init__(self, progress: Callable[[int, int], None] | None = None, warn: Callable[[str], None] | None = None,
                 waiting: Callable[[], None] | None = None) -> None:
        self.progress = progress or (lambda _index, _done: None)
        self.warn = warn or (lambda _text: None)
        self.waiting = waiting or (lambda: None)


class _Task:
    """A missing layer that this process has claimed; ``index`` is its place in the image."""

    __slots__ = ("blob", "buffer", "chain_id", "diff_id", "directory", "extracted", "fd", "index", "pid", "pipe",
                 "survey")

    def __init__(self, index: int, wanted: Wanted, directory: str, fd: int) -> None:
        self.index = index
        self.diff_id, self.chain_id, self.blob = wanted
        self.directory = directory
        self.fd = fd          # flock'ed
        self.pid = 0
        self.pipe = -1
        self.buffer = b""
        self.extracted: Any = None
        self.survey = (0, 0)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def extract(layout: Layout, lease: Lease, wanted: list[Wanted], *, workers: int = 2, talk: Talk | None = None,
            applier: Any = None, limits: Any = None) -> layers.Layers:
    """The layers of an image, bottom first; missing layers are extracted from their blobs.

    The caller holds the lease. ``applier`` is pyruntime.images.layers.apply, or a substitute. Raises LayerError,
    DigestError (the archive does not match the configuration), ImageError (a blob is missing), HostError (the disk is
    full); complete layers are kept then.
    """
    talk = talk or Talk()
    for diff_id, chain_id, blob in wanted:
        lease.add(*layers.candidates(diff_id, chain_id), blob.digest)
    tasks: list[_Task] = []
    try:
        try:
            for index, item in enumerate(wanted):
                if task := _claim(layout, index, item, talk):
                    tasks.append(task)
            if tasks:
                if applier is None:   # only if a layer is missing: a second bundle takes milliseconds
                    from pyruntime.images.layers import apply as applier  # lazy: only for a missing layer
                _run(layout, tasks, workers, talk, applier, limits)
        except PyruntimeError:
            _keep(layout, tasks)
            raise
        for task in tasks:
            if _depends(task):
                _complete(layout, task, wanted, tasks, applier, talk)
        _publish(layout, tasks)
    except OSError as error:
        raise layout.failure(error, "extracting layers") from None
    finally:
        for task in tasks:
            _drop(task)
    keys = [layers.present(layout, layers.candidates(diff_id, chain_id)) for diff_id, chain_id, _ in wanted]
    return layers.layers_of(layout, keys, [chain_id for _, chain_id, _ in wanted])


def _keep(layout: Layout, tasks: list[_Task]) -> None:
    """After a failure: keep layers that are complete and independent."""
    good = [task for task in tasks if task.extracted and not _depends(task)]
    for task in tasks:
        if task not in good:   # first, because the disk may be full
            _drop(task)
    try:
        _publish(layout, good)
    except OSError:
        pass   # the first failure is the one to report


def _drop(task: _Task) -> None:
    if task.fd >= 0:
        trees.remove(task.directory)
        task.close()


def _depends(task: _Task) -> bool:
    """Whether the layer inherits from below, or has whiteouts that must be removed where they hide nothing. A root
    directory that the archive does not mention, which is usual, does not count: drivers take its attributes from the
    topmost layer that has them, so the layer can still be shared."""
    made = task.extracted
    return bool([path for path in made.implicit if path] or made.lower_links or made.whiteouts or made.hides_all)


def _claim(layout: Layout, index: int, wanted: Wanted, talk: Talk) -> _Task | None:
    """Take the lock of a missing layer; None if it exists, or has appeared during the wait."""
    keys = layers.candidates(wanted[0], wanted[1])
    directory = layout.below("work", keys[0])
    while not layers.present(layout, keys):
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            pass   # another process works on it, or has
        try:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            try:
                hold(fd, wait=False)
            except BlockingIOError:
                talk.waiting()
                hold(fd)
            if same(fd, directory) and not layers.present(layout, keys):
                trees.clear(os.dup(fd))   # left by a killed process
                os.mkdir(f"{directory}/fs", 0o755)
                os.chmod(f"{directory}/fs", 0o755)   # whatever the umask is
                task = _Task(index, wanted, directory, fd)
                fd = -1
                return task
        finally:
            if fd >= 0:
                os.close(fd)
    return None


def _run(layout: Layout, tasks: list[_Task], workers: int, talk: Talk, applier: Any, limits: Any) -> None:
    """Run all tasks, at most ``workers`` at once; raises the first error."""
    waiting = tasks[::-1]
    running: dict[int, _Task] = {}
    poll = select.poll()
    try:
        while waiting or running:
            while waiting and len(running) < max(1, workers):
                task = waiting.pop()
                _start(layout, task, applier, limits)
                running[task.pipe] = task
                poll.register(task.pipe, select.POLLIN)
            for fd, _ in poll.poll():
                if not _hear(running[fd], talk, applier):
                    poll.unregister(fd)
                    _end(running.pop(fd), kill=False)
    finally:
        for task in running.values():
            _end(task, kill=True)


def _end(task: _Task, *, kill: bool) -> None:
    os.close(task.pipe)
    if kill:
        os.kill(task.pid, 9)
    status = os.waitpid(task.pid, 0)[1]
    if not kill and task.extracted is None:
        raise PyruntimeError(f"layer {task.blob.digest}: the process that extracted it ended with"
                             f" {f'signal {status & 127}' if status & 127 else f'status {status >> 8}'}; was there"
                             " enough memory?")


def _start(layout: Layout, task: _Task, applier: Any, limits: Any) -> None:
    task.pipe, end = os.pipe()
    parent = os.getpid()
    task.pid = os.fork()
    if task.pid:
        os.close(end)
        return
    code = 1
    try:
        _work(layout, task, applier, limits, parent, end)
        code = 0
    except PyruntimeError as error:
        told = str(error) if task.blob.digest in str(error) else f"layer {task.blob.digest}: {error}"
        _say(end, "error", (type(error).__name__, told, getattr(error, "where", "")))
    except OSError as error:
        failure = layout.failure(error, f"extracting layer {task.blob.digest}")
        _say(end, "error", (type(failure).__name__, str(failure), ""))
    except BaseException as error:
        said = f"layer {task.blob.digest}: {type(error).__name__}: {errors.words(error)}"
        _say(end, "error", ("PyruntimeError", said, ""))
    finally:
        os._exit(code)


_speaking = allocate_lock()   # the applier reads and warns in different threads


def _say(fd: int, kind: str, value: Any) -> None:
    data = marshal.dumps((kind, value))
    with _speaking:
        write_all(fd, len(data).to_bytes(4, "little") + data)


def _work(layout: Layout, task: _Task, applier: Any, limits: Any, parent: int, end: int) -> None:
    """In the worker: extract the archive, verify its diffID, count the files."""
    source = blobs.open_blob(layout, task.blob.digest)
    done = reported = 0

    def read(count: int) -> bytes:
        nonlocal done, reported
        if os.getppid() != parent:
            os._exit(1)   # the parent was killed: nothing would be renamed
        data = os.read(source, count)
        done += len(data)
        if done - reported >= _STEP or not data:
            reported = done
            _say(end, "progress", done)
        return data

    target = os.open(f"{task.directory}/fs", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    options = applier_options(applier, layout, lambda text: _say(end, "warn", text))
    extracted = applier.extract(read, target, options, limits or applier.LayerLimits())
    if extracted.diff_id != task.diff_id:
        raise DigestError(f"layer {task.blob.digest}: its diffID is {extracted.diff_id}, the image's configuration"
                          f" has {task.diff_id}")
    fields = {name: getattr(extracted, name) for name in type(extracted).__slots__}
    _say(end, "done", (fields, trees.survey(f"{task.directory}/fs")))


def applier_options(applier: Any, layout: Layout, warn: Callable[[str], None]) -> Any:
    """The applier's options for layers of this store."""
    privileged = layout.overlay == "trusted."
    uid, gid = (None, None) if privileged else (mapped("uid"), mapped("gid"))
    return applier.ExtractOptions(privileged=privileged, userxattr=not privileged, uid=uid, gid=gid, warn=warn)


def _hear(task: _Task, talk: Talk, applier: Any) -> bool:
    """Read a worker's message; whether more can follow."""
    data = os.read(task.pipe, 1 << 20)
    task.buffer += data
    while len(task.buffer) >= 4 and len(task.buffer) >= 4 + (size := int.from_bytes(task.buffer[:4], "little")):
        kind, value = marshal.loads(task.buffer[4:4 + size])
        task.buffer = task.buffer[4 + size:]
        if kind == "progress":
            talk.progress(task.index, value)
        elif kind == "warn":
            talk.warn(value)
        elif kind == "error":
            raise errors.told(*value)
        else:
            fields, task.survey = value
            task.extracted = applier.Extracted.__new__(applier.Extracted)
            for name, field in fields.items():
                setattr(task.extracted, name, field)
    return bool(data)


def _complete(layout: Layout, task: _Task, wanted: list[Wanted], tasks: list[_Task], applier: Any, talk: Talk) -> None:
    """Complete a layer with what it inherits from those below, wherever these are by now."""
    making = {other.index: f"{other.directory}/fs" for other in tasks}
    directory = os.open(f"{task.directory}/fs", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    lowers: list[int] = []
    try:
        for index in reversed(range(task.index)):
            key = layers.present(layout, layers.candidates(wanted[index][0], wanted[index][1]))
            path = making.get(index) or f"{layout.layer(key)}/fs"
            lowers.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        applier.complete(directory, task.extracted, lowers, applier_options(applier, layout, talk.warn))
    finally:
        for fd in (directory, *lowers):
            os.close(fd)
    task.survey = trees.survey(f"{task.directory}/fs")


def _publish(layout: Layout, tasks: list[_Task]) -> None:
    """Move extracted trees into the store's layers."""
    if not tasks:
        return
    for task in tasks:
        info = layers.Info(diff_id=task.diff_id, chain_id=task.chain_id if _depends(task) else "",
                           blob=task.blob.digest, names=task.survey[0], size=task.survey[1], usage=task.extracted.usage,
                           has_root=b"" not in task.extracted.implicit)
        write_file(f"{task.directory}/info", info.json().encode())
    kernel.syncfs(tasks[0].fd)
    for task in tasks:
        chain, plain = layers.candidates(task.diff_id, task.chain_id)
        try:
            os.rename(task.directory, layout.layer(chain if _depends(task) else plain))
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            trees.remove(task.directory)   # the same layer exists in this or in another image
        task.close()
    layout.sync("layers")
