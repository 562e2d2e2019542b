"""The present files of a sandbox: what has changed, an image of them, and a copy of them for another sandbox.

Everything happens in a copy of the sandbox's mount namespace, where its layers and its files have their places.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager

from pyruntime.errors import StateError
from pyruntime.images.api import ImageStore
from pyruntime.images.layers.diff import DiffOptions, changes, diff, diff_upper
from pyruntime.images.lookup import by_manifest, key
from pyruntime.images.make import LayerFile, derive, timestamp
from pyruntime.images.platform import Platform
from pyruntime.images.reference import Reference
from pyruntime.sandbox.configuration import INIT, WRITABLE
from pyruntime.sandbox.leftovers import empty, place
from pyruntime.sandbox.private_mounts import bounded_files
from pyruntime.sandbox.sources import overlay
from pyruntime.sandbox.trees import opened
from pyruntime.system import kernel
from pyruntime.system.uapi import MS_BIND

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from pyruntime.sandbox.sources import Prepared

# Where something is mounted in every sandbox; the runtime makes these places if they are missing.
_MOUNTED = frozenset(path.lstrip("/").encode() for path in (
    INIT, "/proc", "/sys", "/dev", *(target for _, target, _ in WRITABLE)))


def _view() -> str:
    """A place for mounts."""
    return f"{place()}/view"


def _options() -> DiffOptions:
    return DiffOptions(living=True, skip=_MOUNTED)


def require_layers(prepared: Prepared) -> None:
    """Raises StateError if the root filesystem is not the sandbox's own copy."""
    if not prepared.layers:
        raise StateError("the sandbox shows the host's own system, and has no copy of it: use an image, or a directory")


def list_changes(prepared: Prepared) -> list[tuple[str, str]]:
    """"A" (added), "C" (changed) or "D" (deleted) and the path, sorted; also what is in /work."""
    with ExitStack() as stack:
        old = stack.enter_context(_merged([*prepared.layers, *prepared.uppers[:-1]]))
        new = stack.enter_context(opened(prepared.uppers[-1]))
        found = changes(old, new, _options(), upper=True)
        below = stack.enter_context(opened(prepared.work_before or empty()))
        found += [(kind, b"work/" + path) for kind, path in changes(
            below, stack.enter_context(opened(prepared.work)), DiffOptions(living=True), upper=False)]
    return sorted(((kind, "/" + os.fsdecode(path)) for kind, path in found), key=lambda change: change[1])


def commit(prepared: Prepared, root: str, name: str, config: dict[str, Any]) -> str:
    """Create an image of the present files in the store ``root``, and tag it unless ``name`` is ""; its ID. /tmp and
    /dev/shm are left out. ``config``: members of the image's configuration."""
    store = ImageStore(root)
    told = {"created": timestamp(), "created_by": "pyruntime sandbox"}
    options = _options()
    with store.store.lease():
        image = ImageStore(prepared.image.root).find(prepared.image.id) if prepared.image else None
        lowers, uppers = list(prepared.layers), list(prepared.uppers)
        writers: list[Callable[[Callable[[bytes], object]], object]] = []

        def add(below: Sequence[str], upper: str) -> None:
            def write(out: Callable[[bytes], object]) -> None:
                with _merged(below) as old, opened(upper) as new:
                    diff_upper(new, old, out, options)
            writers.append(write)

        def add_whole(show: Callable[[], Any], options: DiffOptions) -> None:
            def write(out: Callable[[bytes], object]) -> None:
                with opened(empty()) as old, show() as new:
                    diff(old, new, out, options)
            writers.append(write)

        if image is None:
            add_whole(lambda: _merged(prepared.layers), options)
        for upper in uppers:
            add(lowers, upper)
            lowers = [*lowers, upper]
        if os.listdir(prepared.work):
            add_whole(lambda: _as_work(prepared.work), DiffOptions(living=True))
        for number, write in enumerate(writers):
            with LayerFile(store.store) as file:
                write(file.write)
                layer = file.done()
            descriptor = derive(store.store, image, layer, **told, platform=Platform.host().document(),
                                changes=config if number == len(writers) - 1 else {})
            image = by_manifest(store.store, descriptor.digest)
        assert image
        if name:
            store.store.tag(key(Reference.parse(name)), descriptor)
        store.store.keep(descriptor)
    return image.id


@contextmanager
def _merged(layers: Sequence[str]) -> Iterator[int]:
    """A view of layers, bottom first."""
    if len(layers) == 1:
        with opened(layers[0]) as fd:
            yield fd
        return
    bounded_files(_view(), 1 << 20)   # of an upper directory that stays empty
    try:
        root = overlay(layers, _view()).rootfs
        try:
            with opened(root) as fd:
                yield fd
        finally:
            kernel.umount2(root)
    finally:
        kernel.umount2(_view())


@contextmanager
def _as_work(path: str) -> Iterator[int]:
    """A directory in which only ``work`` is, namely ``path``."""
    os.makedirs(f"{_view()}.work/work", 0o755, exist_ok=True)
    kernel.mount(path, f"{_view()}.work/work", "none", MS_BIND, "")
    try:
        with opened(f"{_view()}.work") as fd:
            yield fd
    finally:
        kernel.umount2(f"{_view()}.work/work")
