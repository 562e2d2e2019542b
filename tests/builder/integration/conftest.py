"""``builder``: the command with a store of its own, which has the image ``busybox``."""

from __future__ import annotations

import bz2
import glob
import gzip
import io
import lzma
import os
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundles.build import busybox_rootfs
from pyruntime.images.lookup import find
from pyruntime.images.store.store import Store
from pyruntime.system.processes import start_time
from tests.builder.integration.cases import File
from tests.commands import BIN
from tests.pocker.integration.lab import Lab


def archive() -> bytes:
    """A tar archive with in/f, which belongs to 5:6."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in (("in", None), ("in/f", b"packed")):
            info = tarfile.TarInfo(name)
            info.uid, info.gid, info.mtime = 5, 6, 10**9
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content or b""))
    return out.getvalue()


_PACKED = {"TAR": lambda data: data, "TAR.gz": gzip.compress, "TAR.xz": lzma.compress, "TAR.bz2": bz2.compress}


def write(directory: Path, text: str, files: dict[str, File]) -> Path:
    """Create a build context."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "Dockerfile").write_bytes(text.encode())
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir()
        elif isinstance(content, tuple):
            path.write_text(content[1])
            path.chmod(content[0])
        elif content == "FIFO":
            os.mkfifo(path)
        elif content == "SOCKET":
            parent = os.open(path.parent, os.O_PATH)
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(f"/proc/self/fd/{parent}/{path.name}")   # socket paths are limited to 107 bytes
            os.close(parent)
        elif content.startswith("-> "):
            path.symlink_to(content[3:])
        elif content in _PACKED:
            path.write_bytes(_PACKED[content](archive()))
        else:
            path.write_text(content)
    return directory


PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Builder(Lab):
    """pocker with a function for builds, on a private host: RUN creates networks."""

    def __init__(self, path: Path, store: Path) -> None:
        super().__init__(path, store)
        self.store = store
        self.environment.pop("SOURCE_DATE_EPOCH", None)

    def build(self, context: Path, *flags: str, **options: Any) -> str:
        """Build; the image's ID."""
        return self.ok("build", *flags, context, **options).rpartition("\n")[2]

    def image(self, name: str) -> Any:
        """An image of the store."""
        return find(Store.open(str(self.store)), name)

    def leftovers(self) -> list[str]:
        """Leftovers of builds, except the cache: work, containers, and cgroups of RUN."""
        found = super().leftovers()
        # Named after the process that made it, which may belong to another test that runs at the same time.
        found += [f"cgroup {path}" for place in ("pocker-build.*", "*/pocker-build.*")
                  for path in map(Path, glob.glob(f"/sys/fs/cgroup/{place}/"))
                  if not start_time(int(path.name.split(".")[1]))]
        mounts = Path(f"/proc/{self.host}/mountinfo").read_text().splitlines()
        found += [f"mount {line.split()[4]}" for line in mounts if line.split()[4].startswith(f"{self.path}/")]
        for directory in (self.store / "work", self.run / "build", self.store / "cache/locks"):
            if directory.is_dir():
                found += [f"file {path}" for path in directory.iterdir() if not path.name.startswith(".")]
        return found


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the image, to be copied."""
    path = tmp_path_factory.mktemp("images")
    rootfs = path / "rootfs"
    rootfs.mkdir()
    busybox_rootfs(rootfs)
    subprocess.run(["tar", "-C", rootfs, "-cf", path / "busybox.tar", "."], check=True)
    subprocess.run([str(BIN / "pyimage"), "import", "--cmd", "sh", "--env", PATH, path / "busybox.tar", "busybox"],
    check=True,
                   env={**os.environ, "PYRUNTIME_STORE": str(path / "store")}, stdout=subprocess.DEVNULL)
    return path / "store"


def _builder(path: Path, images: Path) -> Iterator[Builder]:
    shutil.copytree(images, path / "store", symlinks=True)
    made = Builder(path, path / "store")
    try:
        yield made
        made.clear()
        made.check()
    finally:
        made.close()


@pytest.fixture
def builder(tmp_path: Path, images: Path) -> Iterator[Builder]:
    """The command, with its own store; nothing may be left at the end."""
    yield from _builder(tmp_path, images)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Iterator[Builder]:
    """The command with one store for many builds."""
    yield from _builder(tmp_path_factory.mktemp("shared"), images)
