"""Enter an existing container, for `exec`: its namespaces, its root filesystem, its cgroup.

Spec:   none; modelled on runc's `exec`
Emits:  write_proc, cpu_affinity, set_dumpable, join_container, become_root, enter_root, close_proc, clone_init,
        leave_parent, setsid, open_file, open_cgroup, join_cgroup_self, cgroup_follow, own_proc, reopen_null,
        report_process
        (phases ENTER, USER, UNSHARE, ISOLATE, JOIN, VIEW, DEVICES, PROCESS, CREATED)
Absent: namespaces that init shares with the runtime are not joined.

A container with CAP_SYS_PTRACE can access every descriptor and the root directory of each process in its pid namespace
(/proc/PID/fd, /proc/PID/root), so no such process may have anything open that leads to the host's files. All of it is
closed before the clone by which the process enters the pid namespace. Only the container's root, single files of its
cgroups, sockets, and the descriptors passed by the caller remain open.
"""

from __future__ import annotations

from errno import EACCES, EBADF, ENOENT, EPERM, EROFS

from pyruntime.runtime.compiler.sections import process
from pyruntime.runtime.compiler.sections.kernel import numbers
from pyruntime.runtime.plan.steps import NO_SLOT, step
from pyruntime.system import uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pyruntime.runtime.compiler.setup import Joined, Setup
    from pyruntime.runtime.config.node import Node
    from pyruntime.runtime.plan.steps import Step

_UNPERMITTED = (EACCES, EPERM, EROFS, ENOENT)


def emit(setup: Setup) -> Iterator[Step]:
    """The steps from the host into the container; afterwards the process is like a child of init."""
    joined = setup.joined_container
    assert joined is not None
    affinity = setup.config["process.execCPUAffinity"]
    yield from (_affinity(affinity["initial"], "enter") if affinity["initial"].or_("") else process.every_cpu())
    yield from _cgroup(setup, joined)
    birthplace = yield from _birthplace(setup, joined)
    where = "linux.namespaces"
    yield step("enter", "set_dumpable", where, value=0)   # CVE-2016-9962
    if joined.flags:
        yield step("user", "join_container", where, label=f"of process {joined.pid}", slot=setup.slots.index("init"),
                   flags=joined.flags)
    if joined.flags & uapi.CLONE_NEWUSER:
        yield step("user", "become_root", where)
    yield step("unshare", "enter_root", "root.path", slot=NO_SLOT if joined.own_root else setup.slots.index("root"))
    yield step("unshare", "close_proc", where)
    # setns(2) into a pid namespace takes effect for children.
    yield step("unshare", "clone_init", "process", flags=0, cgroup=birthplace)
    if joined.adopted:
        yield step("isolate", "leave_parent", "process")
        # A checkpoint has no files of the host.
        yield step("devices", "reopen_null", "process")
    yield step("isolate", "setsid", "process")
    yield from process.own_proc(setup)
    yield from _affinity(affinity["final"], "process")
    yield step("created", "report_process", "process", pid_file=joined.pid_file, pidfd_socket=joined.pidfd_socket)


def _affinity(node: Node, phase: str) -> Iterator[Step]:
    listed = numbers(node.or_(""))
    if listed:
        mask = 0
        for number in listed:
            mask |= 1 << number
        size = (mask.bit_length() + 63) // 64 * 8
        yield step(phase, "cpu_affinity", node.where, label=node.value, mask=mask.to_bytes(size, "little"))


def _birthplace(setup: Setup, joined: Joined) -> Generator[Step, None, int]:
    """The slot of the cgroup v2 directory that the process can be cloned into. Writing a pid to cgroup.procs takes 5 to
    20 ms, because every fork on the host has to wait (docs/decisions/0004-late-cgroup-join.md); cloning into the cgroup
    costs nothing. But the kernel requires that the caller sees both cgroups, which it does not after it has joined
    another user or cgroup namespace."""
    path = joined.cgroup.get("", "")
    if not path or setup.host.rootless or joined.flags & (uapi.CLONE_NEWUSER | uapi.CLONE_NEWCGROUP):
        return NO_SLOT
    slot = setup.slot()
    yield step("enter", "open_cgroup", joined.cgroup_where or "linux.cgroupsPath", label="cgroup v2", path=path,
               slot=slot)
    return slot


def _cgroup(setup: Setup, joined: Joined) -> Iterator[Step]:
    # v1 is entered by the task itself, v2 through the parent, as in cgroups/resources.py.
    where = joined.cgroup_where or "linux.cgroupsPath"
    slots: list[int] = []
    # When rootless, `create` left out the same hierarchies that are not writable.
    lenient = setup.host.rootless
    for key, path in joined.cgroup.items():
        if key:
            slots.append(setup.slot())
            yield step("enter", "open_file", where, label=f"cgroup {key}", path=f"{path}/tasks", slot=slots[-1],
                       tolerate=_UNPERMITTED if lenient else ())
        elif not joined.adopted:   # the process that the runtime knows has exited; its child is where it was born
            yield step("join", "cgroup_follow", where, path=path, init=0 if joined.cgroup_where else joined.pid,
                       unit=joined.unit, user=int(joined.user),
                       tolerate=_UNPERMITTED if lenient else ())
    if lenient:
        for slot in slots:
            yield step("join", "join_cgroup_self", where, slots=bytes([slot]), tolerate=(EACCES, EPERM, EBADF))
    elif slots:
        yield step("join", "join_cgroup_self", where, label=", ".join(key for key in joined.cgroup if key),
                   slots=bytes(slots))
