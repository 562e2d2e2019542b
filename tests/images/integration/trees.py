"""Trees to compare: their entries, layers on top of each other, and an overlay mount of them."""

from __future__ import annotations

import io
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyruntime.images.layers.apply import Extracted, ExtractOptions, complete, extract
from pyruntime.images.layers.merge import merge
from pyruntime.system import kernel

Listing = dict[str, tuple[object, ...]]


def listing(top: Path, *, times: bool = True, links: bool = True) -> Listing:
    """Path -> type, mode, owner, mtime in ns, device, attributes, target or content, and hard links."""
    found: Listing = {}
    inodes: dict[tuple[int, int], str] = {}
    for path in [top, *sorted(top.rglob("*"))]:
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        name = str(path.relative_to(top))
        attributes = {key: os.getxattr(path, key, follow_symlinks=False) for key in
                      os.listxattr(path, follow_symlinks=False) if "overlay." not in key}
        body: object = None
        if stat.S_ISREG(kind):
            body = path.read_bytes()
        elif stat.S_ISLNK(kind):
            body = os.readlink(path)
        first = name if stat.S_ISDIR(kind) else inodes.setdefault((status.st_dev, status.st_ino), name)
        found[name] = (oct(kind), oct(stat.S_IMODE(status.st_mode)), status.st_uid, status.st_gid,
                       status.st_mtime_ns if times else 0, status.st_rdev if stat.S_ISCHR(kind) else 0, attributes,
                       body, first if links else "")
    return found


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


class Layers:
    """Layers extracted below a directory, each completed on top of those before."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.notes: list[str] = []
        self.paths: list[Path] = []

    def add(self, blob: bytes) -> Extracted:
        """Extract and complete one more layer."""
        path = self.top / f"layer{len(self.paths)}"
        path.mkdir()
        lowers = [os.open(lower, os.O_RDONLY | os.O_DIRECTORY) for lower in reversed(self.paths)]
        try:
            with opened(path) as fd:
                done = extract(io.BytesIO(blob).read, fd, ExtractOptions(warn=self.notes.append))
                complete(fd, done, lowers, ExtractOptions(warn=self.notes.append))
        finally:
            for lower in lowers:
                os.close(lower)
        self.paths.append(path)
        return done

    def merged(self, name: str = "merged") -> Path:
        """All layers merged into one plain tree."""
        target = self.top / name
        target.mkdir()
        with opened(target) as fd:
            for layer in self.paths:
                with opened(layer) as layer_fd:
                    merge(layer_fd, fd)
        return target

    @contextmanager
    def mounted(self, *, writable: bool = False) -> Iterator[Path]:
        """The overlayfs view of the layers; with ``writable`` on top of an upper directory "upper"."""
        target = self.top / "mounted"
        target.mkdir()
        lowers = list(reversed(self.paths))
        settings: list[tuple[str, str | None]] = [("lowerdir+", str(path)) for path in lowers]
        if writable:
            for name in ("upper", "work"):
                (self.top / name).mkdir()
            shutil.copystat(lowers[0], self.top / "upper")
            settings += [("upperdir", str(self.top / "upper")), ("workdir", str(self.top / "work"))]
        elif len(lowers) == 1:   # overlayfs requires two layers
            (self.top / "empty").mkdir()
            settings.append(("lowerdir+", str(self.top / "empty")))
        settings += [("index", "off"), ("redirect_dir", "off"), ("metacopy", "off")]
        kernel.mount_filesystem("overlay", str(target), settings)
        try:
            yield target
        finally:
            kernel.umount2(str(target))
            target.rmdir()
