"""The default profile: as strict as Docker's documented profile, and able to run common software."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from pyruntime.images.runtime_config import CAPABILITIES
from pyruntime.profiles.seccomp import EVERYBODY, MACHINES, NEW_NAMESPACES, WITH_CAPABILITY, of_document, profile
from pyruntime.runtime.compiler.sections.seccomp_filter import compile_filter
from pyruntime.runtime.config.node import Node
from pyruntime.system.uapi import ALL_CAPABILITIES

# docs.docker.com/engine/security/seccomp, "significant syscalls blocked by the default profile"; without ptrace and
# process_vm_*, which it blocks only on kernels before 4.8, clock_adjtime, which can read as well as set, and clone and
# personality, whose arguments decide.
BLOCKED = """
    _sysctl acct add_key bpf clock_settime create_module delete_module finit_module get_kernel_syms get_mempolicy
    init_module ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie lsm_set_self_attr mbind mount
    move_pages nfsservctl open_by_handle_at perf_event_open pidfd_getfd pivot_root query_module quotactl reboot
    request_key set_mempolicy setns settimeofday stime swapoff swapon sysfs umount umount2 unshare uselib
    userfaultfd ustat vm86 vm86old
    """.split()   # noqa: SIM905  the list would be a screen long
NEVER = ("add_key", "keyctl", "request_key", "userfaultfd", "kexec_load", "kexec_file_load", "swapon", "swapoff",
         "pivot_root", "io_uring_setup", "io_uring_enter", "io_uring_register", "nfsservctl", "uselib", "vm86")


def plainly_allowed(document: dict[str, Any]) -> set[str]:
    return {name for rule in document["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("args")
            for name in rule["names"]}


@pytest.mark.parametrize("name", BLOCKED)
def test_calls_that_docker_documents_as_blocked_are_blocked(name: str) -> None:
    usual = profile(CAPABILITIES)
    assert usual["defaultAction"] == "SCMP_ACT_ERRNO" and usual["defaultErrnoRet"] == errno.EPERM
    assert name not in {one for rule in usual["syscalls"] for one in rule["names"]}


def test_calls_that_no_capability_allows() -> None:
    assert not set(NEVER) & plainly_allowed(profile(ALL_CAPABILITIES))


def test_calls_are_allowed_only_with_their_capability() -> None:
    for capability, names in WITH_CAPABILITY.items():
        assert not set(names) & set(EVERYBODY), capability
        assert set(names) <= plainly_allowed(profile([*CAPABILITIES, capability])), capability
        others = [name for name in CAPABILITIES if name != capability]
        elsewhere = {name for one in others for name in WITH_CAPABILITY.get(one, ())}
        assert not set(names) - elsewhere & plainly_allowed(profile(others)), capability


def test_no_call_is_listed_twice() -> None:
    assert len(set(EVERYBODY)) == len(EVERYBODY)
    names = profile(ALL_CAPABILITIES)["syscalls"][0]["names"]
    assert len(set(names)) == len(names)


def test_clone_of_namespaces_needs_sys_admin() -> None:
    rules = {rule["names"][0]: rule for rule in profile(CAPABILITIES)["syscalls"][1:]}
    assert rules["clone"]["args"] == [{"index": 0, "value": NEW_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]
    assert rules["clone3"] == {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS}
    admin = profile([*CAPABILITIES, "CAP_SYS_ADMIN"])
    assert {"clone", "clone3", "mount"} <= plainly_allowed(admin)
    assert not any(rule["action"] == "SCMP_ACT_ERRNO" for rule in admin["syscalls"])
    s390 = {rule["names"][0]: rule for rule in profile(CAPABILITIES, "s390x")["syscalls"][1:]}
    assert s390["clone"]["args"][0]["index"] == 1


def test_personality_and_socket_are_filtered_by_arguments() -> None:
    rules = profile(CAPABILITIES)["syscalls"]
    values = [rule["args"][0]["value"] for rule in rules if rule["names"] == ["personality"]]
    assert values == [0, 8, 0x20000, 0x20008, 0xFFFFFFFF]
    conditions = [condition for rule in rules if "socket" in rule["names"] for condition in rule["args"]]
    below = max(one["value"] for one in conditions if one["op"] == "SCMP_CMP_LT")
    allowed = {*range(below), *(one["value"] for one in conditions if one["op"] == "SCMP_CMP_EQ")}
    assert not {12, 19, 20, 23, 25, 34, 37, socket.AF_ALG, socket.AF_VSOCK, 46, 63} & allowed
    assert {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET, socket.AF_CAN,
            socket.AF_TIPC, 31, 43, 44, 45} <= allowed   # Bluetooth, SMC, XDP, MCTP


# Loads the program from standard input as its filter, then makes calls and prints the result of each.
_TRIES = """
    import ctypes, errno, os, socket, sys
    libc = ctypes.CDLL(None, use_errno=True)
    program = sys.stdin.buffer.read()
    class Filter(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("program", ctypes.c_char_p)]
    assert libc.prctl(38, 1, 0, 0, 0) == 0                                                   # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(22, 2, ctypes.byref(Filter(len(program) // 8, program)), 0, 0) == 0    # PR_SET_SECCOMP
    def told(result):
        return "ok" if result >= 0 else errno.errorcode[ctypes.get_errno()]
    for family in map(int, sys.argv[1:]):
        print(told(libc.socket(family, socket.SOCK_RAW if family == 16 else socket.SOCK_STREAM, 0)))
    word, there = ctypes.create_string_buffer(b"word", 4), ctypes.create_string_buffer(4)
    vector = (ctypes.c_size_t * 2)(ctypes.addressof(word), 4), (ctypes.c_size_t * 2)(ctypes.addressof(there), 4)
    print(told(libc.process_vm_readv(os.getpid(), vector[1], 1, vector[0], 1, 0)), there.raw.decode())
    timex = ctypes.create_string_buffer(512)
    print(told(libc.clock_adjtime(0, timex)), told(libc.clock_settime(0, timex)), told(libc.unshare(0x10000000)))
    """


def test_the_kernel_enforces_the_profile() -> None:
    program = compile_filter(Node(profile(CAPABILITIES))).program
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(_TRIES), "1", "2", "16", "38", "40", "25", "46"],
                          input=program, capture_output=True, check=True, timeout=60)
    assert done.stdout.decode().splitlines() == [
        "ok", "ok", "ok", "EPERM", "EPERM", "EPERM", "EPERM", "ok word", "ok EPERM EPERM"], done


@pytest.mark.parametrize("machine", [*MACHINES, "unknown"])
def test_the_profile_supports_every_architecture(machine: str) -> None:
    from pyruntime.runtime.config.check import conforms

    found = profile(CAPABILITIES, machine)
    assert conforms({"ociVersion": "1.0.2", "linux": {"seccomp": found}}), found.keys()
    if machine == "s390x":
        return   # libseccomp cannot combine architectures of different byte order
    compiled = compile_filter(Node(found))
    assert compiled.program and len(compiled.program) // 8 < 4096


def test_libseccomp_knows_all_but_the_newest_calls() -> None:
    """A misspelt name would be ignored silently."""
    unknown = set(compile_filter(Node(profile(ALL_CAPABILITIES))).unknown)
    newer_than_libseccomp_2_5_4 = {
        "cachestat", "fchmodat2", "file_getattr", "file_setattr", "futex_requeue", "futex_wait", "futex_wake",
        "getxattrat", "listmount", "listxattrat", "lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr",
        "map_shadow_stack", "mseal", "open_tree_attr", "removexattrat", "setxattrat", "statmount",
        "set_mempolicy_home_node", "uretprobe"}
    assert unknown <= newer_than_libseccomp_2_5_4, unknown - newer_than_libseccomp_2_5_4


def test_the_profile_is_built_quickly() -> None:
    """The profile is part of every start; no list is built by regular expressions or from files."""
    import timeit

    assert min(timeit.repeat(lambda: profile(CAPABILITIES), number=1, repeat=20)) < 0.003


def test_a_profile_in_dockers_format() -> None:
    document = {
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
                    {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}],
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [], "comment": "", "includes": {}, "excludes": {}},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"]},
             "args": [{"index": 0, "value": 1, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
            {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {"names": ["future"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "999.0"}},
            {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64", "x32"]}},
            {"name": "write", "action": "SCMP_ACT_ERRNO", "errnoRet": 5}]}
    plain = of_document(document, CAPABILITIES)
    names = [name for rule in plain["syscalls"] for name in rule["names"]]
    machine = os.uname().machine
    assert names == ["read", "clone", "ptrace", *(["arch_prctl"] if machine == "x86_64" else []), "write"]
    assert plain.get("architectures") == {"x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
                                          "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]}.get(machine)
    admin = of_document(document, ["CAP_SYS_ADMIN"])
    assert "mount" in plainly_allowed(admin) and not any(rule["names"] == ["clone"] for rule in admin["syscalls"])
    assert compile_filter(Node(plain)).program
