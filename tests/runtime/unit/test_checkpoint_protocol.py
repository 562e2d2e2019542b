"""The messages of CRIU's protocol: exact bytes, round trips, and invalid messages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyruntime.runtime.lifecycle.checkpoint_criu import log_errors
from pyruntime.runtime.lifecycle.checkpoint_protocol import MESSAGES, decode, encode


def test_the_bytes() -> None:
    """The encoding of Protocol Buffers: key (number << 3 | wire type), then the value."""
    assert encode("request", {"type": 1, "notify_success": True}) == bytes([0x08, 1, 0x18, 1])
    assert encode("mapping", {"key": "a", "val": "bc"}) == b"\x0a\x01a\x12\x02bc"
    assert encode("options", {"pid": 300}) == b"\x10\xac\x02"
    assert encode("options", {"images_dir_fd": -1}) == b"\x08" + b"\xff" * 9 + b"\x01"
    assert encode("options", {"external": ["x", "y"], "config_file": None}) == b"\xaa\x02\x01x\xaa\x02\x01y"
    assert encode("request", {"opts": {"ps": {"port": 1}}}) == b"\x12\x04\x5a\x02\x10\x01"
    with pytest.raises(KeyError):
        encode("options", {"no_such_field": 1})


_VALUES: dict[str, st.SearchStrategy[Any]] = {"int": st.integers(-(1 << 31), 1 << 31), "text": st.text(max_size=8)}


@pytest.mark.parametrize("message", MESSAGES)
@given(data=st.data())
def test_round_trip(message: str, data: st.DataObject) -> None:
    plain = {field: _VALUES[kind] for field, (_, kind) in MESSAGES[message].items() if kind in _VALUES}
    values = data.draw(st.dictionaries(st.sampled_from(sorted(plain)), st.none(), max_size=4).flatmap(
        lambda chosen: st.fixed_dictionaries({field: plain[field] for field in chosen})))
    assert decode(message, encode(message, values)) == values


@given(st.binary(max_size=64))
def test_other_bytes_are_refused_or_parsed(data: bytes) -> None:
    try:
        assert isinstance(decode("response", data), dict)
    except ValueError as error:
        assert str(error)


def test_unknown_fields_are_skipped() -> None:
    unknown = b"\xf8\x07\x05" + b"\xfa\x07\x02ab" + b"\xf9\x07" + bytes(8) + b"\xfd\x07" + bytes(4)
    assert decode("response", unknown + b"\x08\x02") == {"type": 2}


@pytest.mark.parametrize("data", [b"\x08", b"\x0a\x05a", b"\x0b", b"\x12\x01\x01", b"\x20\x01", b"\xff" * 11])
def test_truncated_messages_and_wrong_types(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut off|wire type|wrong type"):
        decode("response", data)


def test_the_errors_in_a_log(tmp_path: Any) -> None:
    """The log of CRIU's kernel probing contains errors that are not errors."""
    log = tmp_path / "dump.log"
    log.write_text("(00.001) Error (criu/tun.c:85): tun: Unable to create tun: Operation not permitted\n"
                   "(00.002) Dumping processes (pid: 5 comm: sh)\n"
                   "(00.003) Error (criu/util.c:1533): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not"
                   " permitted\n"
                   "(00.004) Warn  (criu/x.c:1): nothing\n"
                   "(00.005)      1: Error (criu/files-reg.c:1790): Can't lookup mount=24 for fd=0\n"
                   "(00.006) Error (criu/cr-dump.c:1): Dump files failed with -1\n"
                   "(00.007) Error (criu/cr-dump.c:2): Dumping FAILED.\n")
    assert log_errors(str(log)) == ["Can't lookup mount=24 for fd=0", "Dump files failed with -1"]
    assert log_errors(str(tmp_path / "none")) == [] and log_errors("") == []
