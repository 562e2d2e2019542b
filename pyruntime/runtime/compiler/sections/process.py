"""process: limits, priorities, labels, the working directory, the program.

Spec:   config.md#process, #posix-process, #linux-process
Emits:  write_proc, cpu_affinity, open_proc, write_slot, rlimit, scheduler, io_priority, join_keyring, umask, make_dir,
        chdir, find_home, find_executable, await_start, no_new_privs, prepare_exec, execve
        (phases ENTER, DEVICES, PROCESS, CREATED, SEAL, EXEC)
"""

from __future__ import annotations

import errno

from pyruntime.errors import HostError
from pyruntime.runtime.compiler.sections import user
from pyruntime.runtime.compiler.sections.namespaces import shares_pids
from pyruntime.runtime.plan.steps import step
from pyruntime.system.environment import last_of_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyruntime.runtime.compiler.setup import Setup
    from pyruntime.runtime.config.node import Node
    from pyruntime.runtime.plan.steps import Step

# asm-generic/resource.h
RLIMITS = {name: number for number, name in enumerate((
    "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_CORE", "RLIMIT_RSS", "RLIMIT_NPROC",
    "RLIMIT_NOFILE", "RLIMIT_MEMLOCK", "RLIMIT_AS", "RLIMIT_LOCKS", "RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_RTTIME"))}
# linux/sched.h
POLICIES = {"SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4, "SCHED_IDLE": 5,
            "SCHED_DEADLINE": 6}
SCHEDULER_FLAGS = {"SCHED_FLAG_RESET_ON_FORK": 0x1, "SCHED_FLAG_RECLAIM": 0x2, "SCHED_FLAG_DL_OVERRUN": 0x4,
                   "SCHED_FLAG_KEEP_POLICY": 0x8, "SCHED_FLAG_KEEP_PARAMS": 0x10, "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
                   "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40}
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}   # linux/ioprio.h

KEEP_UMASK = -1   # the umask step: keep the umask of the runtime's caller
_FORBIDDEN = (errno.EACCES, errno.EPERM)
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def emit(setup: Setup) -> Iterator[Step]:
    """All properties of `process` except the user, the capabilities and the seccomp filter, which have their own
    modules."""
    process = setup.config["process"]
    if setup.joined_container is None:
        yield from every_cpu()
        if shares_pids(setup):
            yield from own_proc(setup)
    if process["oomScoreAdj"]:
        # Inherited by init. Later, in a user namespace, the file belongs to the host's root.
        yield step("enter", "write_proc", process["oomScoreAdj"].where, path="self/oom_score_adj",
                   data=str(process.get("oomScoreAdj")))
    yield from new_keyring(setup)
    yield from _limits(setup)
    if process:
        yield from _program(setup)
    else:
        yield from _wait(setup)


def new_keyring(setup: Setup) -> Iterator[Step]:
    """A session keyring for the container, unless it keeps that of the runtime's caller."""
    if setup.options.new_keyring:
        # A kernel without keyrings, or a seccomp filter of the caller that forbids them, does not prevent the
        # container.
        yield step("process", "join_keyring", "process", name=f"_ses.{setup.container_id}",
                   tolerate=(errno.ENOSYS, errno.EPERM, errno.EDQUOT))


def every_cpu() -> Iterator[Step]:
    """Reset the CPU mask: since Linux 6.2, a mask set by sched_setaffinity(2) survives the move to another cpuset,
    and the caller's mask is inherited."""
    yield step("enter", "cpu_affinity", "linux.resources.cpu.cpus", label="every CPU", mask=b"")


def _wait(setup: Setup) -> Iterator[Step]:
    # Later steps may belong to `start`; a process that joins a container has no `start`.
    if setup.joined_container is None and setup.options.waits:
        yield step("created", "await_start", "process", slot=setup.slots.index("start"))


def _limits(setup: Setup) -> Iterator[Step]:
    process = setup.config["process"]
    for node in process["rlimits"].each():
        name = node.value["type"]
        # RLIMIT_NOFILE comes last: the stub still opens descriptors while it waits for `start`.
        yield step("seal" if name == "RLIMIT_NOFILE" else "process", "rlimit", node.where,
                   label=f"{name} {node.value['soft']}:{node.value['hard']}", resource=RLIMITS[name],
                   soft=node.value["soft"], hard=node.value["hard"], name=name)
    scheduler = process["scheduler"]
    if scheduler:
        flags = 0
        for flag in scheduler.get("flags", []):
            flags |= SCHEDULER_FLAGS[flag]
        yield step("process", "scheduler", scheduler.where, label=scheduler.get("policy"),
                   policy=POLICIES[scheduler.get("policy")], flags=flags, nice=scheduler.get("nice", 0),
                   priority=scheduler.get("priority", 0), runtime=scheduler.get("runtime", 0),
                   deadline=scheduler.get("deadline", 0), period=scheduler.get("period", 0))
    priority = process["ioPriority"]
    if priority:
        yield step("process", "io_priority", priority.where,
                   value=IO_CLASSES[priority.get("class")] << 13 | priority.get("priority", 0))


def search_path(env: Sequence[str]) -> str:
    """Where a program is looked for that is named without a slash, with this environment."""
    return next((entry[5:] for entry in env if entry.startswith("PATH=")), DEFAULT_PATH)


def _program(setup: Setup) -> Iterator[Step]:
    process = setup.config["process"]
    args, env = process.get("args", []), last_of_each(process.get("env", []))
    cwd = process.get("cwd", "/")
    if cwd != "/" and setup.joined_container is None:
        # Created if missing, as by runc: orchestrators set working directories that the image lacks.
        yield step("devices", "make_dir", process["cwd"].where, path=cwd,
                   tolerate=(errno.EROFS, errno.ENOTDIR, errno.EACCES, errno.EEXIST))
    yield step("process", "umask", process["user.umask"].where, mask=process.get("user.umask", KEEP_UMASK))
    yield step("view", "find_home", process["env"].where, uid=process.get("user.uid", 0))
    # First as root, who can enter directories that the program's user cannot; then as that user, who has access through
    # a supplementary group, an ACL, a mapped owner or a FUSE server that denies root.
    yield step("process", "chdir", process["cwd"].where, path=cwd, tolerate=_FORBIDDEN)
    yield from _user(setup)
    yield step("process", "chdir", process["cwd"].where, path=cwd)
    yield step("process", "find_executable", process["args"].where + "[0]", label=args[0], name=args[0],
               path=search_path(env))
    yield from _wait(setup)
    yield from _labels(setup)
    if process.get("noNewPrivileges", False):
        yield step("seal", "no_new_privs", process["noNewPrivileges"].where)
    yield step("seal", "prepare_exec", process["args"].where, label=args[0], args=args, env=env,
               preserve=setup.options.preserve_fds)
    yield step("exec", "execve", process["args"].where, label=args[0])


def _user(setup: Setup) -> Iterator[Step]:
    return user.emit(setup)


def _labels(setup: Setup) -> Iterator[Step]:
    process = setup.config["process"]
    profile = process["apparmorProfile"]
    if profile.or_(""):
        if not setup.host.apparmor:
            raise HostError(f'"{profile.value}": apparmor is not enabled in this kernel'
                            " (/sys/module/apparmor/parameters/enabled): remove the profile, or boot with apparmor=1"
                            " security=apparmor", profile.where)
        yield from _label(setup, profile, "self/attr/apparmor/exec", f"exec {profile.value}")
    label = process["selinuxLabel"]
    if label.or_(""):
        if not setup.host.selinux:
            raise HostError(f'"{label.value}": selinux label is specified in config, but selinux is disabled or not'
                            " supported: remove the label, or boot with selinux=1 security=selinux", label.where)
        yield from _label(setup, label, "self/attr/exec", label.value)


def own_proc(setup: Setup) -> Iterator[Step]:
    """The step that opens a procfs of the container for writing the labels: that of the host is closed by then."""
    for name in ("process.apparmorProfile", "process.selinuxLabel"):
        if setup.config[name].or_(""):
            yield step("session", "own_proc", setup.config[name].where)
            yield step("created", "close_proc", setup.config[name].where)
            return


def _label(setup: Setup, node: Node, path: str, data: str) -> Iterator[Step]:
    # Opened as the user that writes (the kernel compares them), and before procfs is closed, which is before `start`.
    slot = setup.slot()
    yield step("process", "open_proc", node.where, label=node.value, path=path, slot=slot)
    yield step("seal", "write_slot", node.where, label=node.value, slot=slot, what=f"/proc/{path}", data=data)
