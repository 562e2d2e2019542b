"""CRIU's RPC protocol: the messages of its rpc.proto that the runtime needs, and no more of Protocol Buffers.

Written by hand: importing a Protocol Buffers library would take longer than a small dump, and this module fits on one
screen. Unknown fields are skipped, as the format requires. https://criu.org/RPC
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

# Request types (criu_req_type).
DUMP, RESTORE, PRE_DUMP, NOTIFY, FEATURE_CHECK = 1, 2, 4, 6, 9
NAMES = {DUMP: "DUMP", RESTORE: "RESTORE", PRE_DUMP: "PRE_DUMP", NOTIFY: "NOTIFY", FEATURE_CHECK: "FEATURE_CHECK"}
# criu_cg_mode: how CRIU treats the cgroups, by runc's --manage-cgroups-mode.
CGROUP_MODES = {"ignore": 0, "soft": 3, "full": 4, "strict": 5}

# message -> field -> (number, type: "int" for numbers and booleans, "text", or another message).
MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "request": {"type": (1, "int"), "opts": (2, "options"), "notify_success": (3, "int"), "features": (5, "features")},
    "response": {"type": (1, "int"), "success": (2, "int"), "restore": (4, "restored"), "notify": (5, "notification"),
                 "cr_errno": (7, "int"), "features": (8, "features"), "cr_errmsg": (9, "text")},
    "restored": {"pid": (1, "int")},
    "notification": {"script": (1, "text"), "pid": (2, "int")},
    "features": {"mem_track": (1, "int"), "lazy_pages": (2, "int")},
    "page_server": {"address": (1, "text"), "port": (2, "int")},
    "mapping": {"key": (1, "text"), "val": (2, "text")},
    "inherited": {"key": (1, "text"), "fd": (2, "int")},
    "joined": {"ns": (1, "text"), "ns_file": (2, "text")},
    "cgroup_root": {"ctrl": (1, "text"), "path": (2, "text")},
    "options": {
        "images_dir_fd": (1, "int"), "pid": (2, "int"), "leave_running": (3, "int"), "ext_unix_sk": (4, "int"),
        "tcp_established": (5, "int"), "evasive_devices": (6, "int"), "shell_job": (7, "int"), "file_locks": (8, "int"),
        "log_level": (9, "int"), "log_file": (10, "text"), "ps": (11, "page_server"), "notify_scripts": (12, "int"),
        "root": (13, "text"), "parent_img": (14, "text"), "track_mem": (15, "int"), "auto_dedup": (16, "int"),
        "work_dir_fd": (17, "int"), "link_remap": (18, "int"), "ext_mnt": (23, "mapping"),
        "cg_root": (25, "cgroup_root"), "rst_sibling": (26, "int"), "inherit_fd": (27, "inherited"),
        "ext_masters": (30, "int"), "manage_cgroups_mode": (34, "int"), "ghost_limit": (35, "int"),
        "external": (37, "text"), "empty_ns": (38, "int"), "join_ns": (39, "joined"), "freeze_cgroup": (44, "text"),
        "tcp_skip_in_flight": (46, "int"), "lazy_pages": (48, "int"),
        "orphan_pts_master": (50, "int"), "config_file": (51, "text"), "lsm_profile": (53, "text"),
        "lsm_mount_context": (63, "text"), "network_lock": (64, "int"), "skip_file_rwx_check": (66, "int"),
    },
}
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_NEGATIVE = 1 << 64   # a negative int32 is sent as 64 bits


def encode(message: str, values: Mapping[str, Any]) -> bytes:
    """The bytes of a message. A list is a repeated field, None an unset field; fields that the message does not have
    are an error."""
    fields = MESSAGES[message]
    parts = []
    for name, given in values.items():
        number, kind = fields[name]
        for value in given if isinstance(given, list) else () if given is None else (given,):
            if kind == "int":
                parts += [_varint(number << 3 | _VARINT), _varint(int(value) % _NEGATIVE)]
            else:
                data = value.encode("utf-8", "surrogateescape") if kind == "text" else encode(kind, value)
                parts += [_varint(number << 3 | _LENGTH), _varint(len(data)), data]
    return b"".join(parts)


def decode(message: str, data: bytes) -> dict[str, Any]:
    """The known fields of a message. Raises ValueError for bytes that are not a message."""
    known = {number: (name, kind) for name, (number, kind) in MESSAGES[message].items()}
    found: dict[str, Any] = {}
    for number, value in _fields(data):
        if number not in known:
            continue
        name, kind = known[number]
        if (kind == "int") is not isinstance(value, int):
            raise ValueError(f"field {name} of {message} has the wrong type")
        if isinstance(value, int):
            found[name] = value
        else:
            found[name] = value.decode("utf-8", "surrogateescape") if kind == "text" else decode(kind, value)
    return found


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _read_varint(data, at)
            yield number, value - _NEGATIVE if value >= _NEGATIVE >> 1 else value
            continue
        if wire == _LENGTH:
            size, at = _read_varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > len(data):
            raise ValueError("the message is cut off")
        yield number, data[at:at + size]
        at += size


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number is cut off")
