"""The default seccomp profile: the system calls that a container may make.

A list of allowed calls, by subject; all others fail with EPERM. As strict as Docker's profile by its documentation
(docs.docker.com/engine/security/seccomp), which lists the blocked calls and the reasons; docs/pocker-run.md has the
differences. Some calls are allowed with a capability that the kernel requires for them: they add nothing that was not
granted.

Excluded on purpose: key rings (keyctl, add_key, request_key: not divided into namespaces), userfaultfd and io_uring_*
(ways in which kernels have been attacked), bpf and perf_event_open, kernel modules, clocks, swap, kexec, quotas, calls
that the kernel has removed (sysfs, ustat, uselib, nfsservctl, create_module, ...), clone with new namespaces.
"""

from __future__ import annotations

import os
from errno import ENOSYS, EPERM

from pyruntime.system.uapi import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

# Calls that are allowed without a capability, by subject. Tuples of strings cost nothing to load.
FILES = (
    "access", "chdir", "chmod", "chown", "chown32", "close", "close_range", "copy_file_range", "creat", "dup", "dup2",
    "dup3", "faccessat", "faccessat2", "fadvise64", "fadvise64_64", "fallocate", "fchdir", "fchmod", "fchmodat",
    "fchmodat2", "fchown", "fchown32", "fchownat", "fcntl", "fcntl64", "fdatasync", "file_getattr", "file_setattr",
    "flock", "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64", "fsync", "ftruncate", "ftruncate64", "futimesat",
    "getcwd", "getdents", "getdents64", "ioctl", "lchown", "lchown32", "link", "linkat", "listmount", "_llseek",
    "lseek", "lstat", "lstat64", "mkdir", "mkdirat", "mknod", "mknodat", "name_to_handle_at", "newfstatat", "open",
    "openat", "openat2", "readahead", "readlink", "readlinkat", "rename", "renameat", "renameat2", "rmdir", "stat",
    "stat64", "statfs", "statfs64", "statmount", "statx", "symlink", "symlinkat", "sync", "sync_file_range", "syncfs",
    "truncate", "truncate64", "umask", "unlink", "unlinkat", "utime", "utimensat", "utimensat_time64", "utimes",
    "fgetxattr", "flistxattr", "fremovexattr", "fsetxattr", "getxattr", "getxattrat", "lgetxattr", "listxattr",
    "listxattrat", "llistxattr", "lremovexattr", "lsetxattr", "removexattr", "removexattrat", "setxattr", "setxattrat",
    "fanotify_mark", "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch",
    "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self")
READING = (
    "pread64", "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readv", "sendfile", "sendfile64",
    "splice", "tee", "vmsplice", "write", "writev", "io_cancel", "io_destroy", "io_getevents", "io_pgetevents",
    "io_pgetevents_time64", "io_setup", "io_submit", "pipe", "pipe2", "cachestat")
WAITING = (
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2", "epoll_wait",
    "epoll_wait_old", "eventfd", "eventfd2", "poll", "ppoll", "ppoll_time64", "pselect6", "pselect6_time64", "select",
    "_newselect", "signalfd", "signalfd4", "timerfd_create", "timerfd_gettime", "timerfd_gettime64", "timerfd_settime",
    "timerfd_settime64", "futex", "futex_time64", "futex_requeue", "futex_wait", "futex_waitv", "futex_wake",
    "get_robust_list", "set_robust_list", "membarrier", "rseq")
MEMORY = (
    "brk", "madvise", "map_shadow_stack", "memfd_create", "memfd_secret", "mincore", "mlock", "mlock2", "mlockall",
    "mmap", "mmap2", "mprotect", "mremap", "mseal", "msync", "munlock", "munlockall", "munmap", "pkey_alloc",
    "pkey_free", "pkey_mprotect", "remap_file_pages", "getcpu")
PROCESSES = (
    "capget", "capset", "execve", "execveat", "exit", "exit_group", "fork", "vfork", "getegid", "getegid32", "geteuid",
    "geteuid32", "getgid", "getgid32", "getgroups", "getgroups32", "getpgid", "getpgrp", "getpid", "getppid",
    "getpriority", "getresgid", "getresgid32", "getresuid", "getresuid32", "getrlimit", "ugetrlimit", "getrusage",
    "getsid", "gettid", "getuid", "getuid32", "get_thread_area", "set_thread_area", "set_tid_address", "ioprio_get",
    "ioprio_set", "kill", "pidfd_open", "pidfd_send_signal", "prctl", "prlimit64", "process_mrelease", "rt_sigaction",
    "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
    "rt_sigtimedwait_time64", "rt_tgsigqueueinfo", "sched_get_priority_max", "sched_get_priority_min",
    "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler", "sched_rr_get_interval",
    "sched_rr_get_interval_time64", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler",
    "sched_yield", "seccomp", "setfsgid", "setfsgid32", "setfsuid", "setfsuid32", "setgid", "setgid32", "setgroups",
    "setgroups32", "setpgid", "setpriority", "setregid", "setregid32", "setresgid", "setresgid32", "setresuid",
    "setresuid32", "setreuid", "setreuid32", "setrlimit", "setsid", "setuid", "setuid32", "sigaltstack", "sigprocmask",
    "sigreturn", "tgkill", "tkill", "times", "wait4", "waitid", "waitpid", "pause", "restart_syscall",
    # The kernel lets a process read only processes that it may trace (ptrace(2), see below). Parallel programs (MPI)
    # exchange data with these.
    "process_vm_readv", "process_vm_writev")
TIMES = (
    # Setting the clock with these needs CAP_SYS_TIME; without it they report the clock's accuracy (ntp_gettime(3)).
    "adjtimex", "clock_adjtime", "clock_adjtime64",
    "alarm", "clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64", "clock_nanosleep",
    "clock_nanosleep_time64", "getitimer", "gettimeofday", "nanosleep", "setitimer", "time", "timer_create",
    "timer_delete", "timer_getoverrun", "timer_gettime", "timer_gettime64", "timer_settime", "timer_settime64")
TALKING = (
    "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recv", "recvfrom",
    "recvmmsg", "recvmmsg_time64", "recvmsg", "send", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown",
    "socketcall", "socketpair", "ipc", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive",
    "mq_timedreceive_time64", "mq_timedsend", "mq_timedsend_time64", "mq_unlink", "msgctl", "msgget", "msgrcv",
    "msgsnd", "semctl", "semget", "semop", "semtimedop", "semtimedop_time64", "shmat", "shmctl", "shmdt", "shmget")
MACHINE = ("getrandom", "sysinfo", "uname")
EVERYBODY = FILES + READING + WAITING + MEMORY + PROCESSES + TIMES + TALKING + MACHINE

WITH_CAPABILITY: dict[str, tuple[str, ...]] = {
    "CAP_BPF": ("bpf",),
    "CAP_DAC_READ_SEARCH": ("open_by_handle_at",),
    "CAP_PERFMON": ("perf_event_open",),
    "CAP_SYSLOG": ("syslog",),
    "CAP_SYS_ADMIN": (
        "bpf", "clone", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie",
        "lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr", "mount", "mount_setattr", "move_mount",
        "open_tree", "open_tree_attr", "perf_event_open", "quotactl", "quotactl_fd", "setdomainname", "sethostname",
        "setns", "syslog", "umount", "umount2", "unshare"),
    "CAP_SYS_BOOT": ("reboot",),
    "CAP_SYS_CHROOT": ("chroot",),
    "CAP_SYS_MODULE": ("delete_module", "finit_module", "init_module"),
    "CAP_SYS_NICE": ("get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"),
    "CAP_SYS_PACCT": ("acct",),
    "CAP_SYS_PTRACE": ("kcmp", "pidfd_getfd", "process_madvise"),
    "CAP_SYS_RAWIO": ("ioperm", "iopl"),
    "CAP_SYS_TIME": ("clock_settime", "clock_settime64", "settimeofday", "stime"),
    "CAP_SYS_TTY_CONFIG": ("vhangup",),
}

# uname(2)'s machine -> architectures of its programs, and calls that only this machine has.
_ARM = ("arm_fadvise64_64", "arm_sync_file_range", "breakpoint", "cacheflush", "set_tls", "sync_file_range2")
_S390 = ("s390_pci_mmio_read", "s390_pci_mmio_write", "s390_runtime_instr")
MACHINES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # uretprobe: called not by the program, but by code that the kernel inserts while the program is traced from the
    # host (Linux 6.11); if refused, the program would crash.
    "x86_64": (("X86_64", "X86", "X32"), ("arch_prctl", "modify_ldt", "uretprobe")),
    "i686": (("X86",), ("modify_ldt",)),
    "aarch64": (("AARCH64", "ARM"), _ARM),
    "armv7l": (("ARM",), _ARM),
    "ppc64le": (("PPC64LE",), ("swapcontext", "sync_file_range2")),
    "riscv64": (("RISCV64",), ("riscv_flush_icache", "riscv_hwprobe")),
    "s390x": (("S390X", "S390"), _S390),
    "loongarch64": (("LOONGARCH64",), ()),
}

# personality(2): query, Linux, 32-bit uname, a uname that old programs expect, and both. Others disable defences
# against exploits (ADDR_NO_RANDOMIZE, READ_IMPLIES_EXEC).
PERSONALITIES = (0x0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)
NEW_NAMESPACES = (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID
                  | CLONE_NEWNET)
# Blocked socket families (sys/socket.h): opening a socket makes the kernel load the family's module, for any user.
# DECnet, Econet, ATM's switched circuits, IrDA, Wanpipe, ISDN, CAIF, which are obsolete; ALG, the kernel's ciphers
# (CVE-2026-31431 wrote to files that could only be read); VSOCK, which reaches the hypervisor and ignores network
# namespaces; and all families that are newer than this list. A 32-bit program can use them through socketcall(2), which
# a filter cannot inspect; without that call, Debian's i386 programs have no network.
KEPT_AWAY = (12, 19, 20, 23, 25, 34, 37, 38, 40)
NEWEST_FAMILY = 45            # AF_MCTP


def profile(capabilities: Collection[str], machine: str = "") -> dict[str, Any]:
    """linux.seccomp for a container that has these capabilities; ``machine`` as uname(2) has it, "" for the host's."""
    machine = machine or os.uname().machine
    families, own = MACHINES.get(machine, ((), ()))
    names = [*EVERYBODY, *own]
    for capability in sorted(capabilities):
        names += WITH_CAPABILITY.get(capability, ())
    calls = [_allow(dict.fromkeys(names)),
             *(_allow(("personality",), {"index": 0, "value": value, "op": "SCMP_CMP_EQ"}) for value in PERSONALITIES),
             _SOCKETS, *_TRACES]
    if "CAP_SYS_ADMIN" not in capabilities:
        # The flags are the first argument, except where the kernel's ABI swaps them with the stack (clone(2)).
        place = 1 if machine.startswith("s390") else 0
        calls.append(_allow(("clone",), {"index": place, "value": NEW_NAMESPACES, "valueTwo": 0,
                                         "op": "SCMP_CMP_MASKED_EQ"}))
        # A filter cannot inspect clone3's structure. ENOSYS makes programs fall back to clone; EPERM would make them
        # fail.
        calls.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS})
    result: dict[str, Any] = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": EPERM, "syscalls": calls}
    if families:
        result["architectures"] = [f"SCMP_ARCH_{name}" for name in families]
    return result


def _allow(names: Collection[str], *conditions: dict[str, Any]) -> dict[str, Any]:
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", **({"args": list(conditions)} if conditions else {})}


# Several conditions on one argument are alternatives. There is no condition for a range.
_SOCKETS = _allow(("socket",), {"index": 0, "value": KEPT_AWAY[0], "op": "SCMP_CMP_LT"},
                  *({"index": 0, "value": number, "op": "SCMP_CMP_EQ"}
                    for number in range(KEPT_AWAY[0], NEWEST_FAMILY + 1) if number not in KEPT_AWAY))


# The kernel lets a process trace only processes that it may change anyway (ptrace(2); since Linux 4.8 filters see it,
# too). But two that trace each other with PTRACE_O_TRACEEXIT wait for each other when they are killed, and can never be
# ended: no options with it, in PTRACE_OLDSETOPTIONS, PTRACE_SETOPTIONS and PTRACE_SEIZE. The requests in between are in
# blocks whose sizes are powers of two.
_TRACE_EXIT, _WITH_OPTIONS = 0x40, (21, 0x4200, 0x4206)
_BLOCKS = ((22, 2), (24, 8), (32, 32), (64, 64), (128, 128))   # the first, and how many
_TRACES = (
    _allow(("ptrace",), {"index": 0, "value": 21, "op": "SCMP_CMP_LT"},
           *({"index": 0, "value": (1 << 64) - size, "valueTwo": first, "op": "SCMP_CMP_MASKED_EQ"}
             for first, size in _BLOCKS),
           *({"index": 0, "value": number, "op": "SCMP_CMP_EQ"} for number in range(0x4201, 0x4206)),
           {"index": 0, "value": 0x4206, "op": "SCMP_CMP_GT"}),
    *(_allow(("ptrace",), {"index": 0, "value": request, "op": "SCMP_CMP_EQ"},
             {"index": 3, "value": _TRACE_EXIT, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"})
      for request in _WITH_OPTIONS))


def of_document(document: dict[str, Any], capabilities: Collection[str]) -> dict[str, Any]:
    """linux.seccomp for a profile in the form of Docker's --security-opt seccomp=FILE: the runtime's form, with
    ``archMap`` in place of ``architectures``, and rules that apply only with or without a capability, architecture or
    kernel (``includes``, ``excludes``)."""
    machine = os.uname().machine
    taken = ("defaultAction", "defaultErrnoRet", "flags", "listenerPath", "listenerMetadata", "architectures")
    result: dict[str, Any] = {name: document[name] for name in taken if name in document}
    for entry in document.get("archMap", []):
        families = [name.removeprefix("SCMP_ARCH_") for name in (entry["architecture"], *entry["subArchitectures"])]
        if MACHINES.get(machine, ((),))[0][:1] == tuple(families[:1]):
            result["architectures"] = [f"SCMP_ARCH_{name}" for name in families]
    result["syscalls"] = []
    for rule in document.get("syscalls") or []:
        if _holds(rule.get("includes") or {}, capabilities, machine, every=True) and not (
                rule.get("excludes") and _holds(rule["excludes"], capabilities, machine, every=False)):
            kept = {name: rule[name] for name in ("action", "errnoRet") if rule.get(name) is not None}
            kept["names"] = rule.get("names") or [rule["name"]]
            if rule.get("args"):
                kept["args"] = [{key: value for key, value in condition.items() if key != "valueTwo" or value
                                 or condition["op"] == "SCMP_CMP_MASKED_EQ"} for condition in rule["args"]]
            result["syscalls"].append(kept)
    return result


# Go's names of architectures, which Docker's profiles use.
_GO = {"x86_64": ("amd64", "x32", "x86"), "aarch64": ("arm64", "arm"), "i686": ("x86", "386"), "armv7l": ("arm",)}


def _holds(condition: dict[str, Any], capabilities: Collection[str], machine: str, *, every: bool) -> bool:
    """Whether all conditions of ``includes``, or any condition of ``excludes``, apply."""
    answers = []
    if condition.get("caps"):
        answers.append((all if every else any)(name in capabilities for name in condition["caps"]))
    if condition.get("arches"):
        answers.append(bool({machine, *_GO.get(machine, ())} & set(condition["arches"])))
    if condition.get("minKernel"):
        wanted = [int(part) for part in condition["minKernel"].split(".")[:2]]
        here = [int("".join(sign for sign in part if sign.isdigit()) or 0)
                for part in os.uname().release.split("-")[0].split(".")[:2]]
        answers.append(here >= wanted)
    return all(answers) if every else any(answers)
