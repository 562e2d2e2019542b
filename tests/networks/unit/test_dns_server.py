"""The name server of networks: its answers, from the recorded endpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyruntime.networks.dns_server import PTR, NameTable, Question

LONG = "a" * 63


@pytest.mark.parametrize(("names", "expected"), [
    (["web", "0123456789ab"], b"\3web\0"), ([LONG, "0123456789ab"], b"\x3f" + LONG.encode() + b"\0"),
    # A name that DNS cannot express is skipped: the container has a short ID too.
    ([LONG + "a", "0123456789ab"], b"\x0c0123456789ab\0"), (["a" * 300, "0123456789ab"], b"\x0c0123456789ab\0"),
    (["a." * 140, "0123456789ab"], b"\x0c0123456789ab\0"), (["a..b", "0123456789ab"], b"\x0c0123456789ab\0"),
])
def test_the_reverse_name_of_an_address(tmp_path: Path, names: list[str], expected: bytes) -> None:
    joined = {"network": "pocker", "internal": False, "ip": "10.88.0.2", "ip6": "", "aliases": []}
    directory = tmp_path / "networks/containers"
    directory.mkdir(parents=True)
    (directory / ("1" * 64)).write_text(json.dumps({"names": names, "joined": [joined], "dns": [], "links": {}}))
    table = NameTable(str(tmp_path))
    table.refresh()
    asked = b"".join(bytes([len(part)]) + part for part in b"2.0.88.10.in-addr.arpa".split(b".")) + b"\0"
    query = b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + asked + PTR.to_bytes(2, "big") + b"\0\1"
    answer = table.answer("10.88.0.2", query, Question(query), 0)
    assert answer and answer.endswith(len(expected).to_bytes(2, "big") + expected)
