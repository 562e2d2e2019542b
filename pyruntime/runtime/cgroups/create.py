"""Create a cgroup, write its limits, move processes into it: the cgroup steps of a plan, performed in the parent.

Every function raises OSError: ``errno`` is that of the kernel (for a step's tolerated errno), ``strerror`` a complete
message such as ``memory.limit_in_bytes: write "1024": Device or resource busy``. The caller adds the place in
config.json.
"""

from __future__ import annotations

import os
from errno import EACCES, EBUSY, EINVAL, ENOENT, ENOSPC, ENOTEMPTY, ENOTSUP, EPERM, EROFS, ESRCH

from pyruntime.runtime.cgroups.host import read
from pyruntime.runtime.cgroups.tree import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def failure(error: OSError, message: str) -> OSError:
    """An error with the same errno and a message that names the operation."""
    return OSError(error.errno or 0, message)


# --- cgroup_create ---------------------------------------------------------------------------------------------------

def create(path: str) -> list[str]:
    """Create the cgroup ``path`` and its missing ancestors; return the created directories, outermost first.

    An existing cgroup must be usable: empty and not frozen (config-linux.md#control-groups). If a later part fails, the
    created directories are removed again.
    """
    made: list[str] = []
    try:
        _make(path, made)
        if not made:
            _require_empty(path)
        _require_thawed(path)
        _inherit_cpuset(path)
    except OSError:
        for directory in reversed(made):
            remove(directory)
        raise
    return made


def adopt(path: str) -> list[str]:
    """Prepare a cgroup that systemd has created, or create it in a hierarchy that systemd does not manage; return the
    created directories. The cgroup may contain the process that the scope was created for."""
    made: list[str] = []
    try:
        _make(path, made)
        _require_thawed(path)
        _inherit_cpuset(path)
    except OSError:
        for directory in reversed(made):
            remove(directory)
        raise
    return made


def _make(path: str, made: list[str]) -> None:
    try:
        os.mkdir(path, 0o755)
    except FileNotFoundError:
        _make(os.path.dirname(path), made)
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            return
        except OSError as error:
            raise _not_made(path, error) from None
    except FileExistsError:
        return
    except OSError as error:
        raise _not_made(path, error) from None
    made.append(path)


def _not_made(path: str, error: OSError) -> OSError:
    reason = "the cgroups are mounted read-only, as in a container without privileges: mount them for writing, or do" \
             " without limits (--cgroup-manager=disabled): " if error.errno == EROFS else ""
    return failure(error, f'mkdir "{path}": {reason}{os.strerror(error.errno or 0)}')


def remove(path: str) -> None:
    """The undo of `create` for one directory. A missing directory is not an error; a directory in use stays."""
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno not in (ENOENT, EBUSY, ENOTEMPTY):
            raise failure(error, f'rmdir "{path}": {os.strerror(error.errno or 0)}') from None


def _require_empty(path: str) -> None:
    count = len(processes(path, recursive=True))
    if count:
        raise OSError(EBUSY, f"container's cgroup is not empty: {count} process(es) found in {path}")


def _require_thawed(path: str) -> None:
    # A task that joins a frozen cgroup stops at once, and `create` would wait indefinitely. Only the freezer's own
    # directory and v2 have such a file; a new cgroup is frozen if an ancestor is.
    for file, frozen in (("freezer.state", "FROZEN"), ("cgroup.events", "frozen 1")):
        if os.access(f"{path}/{file}", os.F_OK) and frozen in read(f"{path}/{file}"):
            raise OSError(EBUSY, f"container's cgroup unexpectedly frozen: {path}")


def _inherit_cpuset(path: str) -> None:
    # A new v1 cpuset is empty and accepts no process (ENOSPC) until it has CPUs and memory nodes; the same holds for
    # its ancestors, which may have been created but never filled. The file named here exists only in v1 cpusets: v2
    # inherits automatically.
    if not os.access(path + "/cpuset.sched_load_balance", os.F_OK):
        return
    for file in ("cpuset.cpus", "cpuset.mems"):
        _inherit(path, file)


def _inherit(directory: str, file: str) -> str:
    """The value of a cpuset's file; an empty file is first filled from the parent cpuset."""
    try:
        data = read(f"{directory}/{file}").strip()
    except OSError as error:
        raise failure(error, f"{file}: read: {os.strerror(error.errno or 0)} ({directory})") from None
    above = os.path.dirname(directory)
    if data or not os.path.exists(f"{above}/{file}"):
        return data
    data = _inherit(above, file)
    _write_one(directory, file, data)
    return data


# --- cgroup_write ----------------------------------------------------------------------------------------------------

def write(path: str, file: str, data: str) -> None:
    """Set one resource. ``file`` is a file name, or an expression with several file names:

    ========== =======================================================================================
    ``a?``     skip the file if it does not exist or the write fails with EOPNOTSUPP
    ``a|b``    the first that exists, with the corresponding part of ``data`` (``x|y``)
    ``a+b+c``  files that constrain each other: in the given order, then again those that the kernel
               refused with EINVAL, as long as that makes progress
    ``a>b``    only if the number is above that in ``b`` (memory.checkBeforeUpdate)
    ========== =======================================================================================

    ``cpu.max`` with ``-`` in the place of the quota keeps the current quota: the kernel has no syntax for the period
    alone. Text with several lines is written line by line: the kernel's parsers accept one line at a time.
    ``cgroup.subtree_control`` is special: enabled controllers are left out, the others are enabled one by one.
    """
    if file == "cgroup.subtree_control":
        _enable(path, data.split())
    elif "+" in file:
        _write_group(path, list(zip(file.split("+"), data.split("+"), strict=True)))
    elif "|" in file:
        _write_first(path, file.split("|"), data.split("|"))
    elif ">" in file:
        name, usage = file.split(">")
        _write_above(path, name, usage, data)
    else:
        _write_one(path, file, data)


def _write_one(path: str, file: str, data: str) -> None:
    optional = file.endswith("?")
    file = file.rstrip("?")
    try:
        descriptor = os.open(f"{path}/{file}", os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError as error:
        if optional and os.path.isdir(path):
            return
        raise failure(error, _missing(path, file)) from None
    except OSError as error:
        raise failure(error, f"{file}: open: {os.strerror(error.errno or 0)}") from None
    if file == "cpu.max" and data.startswith("- "):
        data = read(f"{path}/{file}").partition(" ")[0] + data[1:]
    try:
        for line in data.split("\n") if "\n" in data else (data or "\n",):   # an empty write would have no effect
            if line:
                os.write(descriptor, os.fsencode(line))
    except OSError as error:
        # memory.kmem.limit_in_bytes of Linux 5.16 to 6.0 exists, but refuses every value.
        if not optional or error.errno != ENOTSUP:
            raise failure(error, _refused(path, file, data, error)) from None
    finally:
        os.close(descriptor)


def _write_group(path: str, pairs: list[tuple[str, str]]) -> None:
    while pairs:
        refused: list[tuple[str, str]] = []
        reason = None
        for file, data in pairs:
            try:
                _write_one(path, file, data)
            except OSError as error:
                if error.errno != EINVAL:
                    raise
                refused.append((file, data))
                reason = reason or error
        if reason and len(refused) == len(pairs):
            raise reason
        pairs = refused


def _write_first(path: str, files: list[str], data: list[str]) -> None:
    for index, file in enumerate(files):
        if os.path.exists(f"{path}/{file}"):
            _write_one(path, file, data[index] if len(data) > 1 else data[0])
            return
    raise OSError(ENOENT, _missing(path, " or ".join(files)))


def _write_above(path: str, file: str, usage: str, data: str) -> None:
    if data != "max":
        used = _number(path, usage)
        if int(data) <= used:
            what = "memory+swap" if "swap" in file else "memory"
            raise OSError(EBUSY, f"rejecting {what} limit {data} <= usage {used}")
    _write_one(path, file, data)


def _number(path: str, file: str) -> int:
    try:
        return int(read(f"{path}/{file}"))
    except (OSError, ValueError):
        return 0


# Why a file may be missing, by the prefix of its name.
_FEATURES = (
    ("memory.memsw.", "swap accounting is off: boot with swapaccount=1"),
    ("memory.swap.", "swap accounting is off: boot with swapaccount=1"),
    ("memory.kmem.", "the kernel no longer has a separate limit for kernel memory"),
    ("cpu.rt_", "the kernel lacks CONFIG_RT_GROUP_SCHED"),
    ("cpu.cfs_burst_us", "burst needs Linux 5.14"),
    ("cpu.max.burst", "burst needs Linux 5.14"),
    ("cpu.idle", "idle needs Linux 5.15"),
    ("cpu.cfs_", "the kernel lacks CONFIG_CFS_BANDWIDTH"),
    ("cpu.max", "the kernel lacks CONFIG_CFS_BANDWIDTH"),
    ("blkio.leaf_weight", "leaf weights were removed with the CFQ scheduler in Linux 5.0"),
    ("blkio.weight", "weights need the BFQ scheduler (CONFIG_BFQ_GROUP_IOSCHED, and the module loaded)"),
    ("io.bfq.weight", "weights need the BFQ scheduler (CONFIG_BFQ_GROUP_IOSCHED, and the module loaded) or io.cost"),
    ("hugetlb.", "the kernel has no huge pages of this size"),
)


def _missing(path: str, file: str) -> str:
    if not os.path.isdir(path):
        return f"{file}: the cgroup {path} does not exist"
    if os.path.exists(path + "/cgroup.controllers") and not file.startswith("cgroup."):
        controller = file.partition(".")[0]
        if controller not in read(path + "/cgroup.controllers").split():
            return f'{file}: the controller "{controller}" is not available in {path}'
    for start, reason in _FEATURES:
        if file.startswith(start):
            return f"{file}: no such file in {path}: {reason}"
    return f"{file}: no such file in {path}"


def _refused(path: str, file: str, data: str, error: OSError) -> str:
    text = os.strerror(error.errno or 0)
    message = f'{file}: write "{data}": {text}'
    if file in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max") and error.errno == EBUSY:
        prefix = file.removesuffix("limit_in_bytes")
        if file == "memory.max":
            used, peak = _number(path, "memory.current"), _number(path, "memory.peak")
        else:
            used, peak = _number(path, prefix + "usage_in_bytes"), _number(path, prefix + "max_usage_in_bytes")
        return (f"unable to set memory limit to {data} (current usage: {used}, peak usage: {peak})\n  {message}")
    if file in ("devices.allow", "devices.deny") and error.errno == EPERM:
        return f"{message} (the parent cgroup does not allow it)"
    return message


def _enable(path: str, controllers: list[str]) -> None:
    file = "cgroup.subtree_control"
    try:
        enabled = read(f"{path}/{file}").split()
    except OSError as error:
        raise failure(error, f"{file}: read: {os.strerror(error.errno or 0)} ({path})") from None
    missing = [name for name in controllers if name.lstrip("+") not in enabled]
    if not missing:
        return
    # The kernel would let a cgroup with processes delegate cpu or pids, but make it a thread root: its children become
    # "domain invalid" and no longer accept processes. Only the root is exempt, and it has no type.
    if os.path.exists(path + "/cgroup.type") and processes(path, recursive=False):
        raise OSError(EBUSY, _not_enabled(path, " ".join(missing), OSError(EBUSY, "")))
    try:
        descriptor = os.open(f"{path}/{file}", os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise failure(error, _not_enabled(path, " ".join(missing), error)) from None
    try:
        refused = _enable_all(path, descriptor, missing)
    finally:
        os.close(descriptor)
    if refused:
        raise refused


def _enable_all(path: str, descriptor: int, names: list[str]) -> OSError | None:
    try:
        os.write(descriptor, os.fsencode(" ".join(names)))
        return None
    except OSError as error:
        if len(names) == 1:
            return failure(error, _not_enabled(path, names[0], error))
    # If one controller cannot be enabled, the kernel refuses all of them.
    refused = None
    for name in names:
        refused = _enable_all(path, descriptor, [name]) or refused
    return refused


def _type(path: str) -> str:
    try:
        return read(path + "/cgroup.type").strip()
    except OSError:
        return ""


def _not_enabled(path: str, name: str, error: OSError) -> str:
    message = f'cgroup.subtree_control: write "{name}": {os.strerror(error.errno or 0)} ({path})'
    if error.errno == EBUSY:
        return message + ": this cgroup contains processes, so it cannot delegate controllers"
    if error.errno in (ENOTSUP, ENOENT) and _type(path) in ("threaded", "domain invalid"):
        return message + f": the cgroup is {_type(path)}, and this controller does not support threads"
    if error.errno == ENOENT:
        return message + ": its parent does not delegate this controller"
    if error.errno in (EACCES, EPERM):
        return message + ": the controller is not delegated to this user"
    return message


# --- cgroup_devices, cgroup_join -------------------------------------------------------------------------------------

def devices(path: str, rules: Sequence[str]) -> None:
    """Attach the filter for ``rules`` to a v2 cgroup. It is removed with the cgroup, so there is no undo."""
    from pyruntime.runtime.cgroups import device_bpf  # lazy: only v2 hosts need the compiler and the binding
    from pyruntime.system import kernel, uapi

    program = kernel.bpf_prog_load(device_bpf.compile_rules(rules), "Apache-2.0")
    try:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            kernel.bpf_prog_attach(directory, program, uapi.BPF_F_ALLOW_MULTI)
        finally:
            os.close(directory)
    finally:
        os.close(program)


DELEGATED = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")


def own(path: str, uid: int) -> None:
    """Give the v2 cgroup to a user: the directory and the files listed in /sys/kernel/cgroup/delegate, but no others,
    or the container could remove its own limits (config-linux.md#cgroup-ownership). Removed with the cgroup, so there
    is no undo."""
    try:
        names: Sequence[str] = read("/sys/kernel/cgroup/delegate").split()
    except OSError:
        names = DELEGATED
    for name in ("", *names):
        try:
            os.chown(f"{path}/{name}", uid, -1, follow_symlinks=False)
        except FileNotFoundError as error:
            if not name:
                raise failure(error, f'chown "{path}": {os.strerror(ENOENT)}') from None
        except OSError as error:
            raise failure(error, f'chown "{path}/{name}": {os.strerror(error.errno or 0)}') from None


def join(paths: Sequence[str], pid: int) -> None:
    """Move the process ``pid`` (0: this one) into the cgroups. No undo: the process leaves the cgroup when it exits."""
    data = b"%d" % pid
    for path in paths:
        try:
            descriptor = os.open(path + "/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, data)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise failure(error, _not_joined(path, pid, error)) from None


def follow(path: str, pid: int, init: int) -> None:
    """Move the process ``pid`` into a v2 cgroup, or, if that accepts no processes because it delegates controllers to
    its children ("no internal processes", cgroups(7)), into the current cgroup of the process ``init`` (0: none).
    Nothing is written for a process that is already there: moving it takes a lock that every fork waits for."""
    if pid in processes(path, recursive=False):
        return
    try:
        join([path], pid)
    except OSError as error:
        if error.errno not in (EBUSY, ENOTSUP) or not init:
            raise
        # `own` is relative to the root of this cgroup namespace, `path` begins with the mount point.
        own = read(f"/proc/{init}/cgroup").rpartition("0::")[2].partition("\n")[0].split("/")
        for count in range(len(own), 1, -1):
            if path.endswith("/".join(own[:count])):
                join(["/".join([path, *own[count:]])], pid)
                return
        raise


def _not_joined(path: str, pid: int, error: OSError) -> str:
    message = f'cgroup.procs: write "{pid}": {os.strerror(error.errno or 0)} ({path})'
    if error.errno in (EBUSY, ENOTSUP) and os.path.exists(path + "/cgroup.subtree_control"):
        return message + ": the cgroup delegates controllers to its children, or is threaded: no processes accepted"
    if error.errno == ENOSPC and os.path.exists(path + "/cpuset.cpus"):
        return message + ": cpuset.cpus or cpuset.mems is empty"
    if error.errno == ESRCH:
        return message + ": the process has exited"
    return message

