"""The outputs of a build: tags in the local store, pushes, directories and archives."""

from __future__ import annotations

import os

from pyruntime.builder.cache.exports import Steps
from pyruntime.builder.result import store_image, store_index, write_local, write_tar
from pyruntime.errors import UsageError
from pyruntime.images.copy import copy
from pyruntime.images.lookup import by_manifest, key
from pyruntime.images.make import timestamp
from pyruntime.images.reference import Reference
from pyruntime.images.transports.archive import ArchiveTarget
from pyruntime.images.transports.local import StoreSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.builder.graph.execute import Execution
    from pyruntime.builder.request import BuildRequest, BuildResult, Output
    from pyruntime.images.api import ImageStore
    from pyruntime.images.document import Descriptor
    from pyruntime.images.progress import Progress


def steps_of(built: list[Execution], epoch: int | None) -> Steps:
    """The steps of the builds of all platforms, for a cache."""
    made = {key: one for execution in built for key, one in execution.used.items()}
    results = {diff_id for execution in built for diff_id, _, _ in execution.result.chain}
    return Steps(made, results, "" if epoch is None else timestamp(epoch))


def deliver(images: ImageStore, request: BuildRequest, built: list[Execution], result: BuildResult,
            transfers: Progress | None) -> None:
    """Write the outputs, store, tag and push the image, and complete the result. The caller holds a lease."""
    store, warn = images.store, images.warn
    for output in request.outputs:
        if output.kind == "local":
            for execution in built:
                below = f"/{execution.label.replace('/', '_')}" if execution.label else ""
                write_local(store, execution.result, output.path + below, warn)
        elif output.kind == "tar":
            with _OutputFile(output.path) as write:
                write_tar(store, built[0].result, write, epoch=request.epoch, warn=warn)
    is_stored = not request.outputs or request.load or request.is_pushed or any(
        output.kind == "image" for output in request.outputs)
    if all(output.kind in ("local", "tar") for output in request.outputs) and not is_stored and not request.tags:
        return
    result.descriptor, result.image_id = _image(images, request, built)
    result.names = [key(Reference.parse(name)) for name in request.tags]
    for output in request.outputs:
        if output.kind in ("oci", "docker"):
            _archive(images, result.descriptor, result.names, output)
    if is_stored:
        for name in result.names:
            store.tag(name, result.descriptor)
        store.keep(result.descriptor)
    for name in result.names if request.is_pushed else ():
        images.push_root(result.descriptor, [name], name, progress=transfers)


def _image(images: ImageStore, request: BuildRequest, built: list[Execution]) -> tuple[Descriptor, str]:
    """Put the image, or an index of the images of several platforms, into the store; its descriptor and ID."""
    annotations = request.annotations
    manifests = [store_image(
        images.store, execution.result, labels=request.labels, epoch=request.epoch, compression=request.compression,
        squash=request.squash, steps=steps_of([execution], request.epoch) if request.has_inline_cache else None,
        annotations=annotations.get("manifest", {}), warn=images.warn) for execution in built]
    if len(built) == 1:
        return manifests[0], by_manifest(images.store, manifests[0].digest).id
    platforms = [execution.result.plan.platform for execution in built]
    index = store_index(images.store, list(zip(manifests, platforms, strict=True)), annotations.get("index", {}),
                        annotations.get("manifest-descriptor", {}))
    return index, index.digest


class _OutputFile:
    """A file that appears once it is complete, or standard output."""

    def __init__(self, path: str) -> None:
        _refuse_terminal(path)
        self._path = path
        self._new = f"{path}.{os.getpid()}.new"
        try:
            self._fd = 1 if path == "-" else os.open(self._new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC,
                                                     0o644)
        except OSError as error:
            raise UsageError(f'"{path}": {error.strerror}') from None

    def __enter__(self) -> Any:
        return self._write

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view):]

    def __exit__(self, kind: object, *_: object) -> None:
        if self._path != "-":
            os.close(self._fd)
            if kind is None:
                os.rename(self._new, self._path)
            else:
                os.unlink(self._new)


def _refuse_terminal(path: str) -> None:
    if path == "-" and os.isatty(1):
        raise UsageError("an archive is not written to a terminal: give dest=FILE, or redirect standard output")


def _archive(images: ImageStore, descriptor: Descriptor, names: list[str], output: Output) -> None:
    _refuse_terminal(output.path)
    target = ArchiveTarget(output.path, docker=output.kind == "docker")
    try:
        for name in names or [""]:
            target.name = name
            copy(StoreSource(images.store, descriptor, [name] if name else []), target, platform=None, everything=True,
                 warn=images.warn)
        target.close()
    except BaseException:
        target.abandon()
        raise
