"""The configuration of a sandbox: the hardened preset."""

from __future__ import annotations

import json
import marshal
import os
import stat
from collections.abc import Mapping
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit
from threading import Lock

from pyruntime.errors import HostError, UsageError
from pyruntime.profiles.seccomp import profile
from pyruntime.runtime.config.template import template
from pyruntime.system.environment import last_of_each
from pyruntime.system.files import replace
from pyruntime.system.installed import native
from pyruntime.system.json import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyruntime.runtime.api import Runtime
    from pyruntime.runtime.lifecycle.preparation import Preparation
    from pyruntime.sandbox.commands import AnyPath
    from pyruntime.sandbox.limits import Limits
    from pyruntime.sandbox.sources import HostMount, Prepared

INIT = "/.pyruntime-init"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Directories that a program may write to, all on one filesystem of bounded size: name there, place, mode.
WRITABLE = (("w", "/work", 0o755), ("t", "/tmp", 0o1777), ("s", "/dev/shm", 0o1777))
# Of cgroup v1. A cgroup takes its time in each hierarchy, most in cpuset.
_CONTROLLERS = ("memory", "cpu", "cpuacct", "pids", "freezer", "devices")
_KEPT = 16
_kept: dict[bytes, Preparation] = {}
_lock = Lock()
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
_FILES = 1024   # open files of each process, unless the limits say otherwise
_SMALL = ["size=64k", "nr_inodes=1024"]
_OWN = ("/dev/shm", "/dev/mqueue", "/sys/fs/cgroup")   # of the template; a sandbox has its own, or none


def configuration(prepared: Prepared, limits: Limits, *, scratch: str, mounts: Sequence[HostMount],
                  user: tuple[int, int], env: Mapping[str, str], writable: bool, limited: bool, cgroup: str, swap: bool,
                  seccomp: Mapping[str, Any] | None = None, devices: Sequence[str] = (), without: Sequence[str] = (),
                  user_namespace: str = "", drop_groups: bool = True) -> dict[str, Any]:
    """config.json of a sandbox whose init only waits. ``limited``: whether there are cgroups; ``cgroup``: its path; "":
    below the program's own, where that is writable. ``seccomp``: the filter; None: the default one. ``devices``: paths
    of the host. ``without``: limits to leave out. ``user_namespace``: the path of a user namespace to join; "": none.
    ``drop_groups``: whether this program's supplementary groups can be given up there. Raises UsageError, HostError."""
    # No cgroup namespace: no cgroup filesystem is mounted, and with a namespace each run would have to be moved into
    # its cgroup, for which every fork on the host waits (compiler/sections/exec.py).
    document = template(rootless=False, uid=0, gid=0, unified=False)
    own = [f"{name}={value}" for name, value in env.items()]
    document["process"].update({
        "terminal": False, "args": [INIT, "wait=1"], "cwd": "/",
        "user": {"uid": user[0], "gid": user[1], "umask": 0o022},
        "env": last_of_each([PATH, "HOME=/work", "LANG=C.UTF-8", *prepared.env, *own]),
        "capabilities": {}, "noNewPrivileges": True,
        "rlimits": [{"type": name, "hard": number, "soft": number}
                    for name, number in (("RLIMIT_NOFILE", _files(limits.files)), ("RLIMIT_CORE", 0))]})
    document["root"] = {"path": prepared.rootfs, "readonly": not writable}
    for mount in document["mounts"]:
        if mount["destination"] == "/dev":   # for nodes, not for files of root, which `disk` would not count
            mount["options"] = [word for word in mount["options"] if not word.startswith("size=")] + _SMALL
    document["hostname"] = "sandbox"
    document["mounts"] = [mount for mount in document["mounts"] if mount["destination"] not in _OWN]
    # Those of the caller come last: they may be below /work.
    document["mounts"] += [_bind(prepared.work if target == "/work" else f"{scratch}/{name}", target, writable=True)
                           for name, target, _ in WRITABLE]
    # In a user namespace, what is mounted below a directory cannot be left out (mount_namespaces(7)).
    document["mounts"] += [_bind(mount.source, mount.target, writable=mount.writable, recursive=bool(user_namespace))
                           for mount in (*prepared.mounts, *mounts)]
    document["mounts"].append(_bind(native("init"), INIT, writable=False))
    linux = document["linux"]
    linux["seccomp"] = profile(()) if seccomp is None else filter_of(seccomp)
    linux["devices"] = [_device(path, user) for path in devices]
    linux["resources"]["devices"] = [*linux["resources"]["devices"], *map(_allowed, linux["devices"])]
    linux["resources"] |= limits.resources(swap=swap, without=without)
    if not limited:
        del linux["resources"]
    elif cgroup:
        linux["cgroupsPath"] = cgroup
    if user_namespace:
        linux["namespaces"].append({"type": "user", "path": user_namespace})
        if drop_groups:   # an empty list would keep them (compiler/sections/user.py)
            document["process"]["user"]["additionalGids"] = [user[1]]
        for mount in document["mounts"]:
            if mount["type"] == "devpts":   # its group may have no number in the user namespace
                mount["options"] = [option for option in mount["options"] if not option.startswith("gid=")]
    return document


def _files(number: int | None) -> int:
    """The limit of open files. No sandbox has the privilege to raise it above this program's hard limit, not even with
    root: it is set after the capabilities are dropped."""
    most = getrlimit(RLIMIT_NOFILE)[1]
    if number is None:
        return _FILES if most == RLIM_INFINITY else min(_FILES, most)
    if most != RLIM_INFINITY and number > most:
        raise HostError(f"files {number}: the hard limit of this program is {most}: write at most {most}, or raise it"
                        " (RLIMIT_NOFILE; ulimit -Hn)")
    return number


def filter_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """linux.seccomp, as JSON has it; the rest is checked with config.json."""
    try:
        return dict(json.loads(json.dumps(given, default=_plain)))
    except (TypeError, ValueError) as error:
        raise UsageError(f"seccomp: write what linux.seccomp of config.json has: {error}") from None


def _plain(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not a value of JSON")


def _device(path: str, user: tuple[int, int]) -> dict[str, Any]:
    """linux.devices (config-linux.md#devices): the host's node, which belongs to the user of the sandbox."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise UsageError(f'devices: "{path}": {error.strerror}') from None
    kind = "c" if stat.S_ISCHR(found.st_mode) else "b"
    # Elsewhere it would be on a filesystem whose device nodes cannot be opened.
    below = os.path.normpath(path) == path and path.startswith("/dev/")
    if not below or not (kind == "c" or stat.S_ISBLK(found.st_mode)):
        raise UsageError(f'devices: "{path}" is not the path of a device node below /dev')
    return {"path": path, "type": kind, "major": os.major(found.st_rdev), "minor": os.minor(found.st_rdev),
            "fileMode": 0o600, "uid": user[0], "gid": user[1]}


def _allowed(device: Mapping[str, Any]) -> dict[str, Any]:
    return {"allow": True, "access": "rw", **{key: device[key] for key in ("type", "major", "minor")}}


def preparation(engine: Runtime, document: dict[str, Any], bundle: str, *, given: Sequence[str] = (),
                everywhere: bool = False) -> Preparation:
    """The compiled plan of a configuration, in which ID_MARK stands for the sandbox's name; those of the last few are
    kept. ``bundle``: the directory for config.json. ``given``: as in `Runtime.prepare`. ``everywhere``: whether it has
    a cgroup in each hierarchy. Raises what `Runtime.prepare` raises."""
    key = marshal.dumps((document, engine.cgroup_manager, tuple(given), everywhere))
    with _lock:
        found = _kept.pop(key, None)
        if found is None:
            replace(f"{bundle}/config.json", encode(document).encode())
            found = engine.prepare(bundle, given=given, controllers=() if everywhere else _CONTROLLERS)
            while len(_kept) >= _KEPT:
                del _kept[next(iter(_kept))]
        _kept[key] = found   # the last used is the last to be dropped
        return found


def _bind(source: AnyPath, target: AnyPath, *, writable: bool, recursive: bool = False) -> dict[str, Any]:
    r = "r" * recursive
    return {"destination": os.fspath(target), "type": "bind", "source": os.fspath(source),
            "options": [f"{r}bind", f"{r}nosuid", f"{r}nodev", f"{r}rw" if writable else f"{r}ro"]}
