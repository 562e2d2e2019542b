"""The results of ``build``: tags in the local store, files, archives, the image's ID."""

from __future__ import annotations

import os

from pyruntime.builder.cli.options import annotations_of, write_metadata
from pyruntime.commandline.program import out
from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.builder.cache.exports import Steps
    from pyruntime.builder.cli.build import Surroundings
    from pyruntime.builder.graph.execute import Execution, Settings
    from pyruntime.builder.result import Output
    from pyruntime.commandline.parse import Parsed
    from pyruntime.images.document import Descriptor
    from pyruntime.images.store.store import Store


def steps_of(built: list[Execution], settings: Settings) -> Steps:
    """The steps that the builds of all platforms have used, for a cache."""
    from pyruntime.builder.cache.exports import Steps
    from pyruntime.images.make import timestamp

    made = {key: one for execution in built for key, one in execution.used.items()}
    results = {diff_id for execution in built for diff_id, _, _ in execution.result.chain}
    return Steps(made, results, "" if settings.epoch is None else timestamp(settings.epoch))


def deliver(around: Surroundings, parsed: Parsed, built: list[Execution], settings: Settings, outputs: list[Output], *,
            is_inline: bool) -> None:
    """Write the outputs of --output, or tag the image; print its ID, or for several platforms the digest of the index.

    ``is_inline``: whether the images hold their build cache.
    """
    from pyruntime.builder.result import store_image, store_index, write_local, write_tar
    from pyruntime.images.lookup import by_manifest, key
    from pyruntime.images.reference import Reference

    store, warn, epoch = around.store, around.warn, settings.epoch
    for output in outputs:
        if output.kind == "local":
            for execution in built:
                below = f"/{execution.label.replace('/', '_')}" if execution.label else ""
                write_local(store, execution.result, output.path + below, warn)
        elif output.kind == "tar":
            with _Target(output.path) as write:
                write_tar(store, built[0].result, write, epoch=epoch, warn=warn)
    push = parsed["push"] or any(output.push for output in outputs)
    stored = not outputs or parsed["load"] or push or any(output.kind == "image" for output in outputs)
    if all(output.kind in ("local", "tar") for output in outputs) and not stored and not parsed["tag"]:
        return
    asked = annotations_of(parsed)
    labels = dict(_pair(text) for text in parsed["label"])
    images = [store_image(store, execution.result, labels=labels, epoch=epoch, compression=parsed["compression"],
                          squash=parsed["squash"], steps=steps_of([execution], settings) if is_inline else None,
                          annotations=asked["manifest"], warn=warn) for execution in built]
    if len(built) > 1:
        descriptor = store_index(store, [(image, execution.result.plan.platform)
                                         for image, execution in zip(images, built, strict=True)],
                                 asked["index"], asked["manifest-descriptor"])
        image_id = descriptor.digest
    else:
        descriptor = images[0]
        image_id = by_manifest(store, descriptor.digest).id
    names = [key(Reference.parse(name)) for name in parsed["tag"]]
    for output in outputs:
        if output.kind in ("oci", "docker"):
            _archive(store, descriptor, names, output, warn)
    if stored:
        for name in names:
            store.tag(name, descriptor)
        store.keep(descriptor)
    for name in names if push else ():
        _push(around, parsed, descriptor, name)
    if parsed["metadata-file"]:
        write_metadata(parsed["metadata-file"], descriptor, image_id, names)
    if parsed["iidfile"]:
        with open(parsed["iidfile"], "w", encoding="ascii") as file:
            file.write(image_id)
    if not any(output.path == "-" for output in outputs):
        out(f"{image_id}\n")


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name:
        raise UsageError(f'--label "{text}": write NAME=VALUE')
    return name, value


class _Target:
    """A file that appears once it is complete, or standard output."""

    def __init__(self, path: str) -> None:
        if path == "-" and os.isatty(1):
            raise UsageError("an archive is not written to a terminal: give dest=FILE, or redirect standard output")
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


def _push(around: Surroundings, parsed: Parsed, descriptor: Descriptor, name: str) -> None:
    from pyruntime.images.cli.remote import remote_target
    from pyruntime.images.copy import copy
    from pyruntime.images.progress import progress
    from pyruntime.images.transports.local import StoreSource

    target = remote_target(around, parsed, name)  # type: ignore[arg-type]
    shown = progress(quiet=parsed["quiet"])
    try:
        copy(StoreSource(around.store, descriptor, [name]), target, platform=None, everything=True, progress=shown,
             warn=around.warn)
    finally:
        shown.close()
        target.close()


def _archive(store: Store, descriptor: Descriptor, names: list[str], output: Output, warn: Any) -> None:
    from pyruntime.images.copy import copy
    from pyruntime.images.progress import Progress
    from pyruntime.images.transports.archive import ArchiveTarget
    from pyruntime.images.transports.local import StoreSource

    if output.path == "-" and os.isatty(1):
        raise UsageError("an archive is not written to a terminal: give dest=FILE, or redirect standard output")
    target = ArchiveTarget(output.path, docker=output.kind == "docker")
    try:
        for name in names or [""]:
            target.name = name
            copy(StoreSource(store, descriptor, [name] if name else []), target, platform=None, everything=True,
                 progress=Progress(), warn=warn)
        target.close()
    except BaseException:
        target.abandon()
        raise
