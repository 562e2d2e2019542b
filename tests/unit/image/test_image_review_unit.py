"""What a review of the image tool found, without privileges: trees that change while they are walked, and whatever
strangers write into documents, archives and names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pyruntime.errors import ConfigError, ImageError
from pyruntime.image import media
from pyruntime.image.document import parse_config, parse_manifest
from pyruntime.image.store import trees
from pyruntime.image.users import find_user
from pyruntime.native import kernel


def test_a_directory_that_is_moved_up_does_not_lead_out_of_the_tree(tmp_path: Path) -> None:
    """A container that still runs while its root filesystem is removed: ".." must not lead above the tree."""
    (tmp_path / "tree/a/b/c").mkdir(parents=True)
    (tmp_path / "tree/z").mkdir()
    (tmp_path / "z").mkdir()
    entered = []

    def enter(fd: int) -> list[str]:
        entered.append(os.readlink(f"/proc/self/fd/{fd}"))
        if entered[-1].endswith("/c"):
            os.rename(tmp_path / "tree/a/b/c", tmp_path / "tree/c")
        with os.scandir(fd) as entries:
            return sorted(entry.name for entry in entries)[::-1]

    left: list[str] = []
    with pytest.raises(OSError, match="moved"):
        trees.walk(os.open(tmp_path / "tree", os.O_RDONLY), enter, lambda _fd, name: left.append(name))
    assert left == [] and str(tmp_path / "z") not in entered


@pytest.mark.parametrize("text", ["9" * 5000, "0:" + "9" * 5000, "4294967295", "big"])
def test_a_user_that_is_no_id(text: str, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(f"big:x:99999999999:0::/:\nbig:x:0:4294967295::/:\nbig:x:{'9' * 5000}:0::/:\n")
    root = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(ImageError, match=r"not an id|has no user"):
            find_user(text, root)
    finally:
        os.close(root)


def test_a_passwd_that_is_a_device_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a watchdog starts it; opening a FIFO lets its writer go on."""
    (tmp_path / "etc").mkdir()
    os.mkfifo(tmp_path / "etc/passwd")
    flags = []
    openat2 = kernel.openat2

    def watched(path: bytes, how: int, **options: int) -> int:
        flags.append(how)
        return openat2(path, how, **options)
    monkeypatch.setattr(kernel, "openat2", watched)
    root = os.open(tmp_path, os.O_RDONLY)
    try:
        assert find_user("7", root).home == ""
    finally:
        os.close(root)
    assert flags and all(how & os.O_PATH for how in flags)


def _manifest(**layer: Any) -> bytes:
    descriptor = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "sha256:" + "1" * 64, "size": 1}
    return json.dumps({"schemaVersion": 2, "config": {**descriptor, "mediaType": media.OCI_CONFIG},
                       "layers": [{**descriptor, **layer}]}).encode()


@pytest.mark.parametrize("layer", [{"urls": [5]}, {"annotations": {"org.opencontainers.image.ref.name": 5}}], ids=repr)
def test_descriptors_hold_texts(layer: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"layers\[0\].*expected texts, got 5"):
        parse_manifest(_manifest(**layer), media.OCI_MANIFEST)


@pytest.mark.parametrize("config", [{"User": "a\0"}, {"WorkingDir": "/\0"}, {"Env": ["A=\0"]}, {"Volumes": {"/\0": {}}},
                                    {"Cmd": ["\0"]}, {"Labels": {"a": "\0"}}, {"Entrypoint": [None]}], ids=repr)
def test_an_image_configuration_without_nul(config: dict[str, Any]) -> None:
    document = {"rootfs": {"type": "layers", "diff_ids": ["sha256:" + "1" * 64]}, "config": config}
    with pytest.raises(ConfigError, match=rf"config\.{next(iter(config))}"):
        parse_config(json.dumps(document).encode(), parse_manifest(_manifest(), media.OCI_MANIFEST))
