"""Cache mounts of one RUN: each is locked once, and all builds lock in the same order."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyruntime.build.language.mounts import parse_mount
from pyruntime.build.mounting import Mounting, Secrets
from pyruntime.image.store.store import Store


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
