"""The device filter of cgroup v2: rules compiled to the bytes of an eBPF program (BPF_PROG_TYPE_CGROUP_DEVICE).

The kernel calls the program with a ``struct bpf_cgroup_dev_ctx`` {u32 access_type, major, minor} for every mknod and
open of a device node: access_type has the device's type in its low 16 bits (1 block, 2 character) and the requested
access above them (1 mknod, 2 read, 4 write). The program returns 1 to allow, 0 for EPERM.

Each requested access is decided by the last rule that matches it, because config-linux.md applies the list in order. So
the program goes through the rules from last to first with the set of undecided accesses: a denial of any of them
returns 0, a permission removes its accesses from the set, and an empty set returns 1.
"""

from __future__ import annotations

from pyruntime.runtime.cgroups.devices import parse_rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyruntime.runtime.cgroups.devices import DeviceRule

KINDS = {"b": 1, "c": 2}              # BPF_DEVCG_DEV_BLOCK, BPF_DEVCG_DEV_CHAR
ACCESS = {"m": 1, "r": 2, "w": 4}     # BPF_DEVCG_ACC_MKNOD, _READ, _WRITE

# Registers: r0 result, r1 the context, r2 type, r3 undecided accesses, r4 major, r5 minor, r6 scratch.
LDX_W, MOV32_K, MOV32_X, AND32_K, RSH32_K, JNE32_K, JEQ32_K, EXIT = 0x61, 0xB4, 0xBC, 0x54, 0x74, 0x56, 0x16, 0x95


def instruction(code: int, dst: int = 0, src: int = 0, offset: int = 0, imm: int = 0) -> bytes:
    """One ``struct bpf_insn``, in the host's byte order (little endian on every supported architecture)."""
    return bytes((code, src << 4 | dst)) + (offset & 0xFFFF).to_bytes(2, "little") + (imm & 0xFFFFFFFF).to_bytes(
        4, "little")


def answer(value: int) -> list[bytes]:
    """Return ``value``."""
    return [instruction(MOV32_K, 0, imm=value), instruction(EXIT)]


def compile_rules(rules: Iterable[str]) -> bytes:
    """The program for rules such as ``allow c 1:3 rwm``; accesses without a rule are denied. Raises ValueError."""
    code = [
        instruction(LDX_W, 2, 1, 0),
        instruction(MOV32_X, 3, 2),
        instruction(AND32_K, 2, imm=0xFFFF),
        instruction(RSH32_K, 3, imm=16),
        instruction(LDX_W, 4, 1, 4),
        instruction(LDX_W, 5, 1, 8),
    ]
    for rule in reversed([parse_rule(text) for text in rules]):
        code += compile_rule(rule)
        if rule.total():
            break   # everything is decided, and the verifier refuses unreachable code
    else:
        code += answer(0)
    return b"".join(code)


def compile_rule(rule: DeviceRule) -> list[bytes]:
    """One rule: its verdict on the undecided accesses, or a jump over it if it is for another device."""
    mask = sum(ACCESS[letter] for letter in rule.access)
    if rule.total():
        return answer(int(rule.allow))
    if rule.allow:
        body = [instruction(AND32_K, 3, imm=7 & ~mask), instruction(JNE32_K, 3, offset=2, imm=0), *answer(1)]
    else:
        body = [instruction(MOV32_X, 6, 3), instruction(AND32_K, 6, imm=mask), instruction(JEQ32_K, 6, offset=2),
                *answer(0)]
    for register, value in ((5, rule.minor), (4, rule.major)):
        if value != "*":
            body.insert(0, instruction(JNE32_K, register, offset=len(body), imm=int(value)))
    if rule.kind != "a":
        body.insert(0, instruction(JNE32_K, 2, offset=len(body), imm=KINDS[rule.kind]))
    return body
