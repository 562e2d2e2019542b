"""What earlier versions have left, in a place of its own: tests/data/upgrade/VERSION.tar.xz, by tools/upgrade-data."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import TOP
from tests.pocker.integration.command import Pocker

DATA = TOP / "tests/data/upgrade"
VERSIONS = sorted(path.name.removesuffix(".tar.xz") for path in DATA.glob("*.tar.xz"))
_PLACE = b"/tmp/pyruntime-upgrade"   # where tools/upgrade-data has made it


class Left(Pocker):
    """The state that a version has left below ``place``, and the present commands, in a network namespace."""

    def __init__(self, place: Path, namespace: int) -> None:
        super().__init__(place, place / "store")
        self.root = place / "pocker"
        self.state = place / "state"
        self.environment["POCKER_ROOT"] = str(self.root)
        self.prefix = ["nsenter", f"--net=/proc/{namespace}/ns/net"]
        self.before = self._host()

    def _host(self) -> set[str]:
        """Without the interfaces: ours are in the namespace."""
        return {what for what in super()._host() if not what.startswith("link ")}

    def pyruntime(self, *words: object) -> subprocess.CompletedProcess[str]:
        """The runtime with these state directories."""
        return self("--root", self.state, *words, program="pyruntime")


@contextmanager
def left_by(version: str, place: Path) -> Iterator[Left]:
    """The state that a version has left, unpacked below an empty directory."""
    archive = DATA / f"{version}.tar.xz"
    subprocess.run(["tar", "-C", place, "--xattrs", "--xattrs-include=*", "-xJf", archive], check=True)
    _make_its_own(place)
    keeper = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"],
                              stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    try:
        assert keeper.stdout and keeper.stdout.readline() == b"up\n"
        yield Left(place, keeper.pid)
    finally:
        keeper.kill()
        keeper.communicate()


def _make_its_own(place: Path) -> None:
    """Replace the paths, and the containers' IDs: other tests may use the same state at the same time."""
    changes = {_PLACE: str(place).encode()}
    for container in (place / "pocker/containers").iterdir():
        changes[container.name.encode()] = f"a{os.urandom(32).hex()[1:]}".encode()
    for old, new in list(changes.items())[1:]:
        changes[old[:12]] = new[:12]   # after the whole IDs
    for path in sorted(place.rglob("*"), reverse=True):   # what is in a directory comes before it
        if path.is_symlink():
            target = os.fsencode(os.readlink(path))
            if (changed := _changed(target, changes)) != target:
                path.unlink()
                path.symlink_to(os.fsdecode(changed))
        elif path.is_file() and (changed := _changed(data := path.read_bytes(), changes)) != data:
            path.write_bytes(changed)
        if (name := _changed(os.fsencode(path.name), changes)) != os.fsencode(path.name):
            path.rename(path.with_name(os.fsdecode(name)))


def _changed(data: bytes, changes: dict[bytes, bytes]) -> bytes:
    for old, new in changes.items():
        data = data.replace(old, new)
    return data
