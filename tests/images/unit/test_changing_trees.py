"""Regressions found in a review of the image tool, without root: trees that change during a walk, and untrusted
documents, archives and names."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pyruntime.errors import ConfigError, ImageError
from pyruntime.images import media
from pyruntime.images.document import parse_config, parse_manifest
from pyruntime.images.layers.compression import writer
from pyruntime.images.store import trees
from pyruntime.images.transports.directory import DirectorySource
from pyruntime.images.transports.location import Location, sources
from pyruntime.images.transports.members import Archive
from pyruntime.images.users import find_user
from pyruntime.system import kernel


def test_a_directory_that_is_moved_up_does_not_lead_out_of_the_tree(tmp_path: Path) -> None:
    """A container is still running while its root filesystem is removed: ".." must not lead out of the tree."""
    (tmp_path / "tree/a/b/c").mkdir(parents=True)
    (tmp_path / "tree/z").mkdir()
    (tmp_path / "z").mkdir()
    entered = []

    def enter(fd: int, name: str) -> list[str]:
        assert os.readlink(f"/proc/self/fd/{fd}").endswith(name)
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
def test_an_invalid_user_id(text: str, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(f"big:x:99999999999:0::/:\nbig:x:0:4294967295::/:\nbig:x:{'9' * 5000}:0::/:\n")
    root = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(ImageError, match=r"the largest ID|has no user"):
            find_user(text, root)
    finally:
        os.close(root)


def test_a_passwd_that_is_a_device_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a watchdog starts it; opening a FIFO unblocks its writer."""
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
    with pytest.raises(ConfigError, match=r"layers\[0\].*expected a string, got 5"):
        parse_manifest(_manifest(**layer), media.OCI_MANIFEST)


@pytest.mark.parametrize("config", [{"User": "a\0"}, {"WorkingDir": "/\0"}, {"Env": ["A=\0"]}, {"Volumes": {"/\0": {}}},
                                    {"Cmd": ["\0"]}, {"Labels": {"a": "\0"}}, {"Entrypoint": [None]}], ids=repr)
def test_an_image_configuration_without_nul(config: dict[str, Any]) -> None:
    document = {"rootfs": {"type": "layers", "diff_ids": ["sha256:" + "1" * 64]}, "config": config}
    with pytest.raises(ConfigError, match=rf"config\.{next(iter(config))}"):
        parse_config(json.dumps(document).encode(), parse_manifest(_manifest(), media.OCI_MANIFEST))


def _header(name: str, size: bytes, kind: bytes = b"0") -> bytes:
    info = tarfile.TarInfo(name)
    info.type = kind
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def _member(name: str, content: bytes) -> bytes:
    return _header(name, b"%011o\0" % len(content)) + content + bytes(-len(content) % 512)


def test_an_archive_of_nothing_but_extended_headers(tmp_path: Path) -> None:
    """Python's tarfile recurses once for each header."""
    (tmp_path / "a.tar").write_bytes(_header("x", b"0" * 11 + b"\0", b"L") * 3000 + _member("x", b"abc") + bytes(1024))
    archive = Archive(str(tmp_path / "a.tar"), str(tmp_path))
    assert archive.read("x", 10) == b"abc"
    archive.close()


@pytest.mark.parametrize(("data", "refused"), [
    (_header("y", (-1024 % (1 << 96)).to_bytes(12, "big")), "negative size"),   # CVE-2025-8194
    (_header("y", b"%011o\0" % 4096) + bytes(512), "truncated"),
    (_member("x", b"") * 200_001, "than the maximum of .* entries"),
], ids=["negative", "truncated", "many"])
def test_an_archive_that_cannot_be_read(data: bytes, refused: str, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(_member("x", b"abc") + data)
    with pytest.raises(ImageError, match=refused):
        Archive(str(tmp_path / "a.tar"), str(tmp_path))


def test_a_bomb_in_the_place_of_an_archive(tmp_path: Path) -> None:
    """zstd compresses zeros by 30,000:1: the disk would be full."""
    packer = writer("zstd")
    (tmp_path / "a.tar.zst").write_bytes(packer.compress(bytes(80 << 20)) + packer.flush())
    with pytest.raises(ImageError, match="bomb"):
        Archive(str(tmp_path / "a.tar.zst"), str(tmp_path))
    assert os.listdir(tmp_path) == ["a.tar.zst"]


@pytest.mark.parametrize("entry", [
    {"Config": "c", "Layers": "abc"}, {"Config": "c", "Layers": 5}, {"Config": "c", "RepoTags": 5},
    {"Config": "c", "RepoTags": [5]}, {"Config": "c", "RepoTags": "abc"}, {"Config": 5}, 5], ids=repr)
def test_a_wrong_manifest_of_docker(entry: object, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(_member("manifest.json", json.dumps([entry]).encode()))
    with pytest.raises(ConfigError, match=r"\[0\]\."):
        sources(Location("docker-archive", str(tmp_path / "a.tar")), str(tmp_path))


def test_a_directory_names_no_files_outside_of_it(tmp_path: Path) -> None:
    """Otherwise a copy of an untrusted directory to a registry would include /etc/shadow."""
    (tmp_path / "secret").write_text("{}")
    (tmp_path / "dir").mkdir()
    entry = {"Config": "../secret", "Layers": [str(tmp_path / "secret")]}
    (tmp_path / "dir/manifest.json").write_text(json.dumps([entry]))
    with pytest.raises(ImageError, match="not an OCI image layout"):
        sources(Location("oci", str(tmp_path / "dir")), str(tmp_path))


def test_a_fifo_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(ImageError, match="not a regular file"):
        DirectorySource(str(tmp_path)).root()
