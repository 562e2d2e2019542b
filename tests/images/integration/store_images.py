"""Small images for tests of the store, a pull of them from memory, and processes that are killed during it."""

from __future__ import annotations

import io
import os
import signal
import sys
import tarfile
import traceback
from collections.abc import Callable
from pathlib import Path

from pyruntime.images import media
from pyruntime.images.digest import chain_ids, of
from pyruntime.images.document import Descriptor, parse_config, parse_manifest
from pyruntime.images.store.layers import Layers
from pyruntime.images.store.store import Store
from pyruntime.system.json import encode

Entry = tuple[str, bytes | str | None]   # name; content, None for a directory, "-> target" or "=> hard link"


def archive(*entries: Entry, mode: int = 0o755, uid: int = 0, root: bool = False) -> bytes:
    """A layer's archive; ``mode`` and ``uid`` are those of its directories."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in ([("./", None)] if root else []) + list(entries):
            info = tarfile.TarInfo(name)
            info.mtime = 1_000_000_000
            if content is None:
                info.type, info.mode, info.uid = tarfile.DIRTYPE, mode, uid
            elif isinstance(content, str):
                info.type = tarfile.LNKTYPE if content.startswith("=> ") else tarfile.SYMTYPE
                info.linkname = content[3:]
            else:
                info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


class Image:
    """An image in memory: its blobs by digest, and its manifest."""

    def __init__(self, *layers: bytes) -> None:
        self.blobs: dict[str, bytes] = {}
        self.layers = [self._add(layer, media.OCI_LAYER) for layer in layers]
        self.diff_ids = [of(layer) for layer in layers]
        config = self._add(encode({"architecture": "amd64", "os": "linux", "rootfs": {
            "type": "layers", "diff_ids": self.diff_ids}}).encode(), media.OCI_CONFIG)
        self.manifest = self._add(encode({
            "schemaVersion": 2, "mediaType": media.OCI_MANIFEST, "config": config.json(),
            "layers": [layer.json() for layer in self.layers]}).encode(), media.OCI_MANIFEST)

    def _add(self, data: bytes, kind: str) -> Descriptor:
        self.blobs[of(data)] = data
        return Descriptor(kind, of(data), len(data))

    @property
    def wanted(self) -> list[tuple[str, str, Descriptor]]:
        return list(zip(self.diff_ids, chain_ids(self.diff_ids), self.layers, strict=True))


def fetch(store: Store, image: Image, descriptor: Descriptor, chunk: int = 64 << 10) -> int:
    """Download one blob like a registry client; the number of bytes transferred."""
    data = image.blobs[descriptor.digest]
    with store.ingest(descriptor.digest, descriptor.size) as ingest:
        if ingest.present:
            return 0
        start = ingest.offset
        while ingest.offset < len(data):
            ingest.write(data[ingest.offset:ingest.offset + chunk])
        ingest.commit()
    return len(data) - start


def pull(store: Store, image: Image, name: str, workers: int = 2) -> Layers:
    """A whole pull: manifest, configuration, layers, extraction, name."""
    with store.lease():
        fetch(store, image, image.manifest)
        manifest = parse_manifest(store.read(image.manifest), image.manifest.media_type)
        for descriptor in manifest.references():
            fetch(store, image, descriptor)
        assert manifest.config
        config = parse_config(store.read(manifest.config), manifest)
        assert config.diff_ids == image.diff_ids
        made = store.extract_layers(image.wanted, workers=workers)
        store.tag(name, image.manifest)
    return made


def child(act: Callable[[], object]) -> int:
    """Run a function in a forked process; its pid. Its exit status is 0, or 1 after an exception, which is printed."""
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        act()
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def status(pid: int) -> int:
    """Wait for a child: its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def dying(act: Callable[[], object], moment: int) -> int:
    """Do something in a process that is killed before its ``moment``th step that the interpreter can see (files opened,
    locked, renamed, removed, processes forked); 0 if it ended before that."""
    def doomed() -> None:
        me, left = os.getpid(), moment

        def step(event: str, _: object) -> None:
            nonlocal left
            if event.partition(".")[0] in ("open", "os", "fcntl") and event != "os.kill" and os.getpid() == me:
                left -= 1
                if left < 0:
                    os.kill(me, signal.SIGKILL)

        sys.addaudithook(step)
        act()

    return status(child(doomed))


def listing(path: str) -> dict[str, tuple[int, int, int, bytes]]:
    """Every name below a directory: mode, owner, modification time in seconds, content or target."""
    found = {}
    for directory, below, files in os.walk(path):
        for name in [*below, *files, "."] if directory == path else [*below, *files]:
            entry = Path(directory, name)
            status = entry.lstat()
            content = b""
            if entry.is_symlink():
                content = os.fsencode(os.readlink(entry))
            elif entry.is_file():
                content = entry.read_bytes()
            found[os.path.relpath(entry, path)] = (status.st_mode, status.st_uid, int(status.st_mtime), content)
    return found
