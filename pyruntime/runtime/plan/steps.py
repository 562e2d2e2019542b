"""The instruction set, defined once: every step that a plan can hold, its fields, who performs it, and how it reads.

The C enumeration, the field tables and the handler prototypes in ``native/steps.h`` are generated from ``OPS``
(``python -m pyruntime.runtime.plan.generate``); a test fails when they are stale.
"""

from __future__ import annotations

from pyruntime.runtime.plan.phases import ORDER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Field kinds: their bytes are described in encode.py, their C types in generate.py.
INT = "int"      # 64 bits, signed where the kernel's is
STR = "str"      # text without NUL; undecodable bytes as os.fsdecode makes them
STRS = "strs"    # a list of STR
BYTES = "bytes"  # a blob: masks, programs


class Op:
    """One instruction. ``actor`` is ``host`` (performed by Python in the parent) or ``stub`` (performed by the C stub,
    before or after ``clone_init``); ``calls`` names the system calls behind it, for `explain`."""

    __slots__ = ("actor", "calls", "doc", "fields", "name")

    def __init__(self, actor: str, calls: str, doc: str, **fields: str) -> None:
        self.name = ""
        self.actor = actor
        self.calls = calls
        self.doc = doc
        self.fields = fields


OPS: dict[str, Op] = {
    # --- the parent's: Python in the host's namespaces ------------------------------------------------------------
    "cgroup_create": Op("host", "mkdir", "make the container's cgroup, with the ancestors it lacks", path=STR),
    "cgroup_write": Op("host", "write", "set one resource of the cgroup", path=STR, file=STR, data=STR),
    "cgroup_devices": Op("host", "bpf", "attach the device filter to a cgroup v2 directory", path=STR, rules=STRS),
    "cgroup_join": Op("host", "write", "move init into the cgroup", paths=STRS),
    "cgroup_scope": Op("host", "StartTransientUnit", "have systemd make the container's scope, around a process that"
                       " waits there", unit=STR, user=INT, properties=STRS, paths=STRS),
    "cgroup_attach": Op("host", "AttachProcessesToUnit", "have systemd move the stub into the scope", unit=STR,
                        user=INT),
    "cgroup_release": Op("host", "close, waitpid", "let the process go that waits in the scope: init is there now"),
    "cgroup_own": Op("host", "chown", "give the cgroup v2 directory and its delegation files to a user", path=STR,
                     uid=INT),
    "map_ids": Op("host", "write, newuidmap", "write the user namespace's id mappings",
                  uids=STRS, gids=STRS, setgroups=STR),
    "idmap_sources": Op("host", "open_tree, mount_setattr", "clone a bind source and map its ids, as given or"
                        " as the user namespace at a path does, into slot", source=STR, recursive=INT,
                        recursive_map=INT, uids=STRS, gids=STRS, namespace=STR, slot=INT),
    "rdt_group": Op("host", "mkdir, write", "put init into a resctrl group", root=STR, closid=STR,
                    schemata=STRS, monitor=STR, container=STR),
    "rdt_follow": Op("host", "write", "put the process into the container's resctrl groups", groups=STRS),
    "net_device": Op("host", "netlink", "move a network device into the network namespace, keep its addresses",
                     name=STR, rename=STR),
    "host_hook": Op("host", "posix_spawn, waitid", "run a hook in the runtime's namespaces",
                    path=STR, args=STRS, env=STRS, timeout=INT, inherit_env=INT, status=STR),
    "cgroup_follow": Op("host", "write", "move the process into the container's cgroup v2, or to where its init is by"
                        " now, unless it is there already", path=STR, init=INT, unit=STR, user=INT),
    "report_process": Op("host", "rename, sendmsg", "name the process to the caller: pid file and pidfd socket",
                         pid_file=STR, pidfd_socket=STR),
    # --- the stub's: records in the host's order -------------------------------------------------------------------
    "sync": Op("stub", "write, recvmsg", "tell the parent that it is its turn, wait until it is done"),
    "write_proc": Op("stub", "openat2, write", "write a file beneath a procfs that was checked to be one",
                     path=STR, data=STR),
    "open_proc": Op("stub", "openat2", "open a file beneath a procfs that was checked to be one, into slot",
                    path=STR, slot=INT),
    "write_slot": Op("stub", "write", "write to a file that was opened earlier", slot=INT, what=STR, data=STR),
    "open_namespace": Op("stub", "open, ioctl NS_GET_NSTYPE", "open a namespace by path and check its type, and that"
                         " it is not the runtime's own where something in it is going to be changed",
                         path=STR, kind=INT, slot=INT, foreign=STR),
    "setns": Op("stub", "setns", "join an opened namespace; if refused, again after the user namespace was joined",
                slot=INT, kind=INT),
    "hold_pids": Op("stub", "none", "remember an opened pid namespace that others share: procfs is mounted from inside"
                    " it, and init enters it last", slot=INT),
    "join_container": Op("stub", "setns", "join namespaces of the container's init, all at once, by its pidfd",
                         slot=INT, flags=INT),
    "enter_root": Op("stub", "fchdir, chroot, open", "take the root of the mount namespace, or the opened root of a"
                     " container that has none, and hold it open", slot=INT),
    "close_proc": Op("stub", "close", "let go of procfs, the host's or the container's"),
    "own_proc": Op("stub", "fsopen, fsconfig, fsmount, openat2", "hold a procfs of the container's own: a new one that"
                   " shows processes alone, or, where a user namespace may not make one, the root of its /proc"),
    "cpu_affinity": Op("stub", "sched_setaffinity", "choose the CPUs to run on; without a mask, all that the cgroup"
                       " allows", mask=BYTES),
    "open_file": Op("stub", "open", "open a file of the host for writing, into slot", path=STR, slot=INT),
    "open_cgroup": Op("stub", "open_tree, mount_setattr", "open a cgroup v2 directory, into slot, as a read-only mount"
                      " from which no path leads to the host's tree", path=STR, slot=INT),
    "unshare": Op("stub", "unshare", "leave the given namespaces for new ones", flags=INT),
    "become_root": Op("stub", "setresgid, setresuid", "take id 0 of the user namespace"),
    "set_dumpable": Op("stub", "prctl PR_SET_DUMPABLE", "hide /proc/PID of the stub from the container", value=INT),
    "clone_init": Op("stub", "clone, clone3", "make init, a child of the runtime's parent process; in the cgroup v2"
                     " directory of a slot, if one is given and the kernel agrees", flags=INT, cgroup=INT),
    "setsid": Op("stub", "setsid", "start a session without a terminal"),
    "loopback_up": Op("stub", "ioctl SIOCSIFFLAGS", "bring up lo in the new network namespace"),
    "cgroup_namespace": Op("stub", "clone, unshare, setns", "make a cgroup namespace whose root is the container's"
                           " cgroup, through a helper that enters the cgroup and leaves", slots=BYTES),
    "join_cgroup_self": Op("stub", "write", "enter cgroup v1 hierarchies by the task itself", slots=BYTES),
    "set_hostname": Op("stub", "sethostname", "set the host name", name=STR),
    "set_domainname": Op("stub", "setdomainname", "set the NIS domain name", name=STR),
    "propagation": Op("stub", "mount_setattr", "set the propagation of /, recursively if asked",
                      propagation=INT, recursive=INT),
    "open_rootfs": Op("stub", "open_tree, mount_setattr, move_mount", "bind the root filesystem onto itself and hold"
                      " it open",
                      path=STR, propagation=INT, below=INT),
    "copy_rootfs": Op("stub", "open_tree, mount_setattr, move_mount", "bind the root filesystem, without what is"
                      " mounted beneath it, on another directory of the host", path=STR, dest=STR, propagation=INT,
                      readonly=INT),
    "open_plain_rootfs": Op("stub", "open", "hold the root filesystem open (no mount namespace of its own)", path=STR),
    "open_source": Op("stub", "open_tree", "clone a bind source of the host into slot", source=STR, recursive=INT,
                      propagation=INT, slot=INT),
    "mount": Op("stub", "fsopen, fsconfig, fsmount, move_mount", "mount a new filesystem beneath the root",
                fstype=STR, source=STR, options=STRS, dest=STR, attr_set=INT, attr_clear=INT, rec_set=INT,
                rec_clear=INT, propagation=INT, rec_propagation=INT, how=INT, hold=INT),
    "bind": Op("stub", "open_tree, mount_setattr, move_mount", "bind a host path (or an opened slot) beneath the root;"
               " another one where it does not exist", source=STR, otherwise=STR, slot=INT, recursive=INT, dest=STR,
               attr_set=INT, attr_clear=INT, rec_set=INT, rec_clear=INT,
               propagation=INT, rec_propagation=INT, unnamed=INT, hold=INT),
    "readonly_mount": Op("stub", "mount_setattr", "make a mount read-only that was kept in a slot until everything"
                         " beneath it was in place", dest=STR, slot=INT),
    "remount": Op("stub", "mount_setattr, fspick, fsconfig", "change a mount that is already there",
                  dest=STR, options=STRS, attr_set=INT, attr_clear=INT, rec_set=INT, rec_clear=INT, propagation=INT,
                  rec_propagation=INT),
    "mknod": Op("stub", "mknodat, fchmodat, fchownat", "make a device node", path=STR, mode=INT, major=INT, minor=INT,
                uid=INT, gid=INT, keep=INT),
    "device_source": Op("stub", "mknod, chown, open_tree, mount_setattr", "make a device node with the host's"
                        " rights, for a container that has none, into slot", path=STR, mode=INT, major=INT, minor=INT,
                        uid=INT, gid=INT, slot=INT),
    "bind_device": Op("stub", "open_tree, mount_setattr, move_mount", "bind a device node of the host, or one in a"
                      " slot", source=STR, slot=INT, path=STR),
    "symlink": Op("stub", "symlinkat", "make a symbolic link unless the name is taken", target=STR, path=STR),
    "make_dir": Op("stub", "openat2, mkdirat", "make a directory beneath the root unless it is there", path=STR),
    "mask_path": Op("stub", "open_tree, move_mount", "hide a path: /dev/null over a file, an empty tmpfs over a"
                    " directory; looked up beneath the mount in a slot, if it is on one", path=STR, slot=INT,
                    below=STR),
    "readonly_path": Op("stub", "open_tree, mount_setattr, move_mount", "make a path read-only; looked up likewise",
                        path=STR, slot=INT, below=STR),
    "release_mount": Op("stub", "close", "let go of a mount that was kept in a slot", slot=INT),
    "run_hook": Op("stub", "clone, execve, waitpid", "run a hook in the container's namespaces",
                   path=STR, args=STRS, env=STRS, timeout=INT, home=INT, state_head=STR, state_tail=STR),
    "pivot_root": Op("stub", "pivot_root, umount2", "make the root filesystem /, and let the host's tree go"),
    "move_root": Op("stub", "move_mount, chroot", "--no-pivot: move the root filesystem over /, after letting"
                    " go of the host's full procfs and sysfs mounts", hide=STRS),
    "chroot": Op("stub", "chroot", "no mount namespace of its own: change the root directory only"),
    "root_readonly": Op("stub", "mount_setattr", "make / read-only"),
    "reopen_null": Op("stub", "fstat, openat2, dup2", "make standard streams that are the host's /dev/null the"
                      " container's, open for reading and writing"),
    "take_terminal": Op("stub", "ioctl TIOCSCTTY", "make the terminal that is open as descriptor 0 the session's"),
    "open_console": Op("stub", "openat2, ioctl TIOCGPTPEER, sendmsg", "open a terminal in the container, bind it on"
                       " /dev/console, send its master side away", slot=INT, rows=INT, cols=INT, uid=INT, mount=INT),
    "rlimit": Op("stub", "prlimit64", "set a resource limit", resource=INT, soft=INT, hard=INT, name=STR),
    "scheduler": Op("stub", "sched_setattr", "set the scheduling policy", policy=INT, flags=INT, nice=INT,
                    priority=INT, runtime=INT, deadline=INT, period=INT),
    "io_priority": Op("stub", "ioprio_set", "set the I/O priority", value=INT),
    "memory_policy": Op("stub", "set_mempolicy", "set the NUMA memory policy", mode=INT, nodes=BYTES, bits=INT),
    "personality": Op("stub", "personality", "set the execution domain", value=INT),
    "join_keyring": Op("stub", "keyctl", "join a session keyring of its own", name=STR),
    "umask": Op("stub", "umask", "set the file mode creation mask", mask=INT),
    "own_streams": Op("stub", "fchown", "give the program's user the pipes that are its standard streams: a program"
                      " that opens /dev/stdout may", uid=INT),
    "drop_bounding": Op("stub", "prctl PR_CAPBSET_DROP", "drop from the bounding set all but the mask", keep=INT),
    "set_groups": Op("stub", "setgroups", "set the supplementary groups", gids=BYTES),
    "set_user": Op("stub", "setresgid, setresuid", "become the user, keeping capabilities until capset",
                   uid=INT, gid=INT),
    "capset": Op("stub", "capset", "set the effective, permitted and inheritable sets",
                 effective=INT, permitted=INT, inheritable=INT),
    "ambient": Op("stub", "prctl PR_CAP_AMBIENT", "set the ambient set", mask=INT),
    "chdir": Op("stub", "chdir, getcwd", "change to the working directory, which must lie inside the root, unless an"
                " earlier step did", path=STR),
    "find_home": Op("stub", "openat2, read", "look up HOME in the container's /etc/passwd", uid=INT),
    "find_executable": Op("stub", "faccessat2", "choose the first candidate that can be executed",
                          name=STR, candidates=STRS),
    "await_start": Op("stub", "write, accept4, recv", "report `created`, wait for `start`", slot=INT),
    "no_new_privs": Op("stub", "prctl PR_SET_NO_NEW_PRIVS", "never gain privileges by execve"),
    "seccomp": Op("stub", "seccomp", "load the filter, hand its listener away", flags=INT, program=BYTES,
                  listener=INT, message=STRS),
    "prepare_exec": Op("stub", "close_range, write", "lay out arguments and environment, mark all other descriptors"
                       " close-on-exec, report that only the filter and execve are left", args=STRS, env=STRS,
                       preserve=INT),
    "execve": Op("stub", "execve", "become the container's program"),
}
for _name, _op in OPS.items():
    _op.name = _name

NO_SLOT = 0xFFFF   # a slot field that names none


class Step:
    """One instruction with its arguments, and where it comes from.

    ``where``     the place in config.json that asks for it, for example ``mounts[3].options``
    ``label``     for people: what it is about, for example ``tmpfs on /dev/shm``; may be empty
    ``tolerate``  errno numbers that skip the step instead of failing the plan; `explain` shows them
    """

    __slots__ = ("args", "label", "op", "phase", "tolerate", "where")

    def __init__(self, phase: str, op: str, where: str, args: dict[str, Any], label: str,
                 tolerate: tuple[int, ...]) -> None:
        self.phase = phase
        self.op = OPS[op]
        self.where = where
        self.args = args
        self.label = label
        self.tolerate = tolerate

    @property
    def subject(self) -> str:
        """What the step is about, in brackets, or nothing."""
        return f" ({self.label})" if self.label else ""

    def __repr__(self) -> str:
        args = ", ".join(f"{name}={value!r}" for name, value in self.args.items())
        return f"step({self.phase!r}, {self.op.name!r}, {self.where!r}, {args})"


def step(phase: str, op: str, where: str, *, label: str = "", tolerate: tuple[int, ...] = (), **args: Any) -> Step:
    """Make a step; a phase, operation or field that does not exist is a programming error (AssertionError)."""
    assert phase in ORDER, phase
    assert args.keys() == OPS[op].fields.keys(), (op, sorted(args), sorted(OPS[op].fields))
    assert len(tolerate) <= 4, tolerate
    return Step(phase, op, where, args, label, tolerate)
