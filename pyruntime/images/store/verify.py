"""Verifies the integrity of the store. Nothing is changed; a pull can run meanwhile, the garbage collection waits."""

from __future__ import annotations

import os

from pyruntime.errors import DigestError, ImageError, PyruntimeError, words
from pyruntime.images.digest import Verifier
from pyruntime.images.store import blobs, bundles, layers, names, trees
from pyruntime.images.store.marks import Marks, well_known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.store.layout import Layout


def verify(layout: Layout, *, content: bool = True) -> list[str]:
    """The problems, each with a remedy; none for an intact store.

    Checks every blob against its digest (unless ``content`` is False: that reads everything), every name's documents
    and their content, every extracted layer against the counts of its extraction, every bundle's layers.
    """
    problems = _blobs(layout) if content else []
    with layout.shared():   # else content that the gc removes would look damaged
        problems += _names(layout)
        problems += _layers(layout)
        problems += _bundles(layout)
    return problems


def _blobs(layout: Layout) -> list[str]:
    problems = []
    for digest in blobs.all_digests(layout):
        path = layout.blob(digest) if well_known(digest) else ""
        if not path:
            problems.append(f'"{digest}" in "{layout.below("blobs")}" is not a blob: remove it')
            continue
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue   # meanwhile removed
        verifier = Verifier(digest)
        try:
            blobs.hash_file(fd, verifier)
            verifier.done()
        except (DigestError, OSError) as error:
            problems.append(f'blob "{path}" is damaged: {words(error)}: remove it, and pull the images that use it'
                            " again")
        finally:
            os.close(fd)
    return problems


def _names(layout: Layout) -> list[str]:
    problems = []
    marks = Marks(layout)
    for file in sorted(os.listdir(layout.below("names"))):
        try:
            name, descriptor, _ = names.read(layout, file)
        except FileNotFoundError:
            continue   # meanwhile removed
        except PyruntimeError as error:
            problems.append(str(error))
            continue
        if names.file_name(name) != file:
            problems.append(f'"{layout.below("names", file)}" is damaged: it holds the name "{name}": remove it')
        marks.descriptor(descriptor, f'image "{name}"')
    problems += marks.problems
    problems += [f"{owner}: {digest} is not in the store: pull it again" for owner, digest in marks.missing]
    return problems


def _layers(layout: Layout) -> list[str]:
    problems = []
    for key in layers.all_keys(layout):
        remedy = f'remove "{layout.layer(key)}"; the layer will be extracted again'
        try:
            info = layers.read_info(layout, key)
            found = trees.survey(f"{layout.layer(key)}/fs")
        except FileNotFoundError:
            if os.path.exists(layout.layer(key)):   # else meanwhile removed
                problems.append(f"layer {key} is incomplete: {remedy}")
            continue
        except (ImageError, OSError) as error:
            problems.append(words(error))
            continue
        if key not in (layers.plain_key(info.diff_id), layers.chain_key(info.chain_id) if info.chain_id else ""):
            problems.append(f"layer {key} has the record of {info.diff_id}: {remedy}")
        elif found != (info.names, info.size):
            problems.append(f"layer {key} was changed: it has {found[0]} names and {found[1]} bytes instead of"
                            f" {info.names} and {info.size}: {remedy}")
    return problems


def _bundles(layout: Layout) -> list[str]:
    problems = []
    for name in sorted(os.listdir(layout.below("bundles"))):
        try:
            record = bundles.read(layout, name)
        except FileNotFoundError:
            continue   # meanwhile removed
        except ImageError as error:
            problems.append(str(error))
            continue
        gone = [key for key in record.keys if not layers.present(layout, [key])] if record.driver == "overlay" else []
        if gone and record.alive():
            problems.append(f'bundle "{record.path}": layer {gone[0]} is not in the store: unpack the bundle again')
    return problems
