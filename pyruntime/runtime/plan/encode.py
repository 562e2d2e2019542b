"""The binary form of a plan, which the stub reads from a sealed memfd.

    header   8 bytes magic, u32 size of the whole, u32 number of records, u32 crc32 of everything after the header,
             u32 fingerprint of the instruction table
    record   u32 size, u32 index of the step in the plan, u16 operation, u8 fault, u8 0, 4 x u8 tolerated errno,
             the fields in the table's order, zeros up to a multiple of 8
    field    int: 8 bytes; str: u32 length, bytes, NUL; strs: u32 count, u32 length of the rest, strings each with NUL;
             bytes: u32 length, bytes

All numbers are little-endian. The stub verifies the whole plan before it performs the first step; a lenient reader
would turn a damaged plan into a container with a missing step. Host steps are not encoded: each sequence of them is
replaced by one ``sync`` record with the index of the first.
"""

from __future__ import annotations

from binascii import crc32
from struct import Struct

from pyruntime.errors import PyruntimeError
from pyruntime.runtime.plan.steps import BYTES, INT, OPS, STR, STRS, Op

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyruntime.runtime.plan.steps import Step

HEADER = Struct("<8sIIII")
RECORD = Struct("<IIHBB4B")

FAULT_FAIL = 1   # the record's fault byte: report EIO instead of performing the step
FAULT_KILL = 2   # raise SIGKILL before the step
FAULT_KILL_AFTER = 3
FAULT_KILL_PARENT = 4   # request the death of the process at the other end of the socket, and continue


class InstructionSet:
    """A table of instructions as its reader in C knows it.

    ``magic``        the first 8 bytes of its plans
    ``ops``          the instructions, and ``numbers`` by which records name them
    ``fingerprint``  a number that changes with the table: reader and Python must have been built together
    """

    def __init__(self, magic: bytes, ops: Sequence[Op], more: str = "") -> None:
        """``more``: what else reader and Python must agree on."""
        self.magic = magic
        self.ops = {op.name: op for op in ops}
        self.numbers = {op.name: number for number, op in enumerate(ops, 1)}
        text = ";".join(f"{op.name}({','.join(f'{n}:{k}' for n, k in op.fields.items())})" for op in ops)
        self.fingerprint = crc32(f"{text}{more}".encode())

    def record(self, index: int, name: str, args: dict[str, Any], where: str, tolerate: Sequence[int] = (),
               fault: int = 0) -> bytes:
        """The bytes of one instruction; ``where`` is the place in config.json that it comes from."""
        body = b"".join([_field(kind, args[field], where) for field, kind in self.ops[name].fields.items()])
        body += bytes(-(RECORD.size + len(body)) % 8)
        numbers = (*tolerate, 0, 0, 0, 0)[:4]
        return RECORD.pack(RECORD.size + len(body), index, self.numbers[name], fault, 0, *numbers) + body

    def frame(self, records: Sequence[bytes]) -> bytes:
        """A whole plan."""
        body = b"".join(records)
        return HEADER.pack(self.magic, HEADER.size + len(body), len(records), crc32(body), self.fingerprint) + body


STUB = InstructionSet(b"PYRPLAN\x01", [op for op in OPS.values() if op.actor == "stub"])


def _text(value: str, where: str) -> bytes:
    data = value.encode("utf-8", "surrogateescape")
    if b"\0" in data:
        raise PyruntimeError(f'{where}: "{value}" holds a NUL character')
    return data


def _field(kind: str, value: object, where: str) -> bytes:
    if kind == INT:
        assert isinstance(value, int), (where, value)
        return (value & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")
    if kind == STR:
        assert isinstance(value, str), (where, value)
        data = _text(value, where)
        return len(data).to_bytes(4, "little") + data + b"\0"
    if kind == STRS:
        assert isinstance(value, (list, tuple)), (where, value)
        data = b"".join([_text(item, where) + b"\0" for item in value])
        return len(value).to_bytes(4, "little") + len(data).to_bytes(4, "little") + data
    assert kind == BYTES and isinstance(value, bytes), (where, value)
    return len(value).to_bytes(4, "little") + value


def encode(steps: Sequence[Step], faults: dict[int, int] | None = None) -> bytes:
    """The stub's part of a plan. ``faults`` maps step indices to FAULT_* (see lifecycle/faults.py)."""
    records = []
    after_host = False
    for index, step in enumerate(steps):
        fault = (faults or {}).get(index, 0)
        if step.op.actor == "stub":
            after_host = False
            records.append(STUB.record(index, step.op.name, step.args, step.where, step.tolerate, fault))
        elif not after_host:
            after_host = True
            records.append(STUB.record(index, "sync", {}, step.where))
    return STUB.frame(records)
