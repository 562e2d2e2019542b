"""The result of a build: configuration, history and manifest as BuildKit writes them, in the store or in files."""

from __future__ import annotations

import os

from pyruntime.builder.cache.document import INLINE
from pyruntime.builder.cache.exports import inline
from pyruntime.builder.graph.plan import COMMENT, StagePlan
from pyruntime.builder.steps.copy import Copying
from pyruntime.builder.steps.tree import CopySource, Tree
from pyruntime.builder.steps.workspace import layers_of
from pyruntime.errors import BuildError
from pyruntime.images import media
from pyruntime.images.document import Descriptor
from pyruntime.images.layers.compression import Inflater
from pyruntime.images.layers.diff import DiffOptions, diff
from pyruntime.images.make import LayerFile, timestamp
from pyruntime.images.snapshots.view import View
from pyruntime.system.json import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.builder.cache.exports import Steps
    from pyruntime.builder.graph.execute import StageState
    from pyruntime.images.platform import Platform
    from pyruntime.images.store.store import Store

_MEMBERS = ("architecture", "os", "os.version", "os.features", "variant")


def store_image(store: Store, state: StageState, *, labels: dict[str, str], epoch: int | None, compression: str,
                squash: bool, steps: Steps | None, annotations: dict[str, str], warn: Callable[[str], None]
                ) -> Descriptor:
    """Put the image into the store; its manifest's descriptor. The caller holds a lease.

    ``steps``: the inline build cache (not with ``squash``); ``annotations``: of the manifest.
    """
    plan = state.plan
    base = _image_below(plan)
    document: dict[str, Any]
    if base is not None:
        document = {name: base.config.document[name] for name in _MEMBERS if name in base.config.document}
    else:
        document = plan.platform.document()
    layers = [(diff_id, descriptor) for diff_id, _, descriptor in state.chain]
    history = [dict(entry) for entry in state.history]
    if squash:
        layers, history = _squashed(store, state, history, epoch, warn)
    created = state.created or timestamp(epoch)
    for entry in history:
        entry["created"] = entry.get("created") or created
    config = {name: value for name, value in plan.config.items() if value not in (None, "", [], {}) or name == "Cmd"}
    if labels:
        config["Labels"] = {**(config.get("Labels") or {}), **labels}
    config.setdefault("WorkingDir", "/")
    document = {**document, "created": created, **({"author": plan.author} if plan.author else {}), "config": config,
                "rootfs": {"type": "layers", "diff_ids": [diff_id for diff_id, _ in layers]}, "history": history}
    if steps is not None:
        document[INLINE] = inline(steps, layers)
    raw = encode(document).encode()
    descriptors = [_compressed(store, descriptor, compression) if index >= state.base_layers or squash else
                   _plain_type(descriptor) for index, (_, descriptor) in enumerate(layers)]
    described = Descriptor(media.OCI_CONFIG, store.put(raw), len(raw))
    manifest = encode({"schemaVersion": 2, "mediaType": media.OCI_MANIFEST, "config": described.json(),
                       "layers": [one.json() for one in descriptors],
                       **({"annotations": annotations} if annotations else {})}).encode()
    return Descriptor(media.OCI_MANIFEST, store.put(manifest), len(manifest))


def store_index(store: Store, images: list[tuple[Descriptor, Platform]], annotations: dict[str, str],
                described: dict[str, str]) -> Descriptor:
    """Put an index with an image for each platform into the store. The caller holds a lease.

    ``annotations``: of the index; ``described``: of its entries.
    """
    own = {"annotations": described} if described else {}
    raw = encode({"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": [
        {**descriptor.json(), "platform": platform.document(), **own} for descriptor, platform in images],
        **({"annotations": annotations} if annotations else {})}).encode()
    return Descriptor(media.OCI_INDEX, store.put(raw), len(raw))


def _image_below(plan: StagePlan) -> Any:
    base = plan.base
    while isinstance(base, StagePlan):
        base = base.base
    return base


def _plain_type(descriptor: Descriptor) -> Descriptor:
    """A layer of a Docker base image with its OCI media type: a manifest uses one format."""
    for compression in ("gzip", "zstd", "none"):
        if descriptor.media_type == media.layer_type(compression, docker=True):
            return Descriptor(media.layer_type(compression, docker=False), descriptor.digest, descriptor.size)
    return descriptor


def _compressed(store: Store, descriptor: Descriptor, compression: str) -> Descriptor:
    """The layer with the requested compression: steps store uncompressed layers."""
    if compression == "none" or descriptor.media_type != media.layer_type("none", docker=False):
        return descriptor
    fd = store.open_blob(descriptor.digest)
    try:
        with LayerFile(store, compression) as file:
            inflater = Inflater(lambda count: os.read(fd, count))
            while data := inflater.read():
                file.write(data)
            return file.done()[0]
    finally:
        os.close(fd)


def _squashed(store: Store, state: StageState, history: list[dict[str, Any]], epoch: int | None,
              warn: Callable[[str], None]) -> tuple[list[tuple[str, Descriptor]], list[dict[str, Any]]]:
    """All new layers as one layer on top of the base."""
    below = state.chain[:state.base_layers]
    if len(state.chain) == state.base_layers:
        return [(diff_id, descriptor) for diff_id, _, descriptor in state.chain], history
    new = layers_of(store, state.chain, warn)
    with View(store, new) as view, LayerFile(store, "none") as file:
        options = DiffOptions(latest=epoch, warn=warn, trust_times=True)
        if below:
            with View(store, layers_of(store, below, warn)) as old:
                diff(old.fd, view.fd, file.write, options)
        else:
            fd = _nothing(store)
            try:
                diff(fd, view.fd, file.write, options)
            finally:
                os.close(fd)
        descriptor, diff_id = file.done()
    base_entries = 0
    image = _image_below(state.plan)
    if image is not None:
        base_entries = len(image.config.history)
    own = [{**entry, "empty_layer": True} for entry in history[base_entries:]]
    own.append({"created": state.created, "created_by": "squash", "comment": COMMENT})
    return [*((one[0], one[2]) for one in below), (diff_id, descriptor)], [*history[:base_entries], *own]


def _nothing(store: Store) -> int:
    """An empty directory that has been removed."""
    empty = store.layout.work()
    os.mkdir(empty, 0o700)
    fd = os.open(empty, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.rmdir(empty)
    return fd


# ---- elsewhere ----------------------------------------------------------------------------------


def write_local(store: Store, state: StageState, path: str, warn: Callable[[str], None]) -> None:
    """Write the root filesystem to a directory; its files belong to the caller."""
    try:
        os.makedirs(path, exist_ok=True)
        target = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise BuildError(f'"{path}": {error.strerror}') from None
    try:
        if not state.chain:
            return
        with View(store, layers_of(store, state.chain, warn)) as view:
            tree = Tree(view.fd, "the result")
            copying = Copying(target, path, chown=f"{os.geteuid()}:{os.getegid()}", warn=warn)
            copying.sources([CopySource(tree, b"", b"", os.fstat(view.fd))], "/")
    finally:
        os.close(target)


def write_tar(store: Store, state: StageState, write: Callable[[bytes], object], *, epoch: int | None,
              warn: Callable[[str], None]) -> None:
    """Write the root filesystem as an archive."""
    nothing = _nothing(store)
    try:
        if not state.chain:
            diff(nothing, nothing, write, DiffOptions(latest=epoch, warn=warn))
            return
        with View(store, layers_of(store, state.chain, warn)) as view:
            diff(nothing, view.fd, write, DiffOptions(latest=epoch, warn=warn))
    finally:
        os.close(nothing)
