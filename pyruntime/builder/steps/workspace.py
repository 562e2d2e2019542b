"""The root filesystem of a step: the layers below, and the step's changes above, which become the next layer.

Mounted in the mount namespace of the worker: when it ends, nothing stays mounted. The directory is below STORE/work and
locked; the garbage collection removes what a killed worker leaves.
"""

from __future__ import annotations

import os

from pyruntime.builder.context import Scratch
from pyruntime.errors import HostError
from pyruntime.images.digest import of
from pyruntime.images.layers.diff import DiffOptions, diff, diff_upper
from pyruntime.images.make import LayerFile
from pyruntime.images.snapshots.choose import choose
from pyruntime.images.snapshots.view import View
from pyruntime.images.store import layers as extracted
from pyruntime.images.store import trees
from pyruntime.images.store.extract import Talk
from pyruntime.images.store.layers import Info, Layers
from pyruntime.images.store.layout import write_file
from pyruntime.images.store.steps import Made
from pyruntime.system import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.images.document import Descriptor
    from pyruntime.images.store.store import Store




class Workspace:
    """A context manager; ``root`` is the path of the root filesystem, ``fd`` its descriptor, ``scratch`` a directory
    for files that are not part of the image."""

    def __init__(self, store: Store, layers: Layers, warn: Callable[[str], None], *, latest: int | None,
                 driver: str = "") -> None:
        """``latest``: later times become this time, in seconds (SOURCE_DATE_EPOCH); ``driver`` "": the best available.
        """
        self._store = store
        self._layers = layers
        self._warn = warn
        self._latest = latest
        self._kind = driver
        self._own = Scratch(store.layout)
        self.scratch = f"{self._own.path}/scratch"
        self.root = f"{self._own.path}/rootfs"
        self._private = f"{self._own.path}/private"
        self.fd = -1

    def __enter__(self) -> Workspace:
        try:
            os.mkdir(self.scratch, 0o700)
            os.mkdir(self.root, 0o755)
            self._driver = choose(self._kind, self._store, self.root, lasting=False)
            self._driver.prepare(self._layers, self.root, self._private, volatile=True)
            self.fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            self._own.__exit__()
            raise HostError(f'cannot create "{self.root}": {error.strerror}') from None
        except BaseException:
            self._own.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self._own.__exit__()

    def _close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            for target in _mounts_below(self._own.path):
                kernel.umount2(target, kernel.UMOUNT_NOFOLLOW | kernel.MNT_DETACH)   # programs may close files late

    def commit(self, below: str, title: str) -> Made:
        """Store the changes as a layer, on top of the chainID ``below`` ("" for none).

        Without layers below, the result is independent of them. The caller holds a lease. Nothing can be written
        afterwards.
        """
        left_out: list[str] = []

        def warn(text: str) -> None:
            left_out.append(text)
            self._warn(text)

        options = DiffOptions(latest=self._latest, warn=warn)
        changes = self._driver.changes(self._layers, self.root, self._private)
        if changes.kind == "upper":
            self._close()   # an overlay's changes are complete in its upper directory only now
        with LayerFile(self._store, "none") as file:
            self._write(changes.kind, changes.path, changes.base, file.write, options)
            descriptor, diff_id = file.done()
        chain_id = of(f"{below} {diff_id}".encode()) if below else diff_id
        made = Made(descriptor, diff_id, chain_id, title)
        # Otherwise the files differ from the archive, by their times or number.
        if changes.kind == "upper" and self._latest is None and not left_out:
            self._publish(made, changes.path)
        return made

    def _write(self, kind: str, path: str, base: str, write: Callable[[bytes], object], options: DiffOptions) -> None:
        new = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        old = -1
        try:
            if base or not self._layers.directories:
                old = os.open(base or self._empty(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                (diff_upper if kind == "upper" else _swapped)(new, old, write, options)
                return
            with View(self._store, self._layers) as view:
                (diff_upper if kind == "upper" else _swapped)(new, view.fd, write, options)
        finally:
            os.close(new)
            if old >= 0:
                os.close(old)

    def _empty(self) -> str:
        path = f"{self.scratch}/empty"
        os.mkdir(path, 0o755)
        return path

    def _publish(self, made: Made, upper: str) -> None:
        """Store the upper directory as the extracted layer: it equals the result of an extraction."""
        layout = self._store.layout
        alone = not self._layers.directories
        target = layout.layer(extracted.candidates(made.diff_id, made.chain_id)[alone])
        if extracted.present(layout, extracted.candidates(made.diff_id, made.chain_id)):
            return
        names, size = trees.survey(upper)
        info = Info(diff_id=made.diff_id, chain_id="" if alone else made.chain_id, blob=made.descriptor.digest,
                    names=names, size=size, usage=_usage(size, names))
        directory = f"{self._own.path}/layer"
        fd = os.open(self._own.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.mkdir(directory, 0o700)
            os.rename(upper, f"{directory}/fs")
            write_file(f"{directory}/info", info.json().encode())
            kernel.syncfs(fd)   # after a power failure, no rename must exist without its content
            os.rename(directory, target)
        except OSError as error:
            if not os.path.exists(target):   # else another process was faster
                raise layout.failure(error, "keeping a layer") from None
        finally:
            os.close(fd)
        layout.sync("layers")


def _mounts_below(path: str) -> list[str]:
    """The mount points in a directory, the last one first (proc_pid_mountinfo(5))."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        targets = [line.split()[4] for line in file]
    quoted = path.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011").replace("\n", "\\012")
    return [path + target[len(quoted):] for target in reversed(targets) if target.startswith(quoted + "/")]


def _swapped(new: int, old: int, write: Callable[[bytes], object], options: DiffOptions) -> int:
    return diff(old, new, write, options)


def _usage(size: int, names: int) -> int:
    """Bytes on disk, estimated: half a block for each name."""
    return size + names * 2048


def layers_of(store: Store, chain: list[tuple[str, str, Descriptor]], warn: Callable[[str], None]) -> Layers:
    """The extracted layers of a root filesystem: diffID, chainID and descriptor each, the base first."""
    return store.extract_layers(chain, talk=Talk(warn=warn))
