"""config-linux.md#seccomp and #containerprocessstate.

Busybox makes the system calls: the ``kill`` of its shell sends harmless signals (their number is an argument that rules
can match), ``mkdir`` and ``chmod`` represent other calls. 7 is E2BIG, an errno that does not occur otherwise.
"""

from __future__ import annotations

import json
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conformance.lib.bundle import Config
from conformance.lib.container import Container
from conformance.lib.requirement import requirement
from conformance.lib.trial import Trial

SECCOMP = "config-linux.md#seccomp"
STATE = "config-linux.md#the-container-process-state"
E2BIG = 7
ALLOW, ERRNO, NOTIFY = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_NOTIFY"
# Signals that the kernel ignores without a handler: sending them to itself has no effect besides the call.
_CHLD, _CONT, _URG, _WINCH = 17, 18, 23, 28


def filtered(t: Trial, script: str, *rules: Config, **more: Any) -> Config:
    config = t.config(script)
    config["linux"]["seccomp"] = {"defaultAction": ALLOW, "syscalls": list(rules)} | more
    return config


def _rule(action: str, *names: str, **more: Any) -> Config:
    return {"names": list(names), "action": action} | more


@requirement(SECCOMP, "SCMP_ACT_ERRNO: the call fails, with EPERM by default")
def errno_default(t: Trial) -> None:
    seen = t.output(filtered(t, "mkdir /tmp/x 2>&1; echo end", _rule(ERRNO, "mkdir", "mkdirat")))
    t.check("Operation not permitted" in seen, f"output of mkdir: {seen!r}")


@requirement(SECCOMP, "errnoRet is the errno of the call")
def errno_ret(t: Trial) -> None:
    seen = t.output(filtered(t, "mkdir /tmp/x 2>&1; echo end", _rule(ERRNO, "mkdir", "mkdirat", errnoRet=E2BIG)))
    t.check("Argument list too long" in seen, f"output of mkdir: {seen!r}")


@requirement(SECCOMP, "errnoRet 0: the call does nothing and succeeds")
def errno_ret_zero(t: Trial) -> None:
    rule = _rule(ERRNO, "mkdir", "mkdirat", errnoRet=0)
    t.equal(t.output(filtered(t, "mkdir /tmp/x && test ! -e /tmp/x && echo pretended", rule)), "pretended", "output")


@requirement(SECCOMP, "a rule with several calls matches all of them")
def several_names(t: Trial) -> None:
    rule = _rule(ERRNO, "mkdir", "mkdirat", "chmod", "fchmodat", "fchmodat2")
    seen = t.output(filtered(t, "mkdir /tmp/x 2>/dev/null || echo 1; chmod 700 /tmp 2>/dev/null || echo 2", rule))
    t.equal(seen.split(), ["1", "2"], "calls that fail")


@requirement(SECCOMP, "defaultAction applies to calls without a rule")
def default_action(t: Trial) -> None:
    config = filtered(t, "mkdir /tmp/x 2>/dev/null || echo refused", _rule(ALLOW, *_all_but({"mkdir", "mkdirat"})))
    config["linux"]["seccomp"]["defaultAction"] = ERRNO
    t.equal(t.output(config), "refused", "output")


@requirement(SECCOMP, "defaultErrnoRet is the errno of the default action")
def default_errno_ret(t: Trial) -> None:
    config = filtered(t, "mkdir /tmp/x 2>&1; echo end")
    config["linux"]["seccomp"] = {
        "defaultAction": ERRNO,
        "defaultErrnoRet": E2BIG,
        "syscalls": [_rule(ALLOW, *_all_but({"mkdir", "mkdirat"}))],
    }
    config["ociVersion"] = "1.1.0"
    t.check("Argument list too long" in t.output(config), "mkdir does not fail with the configured errno")


_NEEDED = """
    read write open openat openat2 close close_range stat fstat newfstatat lstat statx mmap mprotect munmap mremap
    brk madvise rt_sigaction rt_sigprocmask rt_sigreturn rt_sigsuspend sigaltstack ioctl access faccessat faccessat2
    execve execveat exit exit_group arch_prctl set_tid_address set_robust_list get_robust_list prlimit64 getrlimit
    setrlimit getrandom readlink readlinkat getuid getgid geteuid getegid getresuid getresgid getgroups getpid
    getppid gettid uname fcntl getcwd rseq futex sysinfo dup dup2 dup3 clone clone3 fork vfork wait4 waitid getpgrp
    getpgid setpgid getsid setsid time gettimeofday clock_gettime clock_getres clock_nanosleep nanosleep pipe pipe2
    poll ppoll select pselect6 epoll_create1 epoll_ctl epoll_pwait epoll_wait lseek prctl capget capset chdir fchdir
    getdents getdents64 setgroups setgid setuid setresuid setresgid setreuid setregid setfsuid setfsgid fchown chown
    fstatfs statfs sched_yield sched_getaffinity sched_setaffinity tgkill tkill kill umask pread64 pwrite64 readv
    writev sendmsg recvmsg sendto recvfrom socket connect getsockname getsockopt setsockopt memfd_create eventfd2
    signalfd4 timerfd_create timerfd_settime restart_syscall mlock munlock membarrier getpriority setpriority times
    getrusage utimensat mkdir mkdirat chmod fchmod fchmodat unlink unlinkat rename renameat renameat2 symlink
    symlinkat link linkat mknod mknodat seccomp pidfd_open pidfd_send_signal
"""


def _all_but(excluded: set[str]) -> list[str]:
    """The calls that a static busybox, and a runtime between filter and execve, may need; additional names do no
    harm."""
    return [name for name in _NEEDED.split() if name not in excluded]


def _kills(name: str, action: str) -> None:
    @requirement(SECCOMP, f"{action}: the process that makes the call is killed", name=f"action_{name}")
    def case(t: Trial) -> None:
        script = "mkdir /tmp/x; echo status $?"
        config = filtered(t, script, _rule(action, "mkdir", "mkdirat"))
        container = t.run(config)
        t.check(not (container.rootfs / "tmp/x").exists(), "the call was executed")
        t.equal(container.stdout.split(), ["status", "159"], "status of the killed process (128 + SIGSYS)")


_kills("kill", "SCMP_ACT_KILL")
_kills("kill_process", "SCMP_ACT_KILL_PROCESS")
_kills("kill_thread", "SCMP_ACT_KILL_THREAD")
_kills("trap", "SCMP_ACT_TRAP")


@requirement(SECCOMP, "SCMP_ACT_LOG: the call is executed")
def action_log(t: Trial) -> None:
    t.equal(
        t.output(filtered(t, "mkdir /tmp/x && echo made", _rule("SCMP_ACT_LOG", "mkdir", "mkdirat"))), "made", "output"
    )


@requirement(SECCOMP, "SCMP_ACT_TRACE without a tracer: the call fails with ENOSYS")
def action_trace(t: Trial) -> None:
    seen = t.output(filtered(t, "mkdir /tmp/x 2>&1; echo end", _rule("SCMP_ACT_TRACE", "mkdir", "mkdirat")))
    t.check("Function not implemented" in seen, f"output of mkdir: {seen!r}")


@requirement(SECCOMP, "SCMP_ACT_ALLOW in a rule: exempt from a default that denies")
def action_allow(t: Trial) -> None:
    config = filtered(t, "mkdir /tmp/x && echo made")
    config["linux"]["seccomp"] = {"defaultAction": ERRNO, "syscalls": [_rule(ALLOW, *_all_but(set()))]}
    t.equal(t.output(config), "made", "output")


# operator: (value, valueTwo, the signals among 17, 18, 23, 28 that must be refused)
_OPERATORS: dict[str, tuple[int, int, list[int]]] = {
    "SCMP_CMP_NE": (_CONT, 0, [_CHLD, _URG, _WINCH]),
    "SCMP_CMP_LT": (_CONT, 0, [_CHLD]),
    "SCMP_CMP_LE": (_CONT, 0, [_CHLD, _CONT]),
    "SCMP_CMP_EQ": (_CONT, 0, [_CONT]),
    "SCMP_CMP_GE": (_URG, 0, [_URG, _WINCH]),
    "SCMP_CMP_GT": (_URG, 0, [_WINCH]),
    "SCMP_CMP_MASKED_EQ": (0b1, 1, [_CHLD, _URG]),
}


def _operator(operator: str, value: int, two: int, refused: list[int]) -> None:
    @requirement(SECCOMP, f"args: {operator} compares an argument", name=f"operator_{operator.lower()}")
    def case(t: Trial) -> None:
        argument = {"index": 1, "value": value, "op": operator} | ({"valueTwo": two} if two else {})
        signals = " ".join(map(str, (_CHLD, _CONT, _URG, _WINCH)))
        script = f"for s in {signals}; do kill -$s $$ 2>/dev/null || echo $s; done; echo end"
        config = filtered(t, script, _rule(ERRNO, "kill", args=[argument]))
        t.equal(t.output(config).split()[:-1], [str(s) for s in refused], "signals that kill(2) refuses to send")


for _name, (_value, _two, _refused) in _OPERATORS.items():
    _operator(_name, _value, _two, _refused)


@requirement(SECCOMP, "args: several conditions on different arguments must all hold")
def several_arguments(t: Trial) -> None:
    arguments = [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": _CONT, "op": "SCMP_CMP_EQ"}]
    script = (
        f"sleep 5 & kill -{_CONT} $! || echo other pid; kill -{_URG} 1 || echo other signal; "
        f"kill -{_CONT} 1 2>/dev/null || echo both"
    )
    t.equal(t.output(filtered(t, script, _rule(ERRNO, "kill", args=arguments))), "both", "calls refused")


def _flag(flag: str) -> None:
    @requirement(SECCOMP, f"flag {flag} is accepted", name=f"flag_{flag.rpartition('FLAG_')[2].lower()}")
    def case(t: Trial) -> None:
        if flag.endswith("WAIT_KILLABLE_RECV"):
            t.need_kernel(5, 19, flag)
        config = filtered(t, "mkdir /tmp/x 2>/dev/null || echo refused", _rule(ERRNO, "mkdir", "mkdirat"), flags=[flag])
        config["ociVersion"] = "1.1.0"
        t.equal(t.output(config), "refused", "output")


for _name in ("SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"):
    _flag(_name)


ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
}


@requirement(SECCOMP, "architectures: the filter works with the native and its companion architectures")
def architectures(t: Trial) -> None:
    names = ARCHITECTURES.get(os.uname().machine, [])
    t.skip_unless(names, "the architectures of this machine are not known")
    config = filtered(
        t, "mkdir /tmp/x 2>/dev/null || echo refused", _rule(ERRNO, "mkdir", "mkdirat"), architectures=names
    )
    t.equal(t.output(config), "refused", "output")


@requirement(SECCOMP, "a filter applies to processes that the program starts")
def inherited(t: Trial) -> None:
    config = filtered(t, "sh -c 'sh -c \"mkdir /tmp/x 2>/dev/null || echo refused\"'", _rule(ERRNO, "mkdir", "mkdirat"))
    t.equal(t.output(config), "refused", "output")


@requirement(SECCOMP, "a filter is loaded with noNewPrivileges too")
def with_no_new_privileges(t: Trial) -> None:
    config = filtered(t, "mkdir /tmp/x 2>/dev/null || echo refused", _rule(ERRNO, "mkdir", "mkdirat"))
    config["process"]["noNewPrivileges"] = True
    config["process"]["user"] = {"uid": 1000, "gid": 1000}
    t.equal(t.output(config), "refused", "output")


@requirement(SECCOMP, "the process is under a filter: mode 2 in its status")
def mode(t: Trial) -> None:
    config = t.sleeper()
    config["linux"]["seccomp"] = {"defaultAction": ALLOW, "syscalls": [_rule(ERRNO, "mkdir")]}
    t.equal(t.start(config).status_field("Seccomp"), "2", "Seccomp")


@requirement(SECCOMP, "a filter must not affect the runtime's own set-up: getcwd refused", level="MUST NOT")
def getcwd_refused(t: Trial) -> None:
    config = filtered(t, "echo ran", _rule(ERRNO, "getcwd"))
    container = t.run(config)
    t.check("ran" in container.stdout, "the program did not run")


@requirement(SECCOMP, "the name of a call that the architecture lacks is not an error", level="SHOULD NOT")
def unknown_name(t: Trial) -> None:
    config = filtered(t, "echo ran", _rule(ERRNO, "getegid32", "no_such_call_anywhere", "mkdir"))
    t.equal(t.output(config), "ran", "output")


def _bad(name: str, why: str, seccomp: Config) -> None:
    @requirement(SECCOMP, f"{why} generates an error", name=f"bad_{name}")
    def case(t: Trial) -> None:
        config = t.sleeper()
        config["linux"]["seccomp"] = seccomp
        t.refused_by_start(config, why)


@requirement(SECCOMP, "a rule without names is refused, or ignored with a warning", name="bad_no_names")
def bad_no_names(t: Trial) -> None:
    config = t.sleeper()
    config["linux"]["seccomp"] = {"defaultAction": ALLOW, "syscalls": [{"names": [], "action": ERRNO}]}
    t.refused_or_named(config, "a rule without names", "syscalls[0].names")


_SOME = [_rule(ERRNO, "mkdir")]
_bad("default_action", "an unknown defaultAction", {"defaultAction": "SCMP_ACT_SOMETHING", "syscalls": _SOME})
_bad("no_default_action", "no defaultAction", {"syscalls": _SOME})
_bad("action", "an unknown action", {"defaultAction": ALLOW, "syscalls": [_rule("SCMP_ACT_SOMETHING", "mkdir")]})
_bad("no_action", "a rule without an action", {"defaultAction": ALLOW, "syscalls": [{"names": ["mkdir"]}]})
_bad(
    "architecture",
    "an unknown architecture",
    {"defaultAction": ALLOW, "architectures": ["SCMP_ARCH_Z80"], "syscalls": _SOME},
)
_bad("flag", "an unknown flag", {"defaultAction": ALLOW, "flags": ["SECCOMP_FILTER_FLAG_NONE"], "syscalls": _SOME})
_bad(
    "operator",
    "an unknown operator",
    {
        "defaultAction": ALLOW,
        "syscalls": [_rule(ERRNO, "mkdir", args=[{"index": 0, "value": 0, "op": "SCMP_CMP_ALIKE"}])],
    },
)
_bad(
    "index",
    "an argument index above 5",
    {"defaultAction": ALLOW, "syscalls": [_rule(ERRNO, "mkdir", args=[{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}])]},
)
_bad(
    "errno_of_kill",
    "errnoRet with an action without an errno",
    {"defaultAction": ALLOW, "syscalls": [_rule("SCMP_ACT_KILL", "mkdir", errnoRet=1)]},
)
_bad(
    "default_errno_of_allow",
    "defaultErrnoRet with an action without an errno",
    {"defaultAction": ALLOW, "defaultErrnoRet": 1, "syscalls": _SOME},
)
_bad(
    "metadata_alone",
    "listenerMetadata without listenerPath",
    {"defaultAction": ALLOW, "listenerMetadata": "x", "syscalls": _SOME},
)


# -- notify ------------------------------------------------------------------------------------------------------------


class Agent:
    """A seccomp agent that only listens: it stores the message and the descriptors of each connection."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(str(path))
        self.socket.listen(8)

    def receive(self, seconds: float) -> tuple[dict[str, Any], list[int]]:
        """Read a connection until the sender closes it: the message and the descriptors."""
        self.socket.settimeout(seconds)
        connection, _ = self.socket.accept()
        text = b""
        fds: list[int] = []
        with connection:
            connection.settimeout(seconds)
            while True:
                data, received, _, _ = socket.recv_fds(connection, 65536, 8)
                fds += received
                text += data
                if not data:
                    break
        parsed = json.loads(text)
        return parsed, fds

    def more(self, seconds: float) -> bool:
        """Whether there is another connection."""
        return bool(select.select([self.socket], [], [], seconds)[0])


def _notifying(t: Trial, script: str, path: Path | str, **more: Any) -> Config:
    config = filtered(t, script, _rule(NOTIFY, "mkdir", "mkdirat"), listenerPath=str(path), **more)
    config["ociVersion"] = "1.1.0"
    config["annotations"] = {"com.example.key": "value"}
    return config


Judge = Callable[[Trial, Container, dict[str, Any], list[int], Agent], None]


def _notify(name: str, rule: str, section: str = STATE) -> Callable[[Judge], Judge]:
    """Register a case for one connection: the message and its descriptors."""

    def register(judge: Judge) -> Judge:
        @requirement(section, rule, name=f"notify_{name}")
        def case(t: Trial) -> None:
            agent = Agent(t.path / "agent")
            container = t.container(_notifying(t, "sleep 1000", agent.path, listenerMetadata="opaque data"))
            # A runtime may load the filter in create or in start; the listener's backlog holds the connection.
            t.succeed(container.create(), "create")
            t.succeed(container.start(), "start")
            message, fds = agent.receive(10 * t.scale)
            try:
                judge(t, container, message, fds, agent)
            finally:
                for fd in fds:
                    os.close(fd)

        return judge

    return register


@_notify("descriptor", "one descriptor is sent, named seccompFd in fds, and it is a seccomp listener")
def _descriptor(t: Trial, container: Container, message: dict[str, Any], fds: list[int], agent: Agent) -> None:
    t.equal(message.get("fds"), ["seccompFd"], "fds")
    t.equal(len(fds), 1, "descriptors received")
    t.equal(os.readlink(f"/proc/self/fd/{fds[0]}"), "anon_inode:seccomp notify", "the descriptor")


@_notify("pid", "pid is the container process's, as seen by the runtime")
def _pid(t: Trial, container: Container, message: dict[str, Any], fds: list[int], agent: Agent) -> None:
    t.equal(message.get("pid"), container.pid, "pid")


@_notify("metadata", "metadata is the configured listenerMetadata")
def _metadata(t: Trial, container: Container, message: dict[str, Any], fds: list[int], agent: Agent) -> None:
    t.equal(message.get("metadata"), "opaque data", "metadata")


@_notify("version", "ociVersion is present")
def _version(t: Trial, container: Container, message: dict[str, Any], fds: list[int], agent: Agent) -> None:
    t.check(isinstance(message.get("ociVersion"), str), f"ociVersion is {message.get('ociVersion')!r}")


@_notify("state", "state is the container's state")
def _state(t: Trial, container: Container, message: dict[str, Any], fds: list[int], agent: Agent) -> None:
    state = message.get("state") or {}
    t.equal(state.get("id"), container.id, "id")
    t.equal(state.get("bundle"), str(container.bundle), "bundle")
    t.check(isinstance(state.get("status"), str), f"status is {state.get('status')!r}")
    t.equal((state.get("annotations") or {}).get("com.example.key"), "value", "annotation")


@_notify("once", "exactly one state is sent: there is no second connection", SECCOMP)
def _once(t: Trial, container: Container, message: dict[str, Any], fds: list[int], agent: Agent) -> None:
    t.check(not agent.more(0.3 * t.scale), "a second connection is made")


@requirement(SECCOMP, "if the state cannot be sent, an error is generated")
def notify_no_listener(t: Trial) -> None:
    t.refused_by_start(_notifying(t, "sleep 1000", t.path / "no-listener"), "a listenerPath without a listener")


@requirement(SECCOMP, "listenerPath is ignored if no rule notifies")
def listener_path_ignored(t: Trial) -> None:
    config = filtered(t, "echo ran", _rule(ERRNO, "mkdir"), listenerPath=str(t.path / "no-listener"))
    config["ociVersion"] = "1.1.0"
    t.equal(t.output(config), "ran", "output")
