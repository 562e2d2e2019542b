"""The build cache for users: counted by `system df` and `pyimage du`, removed by the prunes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.builder.integration.conftest import Builder, write

TEXT = ("FROM busybox AS one\nRUN dd if=/dev/urandom of=/big bs=1k count=300 2>/dev/null\nFROM busybox\n"
        "RUN --mount=type=cache,target=/c dd if=/dev/zero of=/c/f bs=1k count=100 2>/dev/null\n"
        "RUN --mount=from=one,target=/m wc -c < /m/big > /sum\n")


@pytest.fixture
def built(builder: Builder, tmp_path: Path) -> Builder:
    builder.ok("build", "-t", "app", write(tmp_path / "context", TEXT, {}))
    return builder


def _row(builder: Builder, kind: str = "Build Cache") -> dict[str, Any]:
    rows = map(json.loads, builder.ok("system", "df", "--format", "{{json .}}").splitlines())   # with the bytes
    return next(row for row in rows if row["Type"] == kind)


def _blobs(builder: Builder) -> int:
    return sum(path.stat().st_size for path in (builder.store / "blobs/sha256").iterdir())


def test_df_counts_the_cache(built: Builder) -> None:
    row, images = _row(built), _row(built, "Images")
    assert (row["TotalCount"], row["Active"]) == ("4", "2")
    # The layer of the first stage, as a blob and extracted, and the directory of the cache mount.
    assert 700 << 10 < row["SizeBytes"] == row["ReclaimableBytes"] < 800 << 10
    assert images["SizeBytes"] + row["SizeBytes"] - (100 << 10) == sum(
        json.loads(built.ok("du", "-f", "json", program="pyimage"))[key] for key in ("Blobs", "Layers"))
    du = json.loads(built.ok("du", "-f", "json", program="pyimage"))
    assert du["BuildCache"] == row["SizeBytes"] - (100 << 10) and du["Unused"] == 0
    assert "build cache" in built.ok("du", program="pyimage")
    table = built.ok("system", "df", "-v")
    assert "Build Cache" in table and "exec.cachemount" in table and "RUN dd if=/dev/urandom" in table


def test_builder_prune_keeps_layers_of_images(built: Builder, tmp_path: Path) -> None:
    before = _blobs(built)
    said = built.ok("builder", "prune", "-f")
    assert "forgot: RUN dd" in said and "wc -c" not in said and "removed cache mounts: 1" in said
    assert _blobs(built) < before - (300 << 10) and _row(built)["SizeBytes"] == 0
    assert _row(built)["TotalCount"] == "2"
    assert built.ok("run", "--rm", "--network", "none", "app", "cat", "/sum")
    said = built.ok("builder", "prune", "--all")
    assert "wc -c" in said and said.endswith("Total reclaimed space: 0B"), "the image still has its layers"
    assert _row(built)["TotalCount"] == "0" and built.ok("verify", program="pyimage") == ""


@pytest.mark.parametrize(("flags", "left"), [
    (("--filter", "until=24h"), 3), (("--filter", "unused-for=1d"), 3), (("--unused-for", "2d"), 3),
    (("--filter", f"until={int(time.time()) - 86400}"), 3), (("--filter", "type=exec.cachemount"), 3),
    (("--filter", "type=regular"), 1), (("--keep-mounts",), 1), (("--filter", "until=2h", "--filter", "until=72h"), 4),
    (("--filter", "type=regular", "--filter", "until=24h"), 4),
])
def test_filters(flags: tuple[str, ...], left: int, built: Builder) -> None:
    """The cache mount was last used two and a half days ago, everything else just now."""
    old = time.time() - 60 * 3600
    for path in (built.store / "cache/mounts").iterdir():
        os.utime(path, (old, old))
    built.ok("builder", "prune", "--all", *flags)
    assert _row(built)["TotalCount"] == str(left)


@pytest.mark.parametrize("words", [("--filter", "x=1"), ("--filter", "until"), ("--filter", "until=x"),
                                   ("--filter", "type=x"), ("--unused-for", "7"), ("--unused-for", "x")])
def test_wrong_filters(words: tuple[str, str], built: Builder) -> None:
    assert words[0] in built.fails("builder", "prune", *words) and _row(built)["TotalCount"] == "4"


def test_system_prune(built: Builder) -> None:
    said = built.ok("system", "prune", "-f")
    assert "Deleted build cache objects:\nRUN dd" in said and "\n1 cache mounts\n" in said
    assert _row(built)["TotalCount"] == "2"
    assert built.ok("images", "-q", "app")
    said = built.ok("system", "prune", "--all", "-f")
    assert said.count("\nRUN ") == 2 and _row(built)["TotalCount"] == "0"
    assert not built.ok("images", "-q") and _blobs(built) == 0 and not list((built.store / "layers").iterdir())
