"""load_bundle: all errors of a bundle directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyruntime.errors import ConfigError
from pyruntime.runtime.config import load

if TYPE_CHECKING:
    from pathlib import Path

GOOD = b'{"ociVersion": "1.3.0", "root": {"path": "rootfs"}, "process": {"cwd": "/", "args": ["sh"]}}'


def message(bundle: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load.load_bundle(str(bundle))
    return str(caught.value)


def test_a_good_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_bytes(GOOD)
    monkeypatch.chdir(tmp_path)
    config = load.load_bundle(".")
    assert (config.bundle, config.document, config.where) == (str(tmp_path), "config.json", "")
    assert config.get("process.args") == ["sh"]


def test_no_config_json(tmp_path: Path) -> None:
    assert "config.json: JSON specification file config.json not found" in message(tmp_path)
    assert "JSON specification file config.json not found" in message(tmp_path / "nowhere")


def test_config_json_is_not_a_regular_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    assert "is not a regular file" in message(tmp_path)
    (tmp_path / "config.json").rmdir()
    os.mkfifo(tmp_path / "config.json")
    assert "is not a regular file" in message(tmp_path)


def test_config_json_is_behind_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert message(tmp_path / "file").endswith("Not a directory")


def test_config_json_is_too_big(tmp_path: Path) -> None:
    with open(tmp_path / "config.json", "wb") as file:
        file.truncate(load.SIZE + 1)
    assert "16777217 bytes, more than the limit of 16777216" in message(tmp_path)


def test_no_file_descriptor_is_left_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    (tmp_path / "config.json").write_bytes(b"{]")
    assert "line 1, column 2" in message(tmp_path)
    (tmp_path / "config.json").write_bytes(GOOD)
    load.load_bundle(str(tmp_path))
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("data", [b"[]", b'"text"', b"1", b"true"])
def test_a_document_that_is_not_an_object(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "config.json").write_bytes(data)
    assert message(tmp_path).startswith("config.json: expected an object")


def test_null_is_not_a_document(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"null")
    assert message(tmp_path).startswith("config.json: config cannot be null")
