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
from pyruntime.runtime.plan.steps import INT, OPS, STR, STRS, Op

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyruntime.runtime.plan.steps import Step

HEADER = Struct("<8sIIII")
RECORD = Struct("<IIHBB4s")

_NUMBERS = [Struct(f"<{count}Q") for count in range(16)]   # an instruction has fewer fields
_ALL = 0xFFFFFFFFFFFFFFFF
_LENGTH = Struct("<I").pack
_ZEROS = [bytes(count) for count in range(8)]

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
        self._layouts: dict[tuple[str, int], list[tuple[str, list[str]]]] = {}
        self.numbers = {op.name: number for number, op in enumerate(ops, 1)}
        text = ";".join(f"{op.name}({','.join(f'{n}:{k}' for n, k in op.fields.items())})" for op in ops)
        self.fingerprint = crc32(f"{text}{more}".encode())

    def record(self, index: int, name: str, args: dict[str, Any], where: str, tolerate: Sequence[int] = (),
               fault: int = 0) -> bytes:
        """The bytes of one instruction; ``where`` is the place in config.json that it comes from."""
        body = self.body(name, args, where)
        size = RECORD.size + len(body)
        zeros = _ZEROS[-size % 8]
        return RECORD.pack(size + len(zeros), index, self.numbers[name], fault, 0, bytes(tolerate)) + body + zeros

    def body(self, name: str, args: dict[str, Any], where: str, skip: int = 0) -> bytes:
        """The fields of an instruction, without the first ``skip``."""
        parts: list[bytes] = []
        for kind, fields in self._layouts.get((name, skip)) or self._layout(name, skip):
            if kind == INT:
                parts.append(_NUMBERS[len(fields)].pack(*[args[field] & _ALL for field in fields]))
                continue
            value = args[fields[0]]
            if kind == STR:
                data = value.encode("utf-8", "surrogateescape")
                parts += _LENGTH(len(data)), data, b"\0"
                if b"\0" in data:
                    raise _nul(value, where)
            elif kind == STRS:
                data = b"".join([_text(item, where) for item in value])
                parts += _LENGTH(len(value)), _LENGTH(len(data)), data
            else:
                parts += _LENGTH(len(value)), value
        return b"".join(parts)

    def _layout(self, name: str, skip: int) -> list[tuple[str, list[str]]]:
        """The fields with their kinds; successive numbers are together, to be packed at once."""
        layout: list[tuple[str, list[str]]] = []
        for field, kind in list(self.ops[name].fields.items())[skip:]:
            if kind == INT and layout and layout[-1][0] == INT:
                layout[-1][1].append(field)
            else:
                layout.append((kind, [field]))
        self._layouts[name, skip] = layout
        return layout

    def frame(self, records: Sequence[bytes]) -> bytes:
        """A whole plan."""
        body = b"".join(records)
        return HEADER.pack(self.magic, HEADER.size + len(body), len(records), crc32(body), self.fingerprint) + body


STUB = InstructionSet(b"PYRPLAN\x01", [op for op in OPS.values() if op.actor == "stub"])


def _text(value: str, where: str) -> bytes:
    data = value.encode("utf-8", "surrogateescape")
    if b"\0" in data:
        raise _nul(value, where)
    return data + b"\0"


def _nul(value: str, where: str) -> PyruntimeError:
    return PyruntimeError(f'{where}: "{value}" holds a NUL character')


def encode(steps: Sequence[Step], faults: dict[int, int] | None = None) -> bytes:
    """The stub's part of a plan. ``faults`` maps step indices to FAULT_* (see lifecycle/faults.py)."""
    return STUB.frame([record for _, record in records(steps, faults or {})])


def records(steps: Sequence[Step], faults: dict[int, int]) -> list[tuple[Step, bytes]]:
    """The records of the stub's part, each with its step; the step of a ``sync`` is the first that it waits for."""
    result = []
    after_host = False
    for index, step in enumerate(steps):
        fault = faults.get(index, 0)
        if step.op.actor == "stub":
            after_host = False
            result.append((step, STUB.record(index, step.op.name, step.args, step.where, step.tolerate, fault)))
        elif not after_host:
            after_host = True
            result.append((step, STUB.record(index, "sync", {}, step.where)))
    return result
