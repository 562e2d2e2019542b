"""linux.seccomp: programs are checked by a small classic BPF interpreter, and once by the kernel."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from pyruntime.errors import ConfigError
from pyruntime.runtime.cgroups.host import CgroupHost
from pyruntime.runtime.compiler.sections import seccomp, seccomp_values
from pyruntime.runtime.compiler.setup import Host, PlanOptions, Setup
from pyruntime.runtime.config.load import Config
from pyruntime.runtime.config.node import Node
from pyruntime.runtime.plan.steps import NO_SLOT
from tests.conftest import TOP

pytest.importorskip("pyruntime.native._seccomp", reason="the libseccomp binding is not built")

ARCH = {"x86_64": 0xC000003E, "x32": 0xC000003E, "x86": 0x40000003, "aarch64": 0xC00000B7, "arm": 0x40000028}
KILL_THREAD, KILL_PROCESS, TRAP, ERRNO, NOTIFY = 0, 0x80000000, 0x30000, 0x50000, 0x7FC00000
TRACE, LOG, ALLOW = 0x7FF00000, 0x7FFC0000, 0x7FFF0000
X32 = 0x40000000
ENOSYS = ERRNO | errno.ENOSYS
EPERM = ERRNO | errno.EPERM
HERE = os.uname().machine
# <asm/unistd.h>, <asm-generic/unistd.h>
NUMBERS = {
    "x86_64": {"read": 0, "write": 1, "close": 3, "mmap": 9, "ioctl": 16, "getpid": 39, "clone": 56, "execve": 59,
               "exit": 60, "getcwd": 79, "chdir": 80, "personality": 135, "openat": 257, "dup3": 292, "seccomp": 317,
               "clone3": 435},
    "aarch64": {"read": 63, "write": 64, "close": 57, "mmap": 222, "ioctl": 29, "getpid": 172, "clone": 220,
                "execve": 221, "exit": 93, "getcwd": 17, "chdir": 49, "personality": 92, "openat": 56, "dup3": 24,
                "seccomp": 277, "clone3": 435},
}
NR = NUMBERS.get(HERE, {})
pytestmark = pytest.mark.skipif(not NR, reason=f"the system call numbers of {HERE} are not known")


def run(program: bytes, arch: str, number: int, *args: int) -> int:
    """The result of the program for one system call."""
    data = struct.pack("<IIQ6Q", number, ARCH[arch], 0, *(list(args) + [0] * (6 - len(args))))
    code = list(struct.iter_unpack("<HBBI", program))
    a = x = 0
    memory = [0] * 16
    at = 0
    while True:
        op, jt, jf, k = code[at]
        at += 1
        kind = op & 7
        if kind == 0:                                   # ld
            a = {0x20: struct.unpack_from("<I", data, k % 64)[0], 0x00: k, 0x60: memory[k % 16]}[op & 0xE0]
        elif kind == 1:
            x = memory[k] if op & 0xE0 == 0x60 else k
        elif kind == 2:
            memory[k] = a
        elif kind == 3:
            memory[k] = x
        elif kind == 4:                                 # alu
            operand = x if op & 8 else k
            a = {0x50: a & operand, 0x40: a | operand, 0x00: a + operand & 0xFFFFFFFF}[op & 0xF0]
        elif kind == 5:                                 # jmp
            operand = x if op & 8 else k
            if op & 0xF0 == 0:
                at += k
            else:
                true = {0x10: a == operand, 0x20: a > operand, 0x30: a >= operand, 0x40: bool(a & operand)}[op & 0xF0]
                at += jt if true else jf
        elif kind == 6:                                 # ret
            return a if op & 0x18 == 0x10 else k
        elif kind == 7:                                 # misc
            a, x = (a, a) if op & 0x80 == 0 else (x, x)


def node(**section: object) -> Node:
    return Node(section, "linux.seccomp")


def rule(*names: str, action: str = "SCMP_ACT_ALLOW", **more: object) -> dict[str, object]:
    return {"names": list(names), "action": action, **more}


def build(**section: object) -> bytes:
    return seccomp.compile_filter(node(**section)).program


ACTIONS = {
    "SCMP_ACT_KILL": KILL_THREAD, "SCMP_ACT_KILL_THREAD": KILL_THREAD, "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_TRAP": TRAP, "SCMP_ACT_ERRNO": EPERM, "SCMP_ACT_TRACE": TRACE | 1, "SCMP_ACT_LOG": LOG,
}


@pytest.mark.parametrize(("name", "value"), [*ACTIONS.items(), ("SCMP_ACT_NOTIFY", NOTIFY)])
def test_every_action(name: str, value: int) -> None:
    program = build(defaultAction="SCMP_ACT_ALLOW", syscalls=[rule("getcwd", action=name)])
    assert run(program, HERE, NR["getcwd"]) == value
    assert run(program, HERE, NR["chdir"]) == ALLOW


@pytest.mark.parametrize(("name", "value"), ACTIONS.items())
def test_every_default_action(name: str, value: int) -> None:
    program = build(defaultAction=name, syscalls=[rule("getcwd")])
    assert run(program, HERE, NR["getcwd"]) == ALLOW
    assert run(program, HERE, NR["getcwd"] - 1) == value


def test_error_numbers() -> None:
    program = build(defaultAction="SCMP_ACT_ERRNO", defaultErrnoRet=22, syscalls=[
        rule("getcwd", action="SCMP_ACT_ERRNO", errnoRet=0), rule("chdir", action="SCMP_ACT_TRACE", errnoRet=7),
        rule("read")])
    assert run(program, HERE, NR["getcwd"]) == ERRNO
    assert run(program, HERE, NR["chdir"]) == TRACE | 7
    assert run(program, HERE, NR["close"]) == ERRNO | 22


BIG = 0x1_0000_0005
OPERATORS = {
    "SCMP_CMP_NE": lambda value: value != BIG, "SCMP_CMP_LT": lambda value: value < BIG,
    "SCMP_CMP_LE": lambda value: value <= BIG, "SCMP_CMP_EQ": lambda value: value == BIG,
    "SCMP_CMP_GE": lambda value: value >= BIG, "SCMP_CMP_GT": lambda value: value > BIG,
}


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_operator_compares_64_bits(operator: str) -> None:
    program = build(defaultAction="SCMP_ACT_ALLOW", syscalls=[rule(
        "personality", action="SCMP_ACT_ERRNO", args=[{"index": 0, "value": BIG, "op": operator}])])
    for value in (0, 4, 5, 6, BIG - 1, BIG, BIG + 1, 1 << 63):
        wanted = EPERM if OPERATORS[operator](value) else ALLOW
        assert run(program, HERE, NR["personality"], value) == wanted, hex(value)


def test_masked_equality_takes_the_mask_first() -> None:
    program = build(defaultAction="SCMP_ACT_ALLOW", syscalls=[rule(
        "clone", action="SCMP_ACT_ERRNO", args=[{"index": 0, "value": 0x7E020000, "valueTwo": 0, "op":
                                                 "SCMP_CMP_MASKED_EQ"}])])
    assert run(program, HERE, NR["clone"], 0x11) == EPERM
    assert run(program, HERE, NR["clone"], 0x10000000) == ALLOW


def test_conditions_on_different_arguments_must_all_match() -> None:
    args = [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 2, "op": "SCMP_CMP_EQ"}]
    program = build(defaultAction="SCMP_ACT_ALLOW", syscalls=[rule("dup3", action="SCMP_ACT_ERRNO", args=args)])
    assert [run(program, HERE, NR["dup3"], *pair) for pair in ((1, 2), (1, 0), (0, 2))] == [EPERM, ALLOW, ALLOW]


def test_two_conditions_on_one_argument_are_two_rules() -> None:
    args = [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]
    program = build(defaultAction="SCMP_ACT_ALLOW", syscalls=[rule("close", action="SCMP_ACT_ERRNO", args=args)])
    assert [run(program, HERE, NR["close"], value) for value in (0, 1, 2, 3)] == [ALLOW, EPERM, EPERM, ALLOW]


def test_architectures() -> None:
    archs = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"]
    program = build(defaultAction="SCMP_ACT_ALLOW", architectures=archs,
                    syscalls=[rule("getcwd", action="SCMP_ACT_ERRNO")])
    assert run(program, "x86_64", 79) == EPERM
    assert run(program, "x32", X32 | 79) == EPERM
    assert run(program, "x86", 183) == EPERM
    assert run(program, "aarch64", 17) == EPERM
    assert run(program, "x86", 79) == ALLOW
    assert run(program, "arm", 183) == KILL_THREAD   # an architecture that is not listed


def test_the_native_architecture_is_always_included() -> None:
    program = build(defaultAction="SCMP_ACT_ALLOW", architectures=["SCMP_ARCH_X86"],
                    syscalls=[rule("getcwd", action="SCMP_ACT_ERRNO")])
    assert run(program, HERE, NR["getcwd"]) == EPERM
    assert run(program, "x32", X32 | 79) == KILL_THREAD


def test_multiplexed_calls_of_x86() -> None:
    program = build(defaultAction="SCMP_ACT_ALLOW", architectures=["SCMP_ARCH_X86"],
                    syscalls=[rule("socket", action="SCMP_ACT_ERRNO")])
    assert run(program, "x86", 359) == EPERM       # the separate call
    assert run(program, "x86", 102, 1) == EPERM    # socketcall(SYS_SOCKET)
    assert run(program, "x86", 102, 2) == ALLOW


def test_unknown_names_are_left_out_and_reported() -> None:
    compiled = seccomp.compile_filter(node(defaultAction="SCMP_ACT_ALLOW", syscalls=[
        rule("no_such_call", "getcwd", action="SCMP_ACT_ERRNO"), rule("no_such_call")]))
    assert compiled.unknown == ("no_such_call",)
    assert run(compiled.program, HERE, NR["getcwd"]) == EPERM


def test_rules_with_the_default_action_are_left_out() -> None:
    # libseccomp refuses such rules; another error number is another action.
    program = build(defaultAction="SCMP_ACT_ERRNO", syscalls=[
        rule("getcwd", action="SCMP_ACT_ERRNO", errnoRet=1), rule("chdir", action="SCMP_ACT_ERRNO", errnoRet=2),
        rule("read")])
    assert run(program, HERE, NR["getcwd"]) == EPERM
    assert run(program, HERE, NR["chdir"]) == ERRNO | 2


# --- ENOSYS for system calls newer than the profile
# ---------------------------------------------------------------------

def test_newer_calls_are_not_implemented() -> None:
    program = build(defaultAction="SCMP_ACT_ERRNO", architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86",
                                                                   "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"],
                    syscalls=[rule("read", "openat2", "getcwd")])
    assert run(program, "x86_64", 437) == ALLOW
    assert run(program, "x86_64", 436) == EPERM
    assert run(program, "x86_64", 438) == ENOSYS
    assert run(program, "x86_64", 0x3FFFFFFF) == ENOSYS
    assert run(program, "x86", 437) == ALLOW
    assert run(program, "x86", 438) == ENOSYS
    assert run(program, "x32", X32 | 437) == ALLOW
    assert run(program, "x32", X32 | 438) == ENOSYS
    assert run(program, "x32", X32 | 80) == EPERM
    assert [run(program, "aarch64", number) for number in (436, 437, 438)] == [EPERM, ALLOW, ENOSYS]


def test_x32_that_is_not_listed_stays_forbidden() -> None:
    program = build(defaultAction="SCMP_ACT_ERRNO", syscalls=[rule("read")])
    assert run(program, HERE, NR["write"]) == ENOSYS
    assert run(program, "x32", X32 | 500) == KILL_THREAD


@pytest.mark.parametrize("default", ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"])
def test_permissive_profiles_have_no_prelude(default: str) -> None:
    program = build(defaultAction=default, syscalls=[rule("getcwd", action="SCMP_ACT_KILL")])
    assert run(program, HERE, 4000) != ENOSYS


@pytest.mark.parametrize("default", ["SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"])
def test_killing_profiles_have_a_prelude(default: str) -> None:
    assert run(build(defaultAction=default, syscalls=[rule("getcwd")]), HERE, NR["chdir"]) == ENOSYS


def test_a_large_profile_with_a_binary_tree_has_the_same_results() -> None:
    program = build(defaultAction="SCMP_ACT_ERRNO", syscalls=[rule(*NR)])
    for number in range(436):
        assert run(program, HERE, number) == (ALLOW if number in NR.values() else EPERM), number


# --- flags, listener -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("flags", "number"), [
    ({}, 4), ({"flags": []}, 0), ({"flags": ["SECCOMP_FILTER_FLAG_TSYNC"]}, 0),
    ({"flags": ["SECCOMP_FILTER_FLAG_LOG"]}, 2),
    ({"flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]}, 6),
    ({"flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}, 0),
])
def test_flags(flags: dict[str, list[str]], number: int) -> None:
    compiled = seccomp.compile_filter(node(defaultAction="SCMP_ACT_ALLOW", **flags))
    assert (compiled.flags, compiled.listener) == (number, False)


def test_a_listener_is_requested_if_a_rule_notifies() -> None:
    compiled = seccomp.compile_filter(node(
        defaultAction="SCMP_ACT_ALLOW", flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        syscalls=[rule("mkdir", action="SCMP_ACT_NOTIFY")]))
    assert (compiled.flags, compiled.listener) == (8 | 32, True)


def setup(**section: object) -> Setup:
    document = {"ociVersion": "1.3.0", "linux": {"seccomp": section}, "annotations": {"k": '"pid":0'}}
    return Setup(Config(document, bundle="/b"), Host(cgroup=CgroupHost([], None)), PlanOptions(), "c1")


def test_the_step_carries_the_message_for_the_agent() -> None:
    [step] = seccomp.emit(setup(**ALLOWING, listenerPath="/agent", listenerMetadata="meta",
                                syscalls=[rule("mkdir", action="SCMP_ACT_NOTIFY")]))
    assert (step.phase, step.where) == ("seal", "linux.seccomp")
    assert step.args["listener"] != NO_SLOT
    assert json.loads("7".join(step.args["message"])) == {
        "ociVersion": "1.3.0", "fds": ["seccompFd"], "pid": 7, "metadata": "meta",
        "state": {"ociVersion": "1.3.0", "id": "c1", "status": "creating", "pid": 7, "bundle": "/b",
                  "annotations": {"k": '"pid":0'}}}


def test_without_notification_there_is_no_listener() -> None:
    [step] = seccomp.emit(setup(**ALLOWING))
    assert (step.args["listener"], step.args["message"], step.args["flags"]) == (NO_SLOT, [], 4)


ALLOWING = {"defaultAction": "SCMP_ACT_ALLOW"}
MISTAKES = [
    ({"defaultAction": "BAD"}, "linux.seccomp.defaultAction: string BAD is not a valid action for seccomp"),
    ({"defaultAction": "SCMP_ACT_NOTIFY"}, "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used"),
    ({**ALLOWING, "defaultErrnoRet": 1}, "linux.seccomp.defaultErrnoRet: SCMP_ACT_ALLOW has no error number"),
    ({**ALLOWING, "flags": ["TSYNC"]}, 'linux.seccomp.flags[0]: unknown seccomp flag "TSYNC"'),
    ({**ALLOWING, "architectures": ["SCMP_ARCH_X86", "X"]}, "linux.seccomp.architectures[1]: string X is not a valid"),
    ({**ALLOWING, "architectures": ["SCMP_ARCH_S390X"]}, "linux.seccomp.architectures: architectures of different"),
    ({**ALLOWING, "syscalls": [rule("read", action="X")]}, "linux.seccomp.syscalls[0].action: string X is not a valid"),
    ({**ALLOWING, "syscalls": [rule("a"), rule("read", action="SCMP_ACT_KILL", errnoRet=1)]},
     "linux.seccomp.syscalls[1].errnoRet: SCMP_ACT_KILL has no error number"),
    ({**ALLOWING, "syscalls": [rule("read", action="SCMP_ACT_ERRNO", errnoRet=70000)]},
     "linux.seccomp.syscalls[0].errnoRet: 70000 is not an error number"),
    ({**ALLOWING, "syscalls": [rule("", action="SCMP_ACT_KILL")]}, "linux.seccomp.syscalls[0].names[0]: empty string"),
    ({**ALLOWING, "syscalls": [rule("write", action="SCMP_ACT_NOTIFY")]}, "linux.seccomp.syscalls[0].names[0]: SCMP"),
    ({**ALLOWING, "syscalls": [rule("read", args=[{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}])]},
     "linux.seccomp.syscalls[0].args[0].index: 6 is not"),
    ({**ALLOWING, "syscalls": [rule("read", args=[{"index": 0, "value": 0, "op": "EQ"}])]},
     "linux.seccomp.syscalls[0].args[0].op: string EQ is not a valid operator"),
]


@pytest.mark.parametrize(("section", "message"), MISTAKES)
def test_a_mistake_names_its_place(section: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        seccomp.compile_filter(node(**section))
    assert str(caught.value).startswith("config.json: " + message)


def test_notify_needs_a_path_and_metadata_too(tmp_path: os.PathLike[str]) -> None:
    section = {**ALLOWING, "syscalls": [rule("mkdir", action="SCMP_ACT_NOTIFY")]}
    for _round in range(2):   # compiled, and from the cache
        with pytest.raises(ConfigError, match=r"linux\.seccomp\.listenerPath: SCMP_ACT_NOTIFY is used"):
            seccomp.load(node(**section), f"{tmp_path}/cache")
    assert seccomp.load(node(**section, listenerPath="/agent"), f"{tmp_path}/cache").listener
    with pytest.raises(ConfigError, match=r"linux\.seccomp\.listenerMetadata"):
        seccomp.load(node(**ALLOWING, listenerMetadata="x"), "")


# --- the cache -------------------------------------------------------------------------------------------------------

PROFILE = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule("read", "no_such_call")]}


def entries(cache: str) -> list[str]:
    return [os.path.join(cache, name) for name in os.listdir(cache)]


def test_a_second_load_uses_the_entry(tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch) -> None:
    cache = f"{tmp_path}/cache"
    first = seccomp.load(node(**PROFILE, listenerMetadata="a", listenerPath="/a"), cache)
    assert len(entries(cache)) == 1
    monkeypatch.setattr(seccomp, "compile_filter", lambda _: pytest.fail("compiled again"))
    second = seccomp.load(node(**PROFILE), cache)   # the path of the listener does not matter
    assert [getattr(first, name) for name in seccomp_values.Filter.__slots__] == [
        getattr(second, name) for name in seccomp_values.Filter.__slots__]


def test_a_damaged_entry_is_replaced(tmp_path: os.PathLike[str]) -> None:
    cache = f"{tmp_path}/cache"
    wanted = seccomp.load(node(**PROFILE), cache).program
    [path] = entries(cache)
    good = Path(path).read_bytes()
    for damaged in (b"", good[:-1], good[:60] + bytes([good[60] ^ 1]) + good[61:], good[:-8], b"x" * 200):
        with open(path, "wb") as file:
            file.write(damaged)
        assert seccomp.load(node(**PROFILE), cache).program == wanted
        assert Path(path).read_bytes() == good


@pytest.mark.parametrize("byte", range(0, 150, 7))
def test_every_changed_byte_is_detected(tmp_path: os.PathLike[str], byte: int) -> None:
    data = bytearray(seccomp.pack(seccomp_values.Filter(b"12345678" * 12, 4, False), seccomp.identity("/")))
    assert seccomp.unpack(bytes(data)) is not None
    data[byte] ^= 0x10
    assert seccomp.unpack(bytes(data)) is None


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_an_entry_that_others_may_write_is_not_used(tmp_path: os.PathLike[str], mode: int) -> None:
    cache = f"{tmp_path}/cache"
    seccomp.load(node(**PROFILE), cache)
    [path] = entries(cache)
    evil = seccomp.pack(seccomp_values.Filter(struct.pack("<HBBI", 6, 0, 0, ALLOW), 0, False), seccomp.identity("/"))
    with open(path, "wb") as file:
        file.write(evil)
    assert run(seccomp.load(node(**PROFILE), cache).program, HERE, NR["write"]) == ALLOW   # owned by the caller
    os.chmod(path, mode)
    assert run(seccomp.load(node(**PROFILE), cache).program, HERE, NR["write"]) == ENOSYS
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_links_and_open_directories_are_not_used(tmp_path: os.PathLike[str]) -> None:
    cache = f"{tmp_path}/cache"
    seccomp.load(node(**PROFILE), cache)
    [path] = entries(cache)
    os.rename(path, f"{tmp_path}/elsewhere")
    os.symlink(f"{tmp_path}/elsewhere", path)
    seccomp.load(node(**PROFILE), cache)
    assert not os.path.islink(path)
    os.unlink(path)
    os.chmod(cache, 0o777)
    seccomp.load(node(**PROFILE), cache)
    assert entries(cache) == []


def test_another_libseccomp_compiles_again() -> None:
    assert seccomp.unpack(seccomp.pack(seccomp_values.Filter(b"8" * 8, 0, False), "1:2:3 /")) is None


def test_the_cache_does_not_grow_without_bound(tmp_path: os.PathLike[str]) -> None:
    cache = f"{tmp_path}/cache"
    for number in range(seccomp.MAX_ENTRIES + 10):
        seccomp.load(node(defaultAction="SCMP_ACT_ERRNO", defaultErrnoRet=number), cache)
    assert len(entries(cache)) == seccomp.MAX_ENTRIES


def test_a_hit_loads_neither_cffi_nor_libseccomp(tmp_path: os.PathLike[str]) -> None:
    cache = f"{tmp_path}/cache"
    seccomp.load(node(**PROFILE), cache)
    script = ("import sys\nfrom pyruntime.runtime.config.node import Node\n"
              "from pyruntime.runtime.compiler.sections import seccomp\n"
              f"seccomp.load(Node({PROFILE!r}, ''), {cache!r})\n"
              "print(*{'_cffi_backend', 'pyruntime.native._seccomp', 'hashlib', 're', 'json', 'typing', 'dataclasses',"
              " 'enum', 'collections', 'subprocess'} & sys.modules.keys())")
    done = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(TOP)!r})\n{script}"],
                          capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# --- the kernel ------------------------------------------------------------------------------------------------------

class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def test_the_kernel_accepts_the_filter() -> None:
    # In a child: mkdir gets EXDEV, an unknown call ENOSYS, everything else works.
    compiled = seccomp.compile_filter(node(
        defaultAction="SCMP_ACT_ALLOW", syscalls=[rule("mkdir", "mkdirat", action="SCMP_ACT_ERRNO",
                                                       errnoRet=errno.EXDEV)]))
    libc = ctypes.CDLL(None, use_errno=True)
    child = os.fork()
    if not child:
        status = 1
        try:
            libc.prctl(38, 1, 0, 0, 0)
            program = Program(len(compiled.program) // 8, compiled.program)
            assert libc.syscall(NR["seccomp"], 1, compiled.flags, ctypes.byref(program)) == 0
            try:
                os.mkdir("/tmp")
            except OSError as error:
                status = 0 if error.errno == errno.EXDEV else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
