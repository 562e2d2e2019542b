"""The instruction set, defined once: every step that a plan can contain, its fields, its actor, and its description.

The C enumeration, the field tables and the handler prototypes in ``native/steps.h`` are generated from ``OPS``
(``python -m pyruntime.runtime.plan.generate``); a test fails if they are out of date.
"""

from __future__ import annotations

from pyruntime.runtime.plan.phases import ORDER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Field kinds: their bytes are described in encode.py, their C types in generate.py.
INT = "int"      # 64 bits, signed if the kernel's type is
STR = "str"      # text without NUL; undecodable bytes as by os.fsdecode
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
    # --- performed by the parent: Python in the host's namespaces --------------------------------------------------
    "cgroup_create": Op("host", "mkdir", "create the container's cgroup and its missing ancestors", path=STR),
    "cgroup_write": Op("host", "write", "set one resource of the cgroup", path=STR, file=STR, data=STR),
    "cgroup_devices": Op("host", "bpf", "attach the device filter to a cgroup v2 directory", path=STR, rules=STRS),
    "cgroup_join": Op("host", "write", "move init into the cgroup", paths=STRS),
    "cgroup_scope": Op("host", "StartTransientUnit", "let systemd create the container's scope for a process that"
                       " waits in it", unit=STR, user=INT, properties=STRS, paths=STRS),
    "cgroup_attach": Op("host", "AttachProcessesToUnit", "let systemd move the stub into the scope", unit=STR,
                        user=INT),
    "cgroup_release": Op("host", "close, waitpid", "end the process that waits in the scope: init is in the scope now"),
    "cgroup_own": Op("host", "chown", "give the cgroup v2 directory and its delegation files to a user", path=STR,
                     uid=INT),
    "map_ids": Op("host", "write, newuidmap", "write the user namespace's id mappings",
                  uids=STRS, gids=STRS, setgroups=STR),
    "idmap_sources": Op("host", "open_tree, mount_setattr", "clone a bind source into slot and map its ids, as given"
                        " or as in the user namespace at a path", source=STR, recursive=INT,
                        recursive_map=INT, uids=STRS, gids=STRS, namespace=STR, slot=INT),
    "rdt_group": Op("host", "mkdir, write", "put init into a resctrl group", root=STR, closid=STR,
                    schemata=STRS, monitor=STR, container=STR),
    "rdt_follow": Op("host", "write", "put the process into the container's resctrl groups", groups=STRS),
    "net_device": Op("host", "netlink", "move a network device into the network namespace, keep its addresses",
                     name=STR, rename=STR),
    "host_hook": Op("host", "posix_spawn, waitid", "run a hook in the runtime's namespaces",
                    path=STR, args=STRS, env=STRS, timeout=INT, inherit_env=INT, status=STR),
    "cgroup_follow": Op("host", "write", "move the process into the container's cgroup v2, or to the current cgroup of"
                        " its init, unless it is there already", path=STR, init=INT, unit=STR, user=INT),
    "report_process": Op("host", "rename, sendmsg", "report the process to the caller: pid file and pidfd socket",
                         pid_file=STR, pidfd_socket=STR),
    # --- performed by the stub: records in the host's order --------------------------------------------------------
    "sync": Op("stub", "write, recvmsg", "wait while the parent performs the next host steps"),
    "write_proc": Op("stub", "openat2, write", "write a file beneath a verified procfs",
                     path=STR, data=STR),
    "open_proc": Op("stub", "openat2", "open a file beneath a verified procfs, into slot",
                    path=STR, slot=INT),
    "write_slot": Op("stub", "write", "write to a file that an earlier step opened", slot=INT, what=STR, data=STR),
    "open_namespace": Op("stub", "open, ioctl NS_GET_NSTYPE", "open a namespace by path and check its type, and that"
                         " it is not the runtime's own if the configuration changes it",
                         path=STR, kind=INT, slot=INT, foreign=STR),
    "setns": Op("stub", "setns", "join an opened namespace; if refused, try again after joining the user namespace",
                slot=INT, kind=INT),
    "hold_pids": Op("stub", "none", "record an opened pid namespace that is shared with others: procfs is mounted"
                    " from inside it, and init enters it last", slot=INT),
    "join_container": Op("stub", "setns", "join the namespaces of the container's init in one call, by its pidfd",
                         slot=INT, flags=INT),
    "enter_root": Op("stub", "fchdir, chroot, open", "enter the root of the mount namespace, or the opened root of a"
                     " container without one, and keep it open", slot=INT),
    "close_proc": Op("stub", "close", "close the procfs of the host or of the container"),
    "own_proc": Op("stub", "fsopen, fsconfig, fsmount, openat2", "open a procfs of the container: a new one that"
                   " shows only processes, or the root of /proc if the user namespace cannot mount one"),
    "cpu_affinity": Op("stub", "sched_setaffinity", "set the CPUs to run on; without a mask, all that the cgroup"
                       " allows", mask=BYTES),
    "open_file": Op("stub", "open", "open a file of the host for writing, into slot", path=STR, slot=INT),
    "open_cgroup": Op("stub", "open_tree, mount_setattr", "open a cgroup v2 directory, into slot, as a read-only mount"
                      " from which no path leads to the host's tree", path=STR, slot=INT),
    "unshare": Op("stub", "unshare", "move to new namespaces of the given kinds", flags=INT),
    "become_root": Op("stub", "setresgid, setresuid", "become ID 0 of the user namespace"),
    "set_dumpable": Op("stub", "prctl PR_SET_DUMPABLE", "hide /proc/PID of the stub from the container", value=INT),
    "clone_init": Op("stub", "clone, clone3", "create init as a child of the runtime's process, directly in the"
                     " cgroup v2 directory of a slot if given and supported", flags=INT, cgroup=INT),
    "leave_parent": Op("stub", "fork, exit", "go on as a child of the process, which exits: the kernel gives the child"
                       " to the container's init"),
    "setsid": Op("stub", "setsid", "start a session without a terminal"),
    "loopback_up": Op("stub", "ioctl SIOCSIFFLAGS", "bring up lo in the new network namespace"),
    "cgroup_namespace": Op("stub", "clone, unshare, setns", "create a cgroup namespace whose root is the container's"
                           " cgroup, through a helper that enters the cgroup and exits", slots=BYTES),
    "join_cgroup_self": Op("stub", "write", "enter the container's cgroup v1 hierarchies", slots=BYTES),
    "set_hostname": Op("stub", "sethostname", "set the host name", name=STR),
    "set_domainname": Op("stub", "setdomainname", "set the NIS domain name", name=STR),
    "propagation": Op("stub", "mount_setattr", "set the propagation of /, optionally recursive",
                      propagation=INT, recursive=INT),
    "open_rootfs": Op("stub", "open_tree, mount_setattr, move_mount", "bind-mount the root filesystem (or an opened"
                      " slot) onto itself and keep it open",
                      path=STR, slot=INT, propagation=INT, below=INT),
    "copy_rootfs": Op("stub", "open_tree, mount_setattr, move_mount", "bind-mount the root filesystem, without the"
                      " mounts beneath it, on another directory of the host", path=STR, dest=STR, propagation=INT,
                      readonly=INT),
    "open_plain_rootfs": Op("stub", "open", "keep the root filesystem open (without a mount namespace)", path=STR),
    "open_source": Op("stub", "open_tree", "clone a bind source of the host into slot", source=STR, recursive=INT,
                      propagation=INT, slot=INT),
    "mount": Op("stub", "fsopen, fsconfig, fsmount, move_mount", "mount a new filesystem beneath the root",
                fstype=STR, source=STR, options=STRS, dest=STR, attr_set=INT, attr_clear=INT, rec_set=INT,
                rec_clear=INT, propagation=INT, rec_propagation=INT, how=INT, hold=INT),
    "bind": Op("stub", "open_tree, mount_setattr, move_mount", "bind-mount a host path (or an opened slot) beneath the"
               " root; if missing, the alternative path", source=STR, otherwise=STR, slot=INT, recursive=INT, dest=STR,
               attr_set=INT, attr_clear=INT, rec_set=INT, rec_clear=INT,
               propagation=INT, rec_propagation=INT, unnamed=INT, hold=INT),
    "readonly_mount": Op("stub", "mount_setattr", "make a mount read-only that was kept in a slot until everything"
                         " beneath it was mounted", dest=STR, slot=INT),
    "remount": Op("stub", "mount_setattr, fspick, fsconfig", "change an existing mount",
                  dest=STR, options=STRS, attr_set=INT, attr_clear=INT, rec_set=INT, rec_clear=INT, propagation=INT,
                  rec_propagation=INT),
    "mknod": Op("stub", "mknodat, fchmodat, fchownat", "create a device node", path=STR, mode=INT, major=INT, minor=INT,
                uid=INT, gid=INT, keep=INT),
    "device_source": Op("stub", "mknod, chown, open_tree, mount_setattr", "create a device node with the host's"
                        " privileges, into slot", path=STR, mode=INT, major=INT, minor=INT,
                        uid=INT, gid=INT, slot=INT),
    "bind_device": Op("stub", "open_tree, mount_setattr, move_mount", "bind-mount a device node of the host, or of a"
                      " slot", source=STR, slot=INT, path=STR),
    "symlink": Op("stub", "symlinkat", "create a symbolic link unless the name exists", target=STR, path=STR),
    "make_dir": Op("stub", "openat2, mkdirat", "create a directory beneath the root unless it exists", path=STR),
    "mask_path": Op("stub", "open_tree, move_mount", "hide a path: /dev/null over a file, an empty tmpfs over a"
                    " directory; looked up beneath the mount in a slot, if any", path=STR, slot=INT,
                    below=STR),
    "readonly_path": Op("stub", "open_tree, mount_setattr, move_mount", "make a path read-only; lookup as for"
                        " mask_path", path=STR, slot=INT, below=STR),
    "release_mount": Op("stub", "close", "close a mount that was kept in a slot", slot=INT),
    "run_hook": Op("stub", "clone, execve, waitpid", "run a hook in the container's namespaces",
                   path=STR, args=STRS, env=STRS, timeout=INT, home=INT, state_head=STR, state_tail=STR),
    "pivot_root": Op("stub", "pivot_root, umount2", "make the root filesystem /, and unmount the host's tree"),
    "move_root": Op("stub", "move_mount, chroot", "--no-pivot: move the root filesystem over /, after unmounting"
                    " the host's full procfs and sysfs mounts", hide=STRS),
    "chroot": Op("stub", "chroot", "without a mount namespace: change the root directory only"),
    "root_readonly": Op("stub", "mount_setattr", "make / read-only"),
    "reopen_null": Op("stub", "fstat, openat2, dup2", "replace standard streams that are the host's /dev/null by the"
                      " container's, open for reading and writing"),
    "take_terminal": Op("stub", "ioctl TIOCSCTTY", "make the terminal on descriptor 0 the controlling terminal"),
    "open_console": Op("stub", "openat2, ioctl TIOCGPTPEER, sendmsg", "open a pseudoterminal in the container, bind it"
                       " on /dev/console, send the master end", slot=INT, rows=INT, cols=INT, uid=INT, mount=INT),
    "rlimit": Op("stub", "prlimit64", "set a resource limit", resource=INT, soft=INT, hard=INT, name=STR),
    "scheduler": Op("stub", "sched_setattr", "set the scheduling policy", policy=INT, flags=INT, nice=INT,
                    priority=INT, runtime=INT, deadline=INT, period=INT),
    "io_priority": Op("stub", "ioprio_set", "set the I/O priority", value=INT),
    "memory_policy": Op("stub", "set_mempolicy", "set the NUMA memory policy", mode=INT, nodes=BYTES, bits=INT),
    "personality": Op("stub", "personality", "set the execution domain", value=INT),
    "join_keyring": Op("stub", "keyctl", "join a new session keyring", name=STR),
    "umask": Op("stub", "umask", "set the file mode creation mask", mask=INT),
    "own_streams": Op("stub", "fchown", "give the pipes of the standard streams to the program's user, who can then"
                      " open /dev/stdout", uid=INT),
    "drop_bounding": Op("stub", "prctl PR_CAPBSET_DROP", "drop all but the mask from the bounding set", keep=INT),
    "set_groups": Op("stub", "setgroups", "set the supplementary groups", gids=BYTES),
    "set_user": Op("stub", "setresgid, setresuid", "become the user, keep the capabilities until capset",
                   uid=INT, gid=INT),
    "capset": Op("stub", "capset", "set the effective, permitted and inheritable sets",
                 effective=INT, permitted=INT, inheritable=INT),
    "ambient": Op("stub", "prctl PR_CAP_AMBIENT", "set the ambient set", mask=INT),
    "chdir": Op("stub", "chdir, getcwd", "change to the working directory, which must be inside the root, unless"
                " an earlier step did", path=STR),
    "find_home": Op("stub", "openat2, read", "look up HOME in the container's /etc/passwd", uid=INT),
    "find_executable": Op("stub", "faccessat2", "choose the program as execvp(3) does: a name with a slash, or the"
                          " first executable file of that name in the directories of path", name=STR, path=STR),
    "await_start": Op("stub", "write, accept4, recv", "report `created`, wait for `start`", slot=INT),
    "no_new_privs": Op("stub", "prctl PR_SET_NO_NEW_PRIVS", "never gain privileges by execve"),
    "seccomp": Op("stub", "seccomp", "load the filter, send its listener to the agent", flags=INT, program=BYTES,
                  listener=INT, message=STRS),
    "prepare_exec": Op("stub", "close_range, write", "prepare arguments and environment, set close-on-exec on all"
                       " other descriptors, report that only the filter and execve remain", args=STRS, env=STRS,
                       preserve=INT),
    "execve": Op("stub", "execve", "execute the container's program"),
}
for _name, _op in OPS.items():
    _op.name = _name

NO_SLOT = 0xFFFF   # the value of a slot field for no slot


class Step:
    """An instruction with its arguments and its origin.

    ``where``     the place in config.json that requires it, for example ``mounts[3].options``
    ``label``     for messages: the subject, for example ``tmpfs on /dev/shm``; may be empty
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
        """The subject of the step in brackets, or the empty string."""
        return f" ({self.label})" if self.label else ""

    def __repr__(self) -> str:
        args = ", ".join(f"{name}={value!r}" for name, value in self.args.items())
        return f"step({self.phase!r}, {self.op.name!r}, {self.where!r}, {args})"


def step(phase: str, op: str, where: str, *, label: str = "", tolerate: tuple[int, ...] = (), **args: Any) -> Step:
    """Make a step; an unknown phase, operation or field is a programming error (AssertionError)."""
    assert phase in ORDER, phase
    assert args.keys() == OPS[op].fields.keys(), (op, sorted(args), sorted(OPS[op].fields))
    assert len(tolerate) <= 4, tolerate
    return Step(phase, op, where, args, label, tolerate)
