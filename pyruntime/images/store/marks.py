"""Marks content in use: the graph from names, bundles and leases down to blobs and layers.

Documents are verified when they are read. A damaged document hides what it points to, so nothing may be removed then:
``Marks.problems`` reports it.
"""

from __future__ import annotations

import os

from pyruntime.errors import PyruntimeError
from pyruntime.images import media
from pyruntime.images.digest import chain_ids, of, well_formed
from pyruntime.images.document import MAX_DOCUMENT, Descriptor, Manifest, parse_config, parse_manifest
from pyruntime.images.store import blobs, layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.store.layout import Layout


class Marks:
    """Collects the digests, layer keys and chain IDs in use.

    ``missing`` are digests that a document in the store names and that are not in the store: usual below an index
    (other platforms), wrong below a manifest; the pairs are (owner, digest).
    """

    __slots__ = ("_layout", "_seen", "chains", "digests", "keys", "missing", "problems")

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._seen: set[tuple[str, str]] = set()
        self.digests: set[str] = set()
        self.keys: set[str] = set()
        self.chains: set[str] = set()
        self.missing: list[tuple[str, str]] = []
        self.problems: list[str] = []

    def descriptor(self, descriptor: Descriptor, owner: str) -> None:
        """Mark the content that a descriptor points to, and everything below it. ``owner`` is for messages."""
        todo = [(descriptor, owner, True)]   # a list: untrusted indexes may nest to any depth
        while todo:
            item, owner, needed = todo.pop()
            self.digests.add(item.digest)
            there = well_known(item.digest) and blobs.size(self._layout, item.digest) >= 0
            if not there:
                if needed and not media.is_foreign(item.media_type):
                    self.missing.append((owner, item.digest))
                continue
            # With the type: a "layer" with the digest of another image's manifest must not hide that manifest.
            if (item.digest, item.media_type) in self._seen:
                continue
            self._seen.add((item.digest, item.media_type))
            if item.media_type in media.INDEXES + media.MANIFESTS:
                manifest = self._manifest(item, owner)
                if manifest:
                    todo += [(below, f"{owner}, manifest {item.digest}", not manifest.is_index)
                             for below in manifest.references()]

    def _manifest(self, descriptor: Descriptor, owner: str) -> Manifest | None:
        try:
            raw = blobs.read(self._layout, descriptor, MAX_DOCUMENT)
            manifest = parse_manifest(raw, descriptor.media_type, f"manifest {descriptor.digest}")
            config = manifest.config
            if config and config.media_type in media.CONFIGS and blobs.size(self._layout, config.digest) >= 0:
                raw = blobs.read(self._layout, config, MAX_DOCUMENT)
                self._layers(parse_config(raw, manifest, f"configuration {config.digest}").diff_ids)
        except PyruntimeError as error:
            self.problems.append(f"{owner}: {error}")
            return None
        return manifest

    def _layers(self, diff_ids: list[str]) -> None:
        chains = chain_ids(diff_ids)
        self.chains.update(chain.partition(":")[2] for chain in chains)
        for diff_id, chain in zip(diff_ids, chains, strict=True):
            if well_known(diff_id):
                self.keys.update(layers.candidates(diff_id, chain))

    def word(self, word: str) -> None:
        """Mark the content on a line of a lease: a digest, whose kind of document must be found out, or a layer's key.
        """
        if not well_formed(word):
            self.keys.add(word)
            return
        self.digests.add(word)
        found = blobs.size(self._layout, word) if well_known(word) else -1
        if 0 < found <= MAX_DOCUMENT and (kind := self._kind(word)):
            self.descriptor(Descriptor(kind, word, found), "lease")

    def _kind(self, digest: str) -> str:
        """The media type of a blob that is a manifest or an index, else ""."""
        fd = blobs.open_blob(self._layout, digest)
        try:
            data = os.read(fd, MAX_DOCUMENT)
        finally:
            os.close(fd)
        if not data.lstrip().startswith(b"{") or of(data, digest.partition(":")[0]) != digest:
            return ""
        try:
            return parse_manifest(data, "", "lease").media_type
        except PyruntimeError:
            return ""   # a configuration, or other JSON


def well_known(digest: str) -> bool:
    """Whether the store supports this digest."""
    return digest.startswith(("sha256:", "sha512:")) and well_formed(digest)
