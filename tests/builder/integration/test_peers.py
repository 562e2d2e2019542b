"""The same Dockerfiles built by buildah: equal filesystem and configuration, except for documented differences."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builder.integration.cases import CASES, Case
from tests.builder.integration.conftest import Builder, write

_COMPARED = ("Env", "Cmd", "Entrypoint", "WorkingDir", "User", "ExposedPorts", "Volumes", "Labels", "StopSignal",
             "Healthcheck", "OnBuild", "Shell")
_WITHOUT_PROXIES = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


class Refused(Exception):
    """buildah refuses the Dockerfile."""


class Buildah:
    """The peer, with its own storage."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.base = ["buildah", "--root", str(path / "root"), "--runroot", str(path / "run"), "--storage-driver",
        "overlay"]

    def __call__(self, *words: object) -> str:
        done = subprocess.run([*self.base, *map(str, words)], capture_output=True, text=True, check=False, timeout=100,
                              stdin=subprocess.DEVNULL, env=_WITHOUT_PROXIES)
        if done.returncode:
            raise Refused(f"{words}: {done.stderr[-2000:]}")
        return done.stdout.strip()


@pytest.fixture(scope="module")
def buildah(shared: Builder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    if not shutil.which("buildah"):
        pytest.skip("buildah is not installed")
    made = Buildah(tmp_path_factory.mktemp("buildah"))
    shared.ok("save", "-o", made.path / "busybox.tar", "busybox")
    made("pull", "-q", f"docker-archive:{made.path}/busybox.tar")
    yield made
    # buildah keeps its storage mounted: a mount for each container, and one below them all.
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        if line.split()[4].startswith(f"{made.path}/"):
            subprocess.run(["umount", line.split()[4]], check=True)


def listing(archive: Path) -> dict[str, tuple[Any, ...]]:
    """The content of an archive: type, mode, owners and content by name."""
    found: dict[str, tuple[Any, ...]] = {}
    with tarfile.open(archive) as tar:
        for entry in tar:
            name = entry.name.removeprefix("./").rstrip("/")
            file = tar.extractfile(entry) if entry.isreg() else None
            content = hashlib.sha256(file.read()).hexdigest() if file else entry.linkname
            kind = "file" if entry.isreg() or entry.islnk() else entry.type.decode()
            if entry.islnk():
                content = found[entry.linkname.removeprefix("./")][-1]
            found[name] = (kind, oct(entry.mode & 0o7777), entry.uid, entry.gid, content)
    for root in ("", "."):   # the mode of the root is that of the storage
        found.pop(root, None)
    return found


def _compare(case: Case, ours: Builder, peer: Buildah, tmp_path: Path) -> list[str]:
    context = write(tmp_path / "context", case.text, case.files)
    flags = [flag.replace("CONTEXT", str(context)) for flag in case.flags]
    name = f"peer-{case.name}"
    ours.ok("build", "--progress", "quiet", "-t", name, *flags, context)
    ours.ok("build", "--progress", "quiet", *flags, "-o", f"type=tar,dest={tmp_path}/ours.tar", context)
    peer("bud", "-q", "--format", "docker", "--isolation", "chroot", "--pull-never", "-t", name, *flags, context)
    config = json.loads(peer("inspect", "--type", "image", name))["Docker"]["config"]
    container = peer("from", "--pull-never", name)
    root = peer("mount", container)
    subprocess.run(["tar", "-C", root, "--numeric-owner", "-cf", tmp_path / "theirs.tar", "."], check=True)
    mine = ours.image(name).config.config
    wrong = [f"{member}: ours {mine.get(member)!r}, theirs {config.get(member)!r}" for member in _COMPARED
             if (mine.get(member) or None) != (config.get(member) or None)
             and not (member == "WorkingDir" and {mine.get(member), config.get(member)} <= {"/", "", None})
             and not (member == "Labels" and _without_own(config.get(member)) == (mine.get(member) or {}))]
    us, them = listing(tmp_path / "ours.tar"), listing(tmp_path / "theirs.tar")
    wrong += [f"{path}: ours {us.get(path)}, theirs {them.get(path)}" for path in sorted(us.keys() | them.keys())
              if us.get(path) != them.get(path) and not _made_by_chroot(path)]
    peer("umount", container)
    return wrong


def _without_own(labels: dict[str, str] | None) -> dict[str, str]:
    return {name: value for name, value in (labels or {}).items() if not name.startswith("io.buildah")}


def _made_by_chroot(path: str) -> bool:
    """buildah leaves its mount points in an image without these directories."""
    return path.partition("/")[0] in ("dev", "proc", "sys") or path in (
        "etc/hosts", "etc/hostname", "etc/resolv.conf", "run/.containerenv", "run", "etc")


# All of them take two minutes: PEERS=all.
_STEP = 1 if os.environ.get("PEERS") == "all" else 5
_ALIKE = [case for case in CASES if case.peer is True][::_STEP]
_DIFFERENT = [case for case in CASES if isinstance(case.peer, str)][::_STEP]


@pytest.mark.parametrize("case", _ALIKE, ids=lambda case: case.name)
def test_equals_buildah(case: Case, shared: Builder, buildah: Buildah, tmp_path: Path) -> None:
    assert not _compare(case, shared, buildah, tmp_path)


@pytest.mark.parametrize("case", _DIFFERENT, ids=lambda case: case.name)
def test_a_difference_is_one(case: Case, shared: Builder, buildah: Buildah, tmp_path: Path) -> None:
    """buildah's documented differences still exist: it refuses the file, or builds a different image."""
    assert len(str(case.peer)) > 10
    try:
        found = _compare(case, shared, buildah, tmp_path)
    except Refused:
        return
    assert found, f"buildah makes the same of it: {case.peer}"
