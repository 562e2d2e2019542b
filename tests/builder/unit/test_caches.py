"""Cache mounts of one RUN: each is locked once, and all builds lock in the same order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyruntime.builder.dockerfile.mounts import parse_mount
from pyruntime.builder.steps.mounts import Mounting, Secrets
from pyruntime.builder.steps.run import Extra
from pyruntime.images.store.store import Store


def _order(store: Store, scratch: Path, *texts: str) -> list[tuple[str, str]]:
    taken = []
    with Mounting(store, str(scratch), Secrets({}, {}), lambda _origin: pytest.fail("no origin is needed")) as mounting:
        take = mounting._take

        def noted(name: str, sharing: str) -> str:
            taken.append((name, sharing))
            return take(name, sharing)

        mounting._take = noted  # type: ignore[method-assign]
        mounting.lock([parse_mount(f"type=cache,{text}") for text in texts])
    return taken


def test_locks_have_one_order(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    words = [f"target=/{name},sharing=locked" for name in "abcdef"]
    assert _order(store, tmp_path, *words) == _order(store, tmp_path, *reversed(words))


def test_one_cache_twice_is_locked_once(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    ((_, sharing),) = _order(store, tmp_path, "id=x,target=/a", "id=x,target=/b,sharing=locked",
                             "id=x,target=/c,sharing=private")
    assert sharing == "locked"


def _many(store: Store, scratch: Path, number: int) -> set[int]:
    """The inodes that concurrent builds see in a new cache mount."""
    gate, go = os.pipe()
    answer, tell = os.pipe()
    children = []
    for _ in range(6):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(go)
                os.read(gate, 1)   # ends when the parent closes the other side
                mount, extra = parse_mount(f"type=cache,target=/c,id=c{number}"), Extra()
                with Mounting(store, str(scratch), Secrets({}, {}), lambda _: pytest.fail("no origin")) as mounting:
                    mounting.lock([mount])
                    mounting.add(mount, extra)
                    os.write(tell, os.stat(extra.mounts[0]["source"]).st_ino.to_bytes(8, "little"))
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    for fd in (gate, go, tell):
        os.close(fd)
    found = set()
    while data := os.read(answer, 8):
        found.add(int.from_bytes(data, "little"))
    os.close(answer)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(children)
    return found


def test_a_new_cache_is_one_directory(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    for number in range(40):
        assert len(_many(store, tmp_path, number)) == 1
