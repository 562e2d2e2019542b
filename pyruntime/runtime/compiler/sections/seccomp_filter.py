"""Compile linux.seccomp into a classic BPF program, with libseccomp.

Rules are added as by runc, so that a profile has the same meaning: names that libseccomp does not know are left out,
and so are rules with the default action. Several conditions on one argument become separate rules (any of them
matches); conditions on different arguments become one rule (all must match).

A prelude comes before libseccomp's program, as in runc. A profile that denies by default also denies every system call
that is newer than the profile, and programs that get EPERM where they expect ENOSYS do not fall back. So a number above
the highest number in the profile, for its architecture, is answered with ENOSYS.
"""

from __future__ import annotations

import os
from errno import EDOM, EEXIST, ENOSYS, EPERM

from pyruntime.errors import HostError
from pyruntime.runtime.compiler.sections.seccomp_values import (
    INSTRUCTION,
    MAX_INSTRUCTIONS,
    Filter,
    mistake,
    read_flags,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.runtime.config.node import Node

try:
    from pyruntime.native import _seccomp  # type: ignore[attr-defined,unused-ignore]
except ImportError as _error:
    raise HostError(f"libseccomp cannot be used: {_error}", "linux.seccomp") from None

ffi: Any = _seccomp.ffi
lib: Any = _seccomp.lib



def libseccomp_version() -> str:
    """The version of the loaded libseccomp, for example ``2.5.4``."""
    version = lib.seccomp_version()
    return f"{version.major}.{version.minor}.{version.micro}"


# Actions as in <seccomp.h>. ERRNO and TRACE have a number in their low 16 bits.
ACT_ERRNO = 0x00050000
ACT_TRACE = 0x7FF00000
ACTIONS: dict[str, int] = {
    "SCMP_ACT_KILL": lib.SCMP_ACT_KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": lib.SCMP_ACT_KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": lib.SCMP_ACT_KILL_PROCESS,
    "SCMP_ACT_TRAP": lib.SCMP_ACT_TRAP,
    "SCMP_ACT_ERRNO": ACT_ERRNO,
    "SCMP_ACT_TRACE": ACT_TRACE,
    "SCMP_ACT_ALLOW": lib.SCMP_ACT_ALLOW,
    "SCMP_ACT_LOG": lib.SCMP_ACT_LOG,
    "SCMP_ACT_NOTIFY": lib.SCMP_ACT_NOTIFY,
}
WITH_NUMBER = (ACT_ERRNO, ACT_TRACE)
# A profile with one of these default actions lets unknown system calls pass to the kernel, which returns ENOSYS, or to
# a tracer, which decides.
PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")

OPERATORS: dict[str, int] = {name: getattr(lib, name) for name in (
    "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ")}

ARCHITECTURES = frozenset(
    "SCMP_ARCH_" + name for name in (
        "X86", "X86_64", "X32", "ARM", "AARCH64", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64", "MIPSEL64N32",
        "PPC", "PPC64", "PPC64LE", "S390", "S390X", "PARISC", "PARISC64", "RISCV64", "LOONGARCH64", "M68K", "SH",
        "SHEB"))

OPTIMIZE_FROM = 8   # number of rules from which libseccomp's binary tree pays off


def library_path() -> str:
    """The file that libseccomp was loaded from; empty if unknown (no /proc, or linked statically)."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            for line in maps:
                path = line.rstrip("\n").partition("/")[2]
                if path.rpartition("/")[2].startswith("libseccomp.so"):
                    return "/" + path
    except OSError:
        pass   # no /proc: the library cannot be identified by its file
    return ""


def read_action(action: Node, number: Node) -> int:
    """An action with its errnoRet (or defaultErrnoRet)."""
    if action.value not in ACTIONS:
        raise mistake(action, f"string {action.value} is not a valid action for seccomp")
    value = ACTIONS[action.value]
    if value in WITH_NUMBER:
        given = number.or_(EPERM)
        if given > 0xFFFF:
            raise mistake(number, f"{given} is not an error number", "write at most 65535")
        return value | int(given)
    if number:
        raise mistake(number, f"{action.value} has no error number to return", "remove it")
    return value


def read_architectures(seccomp: Node) -> list[int]:
    """The architecture tokens: the host's own first, then the listed ones. An architecture that libseccomp does not
    know cannot run on this host either and is left out."""
    tokens = [lib.seccomp_arch_native()]
    for node in seccomp["architectures"].each():
        if node.value not in ARCHITECTURES:
            raise mistake(node, f"string {node.value} is not a valid arch for seccomp")
        token = lib.seccomp_arch_resolve_name(node.value.removeprefix("SCMP_ARCH_").lower().encode())
        if token and token not in tokens:
            tokens.append(token)
    return tokens


def read_conditions(rule: Node) -> list[list[Any]]:
    """The rules for ``args``: lists of struct scmp_arg_cmp; all conditions of a list must match."""
    conditions: list[Any] = []
    for node in rule["args"].each():
        index, operator = node.get("index", 0), node.get("op", "")
        if index > 5:
            raise mistake(node["index"], f"{index} is not a system call argument", "write 0 to 5")
        if operator not in OPERATORS:
            raise mistake(node["op"], f"string {operator} is not a valid operator for seccomp")
        conditions.append((index, OPERATORS[operator], node.get("value", 0), node.get("valueTwo", 0)))
    if len({condition[0] for condition in conditions}) < len(conditions):
        return [[condition] for condition in conditions]
    return [conditions]


class Profile:
    """A libseccomp filter under construction."""

    def __init__(self, seccomp: Node) -> None:
        self.seccomp = seccomp
        self.default = read_action(seccomp["defaultAction"], seccomp["defaultErrnoRet"])
        if self.default == lib.SCMP_ACT_NOTIFY:
            raise mistake(seccomp["defaultAction"], "SCMP_ACT_NOTIFY cannot be used as default action")
        self.architectures = read_architectures(seccomp)
        self.listener = False
        self.unknown: list[str] = []
        self.names: set[str] = set()
        self.rules = 0
        # Level 6 is libseccomp 2.5. Set explicitly: otherwise libseccomp probes the kernel, perhaps under a filter
        # itself.
        lib.seccomp_api_set(6)
        self.context = ffi.gc(lib.seccomp_init(self.default), lib.seccomp_release)
        if not self.context:
            raise HostError("libseccomp cannot create a filter", seccomp.where)
        for token in self.architectures:
            error = lib.seccomp_arch_add(self.context, token)
            if error == -EDOM:
                raise mistake(seccomp["architectures"], "architectures of different byte order cannot be mixed")
            if error not in (0, -EEXIST):
                raise self._refused(seccomp["architectures"], error)
        for rule in seccomp["syscalls"].each():
            self.add(rule)

    def add(self, rule: Node) -> None:
        """Add one entry of ``syscalls``."""
        action = read_action(rule["action"], rule["errnoRet"])
        conditions = read_conditions(rule)
        notifies = action == lib.SCMP_ACT_NOTIFY
        self.listener = self.listener or notifies
        for node in rule["names"].each():
            if not node.value:
                raise mistake(node, "empty string is not a valid syscall")
            if notifies and node.value == "write":
                raise mistake(node, "SCMP_ACT_NOTIFY cannot be used for the write syscall")
            number = lib.seccomp_syscall_resolve_name(node.value.encode("utf-8", "surrogateescape"))
            if number == lib.NR_SCMP_ERROR:
                self.unknown.append(node.value)
                continue
            self.names.add(node.value)
            if action == self.default:
                continue
            for group in conditions:
                self.rules += 1
                error = lib.seccomp_rule_add_array(self.context, action, number, len(group),
                                                   ffi.new("struct scmp_arg_cmp[]", group))
                if error not in (0, -EEXIST):
                    raise self._refused(node, error)

    def export(self) -> bytes:
        """libseccomp's program."""
        if self.rules > OPTIMIZE_FROM:
            lib.seccomp_attr_set(self.context, lib.SCMP_FLTATR_CTL_OPTIMIZE, 2)
        descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        try:
            error = lib.seccomp_export_bpf(self.context, descriptor)
            if error:
                raise self._refused(self.seccomp, error)
            return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        finally:
            os.close(descriptor)

    def _refused(self, node: Node, error: int) -> HostError:
        return HostError(f"libseccomp: {os.strerror(-error)}", node.where)

    # --- ENOSYS for system calls newer than the profile
    # -------------------------------------------------------------------

    def newest(self) -> dict[int, int]:
        """The highest system call number in the profile, by architecture token."""
        highest: dict[int, int] = {}
        for token in self.architectures:
            for name in self.names:
                number = lib.seccomp_syscall_resolve_name_arch(token, name.encode("utf-8", "surrogateescape"))
                if number >= 0:   # negative: the architecture has no such call
                    highest[token] = max(number, highest.get(token, 0))
        return highest

    def prelude(self) -> bytes:
        """Instructions that return ENOSYS for numbers above `newest` and fall through otherwise."""
        action = self.seccomp["defaultAction"].value
        if action in PERMISSIVE or self.default == ACT_ERRNO | ENOSYS:
            return b""
        highest = self.newest()
        sections = b""
        x32 = highest.pop(lib.SCMP_ARCH_X32, 0)
        for token, number in highest.items():
            if token == lib.SCMP_ARCH_X86_64:
                body = _amd64_section(number, x32)
            else:
                body = instruction(LD_ABS, k=OFFSET_NR) + above(number)
            sections += (instruction(LD_ABS, k=OFFSET_ARCH)
                         + instruction(JEQ_K, jf=len(body) // INSTRUCTION, k=token) + body)
        return sections


# <linux/bpf_common.h>: the instructions of the prelude.
LD_ABS, JEQ_K, JGT_K, JSET_K, RET_K = 0x20, 0x15, 0x25, 0x45, 0x06
OFFSET_NR, OFFSET_ARCH = 0, 4   # of struct seccomp_data
X32_BIT = 0x40000000


def instruction(code: int, jt: int = 0, jf: int = 0, k: int = 0) -> bytes:
    """One struct sock_filter in the host's byte order (little endian on every supported architecture)."""
    return code.to_bytes(2, "little") + bytes((jt, jf)) + k.to_bytes(4, "little")


def above(number: int) -> bytes:
    """With a system call number loaded: ENOSYS if it is above ``number``."""
    return instruction(JGT_K, jf=1, k=number) + instruction(RET_K, k=ACT_ERRNO | ENOSYS)


def _amd64_section(number: int, x32: int) -> bytes:
    # x32 has the architecture of x86_64 and a bit in the number. Without x32 in the profile, such calls pass to
    # libseccomp's program, which handles foreign ABIs.
    x86_64 = above(number)
    other = above(x32) if x32 else b""
    leave = instruction(JSET_K, jt=len(x86_64) // INSTRUCTION + (1 if other else 0), k=X32_BIT)
    skip = instruction(0x05, k=len(other) // INSTRUCTION) if other else b""   # ja
    return instruction(LD_ABS, k=OFFSET_NR) + leave + x86_64 + skip + other


def compile_filter(seccomp: Node) -> Filter:
    """The complete filter of linux.seccomp."""
    profile = Profile(seccomp)
    program = profile.prelude() + profile.export()
    if len(program) > MAX_INSTRUCTIONS * INSTRUCTION:
        raise mistake(seccomp["syscalls"], f"the filter needs {len(program) // INSTRUCTION} instructions, the kernel "
                      f"takes {MAX_INSTRUCTIONS}", "use fewer rules or architectures")
    flags = read_flags(seccomp, profile.listener)
    return Filter(program, flags, profile.listener, tuple(dict.fromkeys(profile.unknown)))
