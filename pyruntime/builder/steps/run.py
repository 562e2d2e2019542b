"""RUN: a command in a container of the runtime, in the step's root filesystem.

Files of the host that are not part of the image (resolv.conf, hosts, /proc, /sys, /dev, --mount) are mounted; mount
points that the image does not have are removed afterwards.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from errno import ENOENT, ENOTDIR, ENOTEMPTY

from pyruntime.builder.steps.network import HOSTNAME
from pyruntime.errors import BuildError, PyruntimeError
from pyruntime.images.document import ImageConfig
from pyruntime.images.layers.tree import not_there
from pyruntime.images.runtime_config import Wishes, convert
from pyruntime.profiles import apparmor
from pyruntime.profiles.devpts import terminal_group
from pyruntime.profiles.seccomp import profile
from pyruntime.runtime.api import Runtime
from pyruntime.system import kernel
from pyruntime.system.json import encode
from pyruntime.system.user_namespace import privileged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.builder.graph.plan import BuildStep
    from pyruntime.builder.steps.network import RunNetwork
    from pyruntime.builder.steps.workspace import Workspace
    from pyruntime.networks.site import Site

_IN_ROOT = kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_MAGICLINKS
# Descriptors that a deletion needs, beside one for each cgroup hierarchy. They are reserved before the creation: a
# container that could not be deleted would be left behind.
_DELETION = 4
_SCRIPT = "/dev/pipes"   # directory of scripts; /dev is the container's own


class RunOptions:
    """How RUN's containers are run: ``root`` is the runtime's state directory, ``cgroup_parent`` the parent of their
    cgroups ("" for none), ``site`` the networks; and their resource limits."""

    __slots__ = ("cgroup_parent", "root", "shm_size", "site", "ulimits")

    def __init__(self, site: Site) -> None:
        self.site = site
        self.root = f"{site.run}/build"
        self.cgroup_parent = ""
        self.shm_size = 64 << 20   # bytes of /dev/shm
        self.ulimits: list[dict[str, Any]] = []   # process.rlimits


class Extra:
    """Additional mounts: ``mounts`` for the configuration, ``env`` for their variables; ``secret``: whether one is a
    secret."""

    __slots__ = ("env", "mounts", "secret")

    def __init__(self) -> None:
        self.secret = False
        self.mounts: list[dict[str, Any]] = []
        self.env: list[str] = []

    def bind(self, source: str, target: str, *, readonly: bool) -> None:
        """Add a bind mount."""
        self.mounts.append({"destination": target, "type": "bind", "source": source,
                            "options": ["rbind", "ro" if readonly else "rw"]})


def execute(step: BuildStep, workspace: Workspace, options: RunOptions, container_id: str, extra: Extra,
            network: RunNetwork, wait: Callable[[int], int | None]) -> int:
    """Run the command; its exit status, 128 + N for signal N. Standard output and error are this process's.

    ``wait(pid)`` is waitpid, or None once the result is no longer wanted. The calling process must have no other
    children. Raises PyruntimeError.
    """
    data = step.data
    args = list(data.args)
    if data.script:
        path = f"{workspace.scratch}/script"
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(data.script)
        os.chmod(path, 0o755)
        extra.bind(path, f"{_SCRIPT}/script", readonly=True)
        args = [f"{_SCRIPT}/script"]
    for name, text in network.files().items():   # the image's own files are not changed
        path = f"{workspace.scratch}/{name}"
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        os.chmod(path, 0o644)
        extra.bind(path, f"/etc/{name}", readonly=False)
    document = _configuration(step, args, workspace, options, extra, host_network=network.on_host)
    if privileged():
        apparmor.confine(document["process"], options.site.below_run())
        # No common parent of all containers by default: it would never be known when to remove it.
        document["linux"]["cgroupsPath"] = f"{options.cgroup_parent}/{container_id}"
    bundle = f"{workspace.scratch}/bundle"
    os.mkdir(bundle, 0o700)
    if extra.secret:   # in memory: secrets must not reach the disk
        kernel.mount("tmpfs", bundle, "tmpfs", 0, "mode=0700,size=16m")
    document["root"]["path"] = workspace.root
    with open(f"{bundle}/config.json", "w", encoding="utf-8") as file:
        file.write(encode(document))
    stubs = _missing(workspace.fd, [mount["destination"] for mount in document["mounts"]])
    try:
        return _run(Runtime(options.root), container_id, bundle, network, wait)
    finally:
        _remove(workspace.fd, stubs)


def _run(runtime: Runtime, container_id: str, bundle: str, network: RunNetwork, wait: Callable[[int], int | None]
         ) -> int:
    kernel.become_subreaper()
    with ExitStack() as reserve:
        for _ in range(_hierarchies() + _DELETION):
            reserve.callback(os.close, os.eventfd(0, os.EFD_CLOEXEC))
        try:
            state = runtime.create(container_id, bundle)
            network.attach(state.pid)
            runtime.start(container_id)
            found = wait(state.pid)
            if found is None:
                raise BuildError("the build was ended")
            status = os.waitstatus_to_exitcode(found)
        finally:
            reserve.close()
            try:
                network.depart()
            finally:   # whatever has failed before
                runtime.delete(container_id, force=True)
    return status if status >= 0 else 128 - status


def _hierarchies() -> int:
    """The number of cgroup hierarchies."""
    with open("/proc/self/cgroup", "rb") as file:
        return len(file.readlines())


def _configuration(step: BuildStep, args: list[str], workspace: Workspace, options: RunOptions, extra: Extra, *,
                   host_network: bool) -> dict[str, Any]:
    image = ImageConfig(b"", {"config": {"Env": [*step.env, *step.secret_env], "User": step.user,
                                         "WorkingDir": step.cwd}, "rootfs": {}})
    wishes = Wishes(args=args, entrypoint=[], env=extra.env, host_network=host_network, hostname=HOSTNAME)
    unified = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    document = convert(image, workspace.fd, wishes, uid=os.geteuid(), gid=os.getegid(), unified=unified)
    if host_network and not privileged():   # sysfs belongs to the host's user namespace
        for mount in document["mounts"]:
            if mount["type"] == "sysfs":
                mount.update(type="bind", source="/sys", options=["rbind", "nosuid", "noexec", "nodev", "ro"])
    process = document["process"]
    process["user"]["umask"] = 0o022   # not this process's umask, which no cache key contains
    process["rlimits"] = options.ulimits
    process["noNewPrivileges"] = False   # RUN often calls su and sudo
    document["linux"]["seccomp"] = profile(process["capabilities"]["bounding"])
    for mount in document["mounts"]:
        if mount["destination"] == "/dev/shm":
            mount["options"] = [one for one in mount["options"] if not one.startswith("size=")
                                ] + [f"size={options.shm_size}"]
        if mount["type"] == "devpts":
            mount["options"] = [one for one in mount["options"] if one != "gid=5"] + terminal_group()
    # Parent directories first, whatever the order of the flags: else one mount hides the other.
    document["mounts"] += sorted(extra.mounts, key=lambda mount: str(mount["destination"]).split("/"))
    return document


def _missing(root: int, targets: list[str]) -> list[tuple[bytes, int]]:
    """The paths that mounts will create in the root filesystem, the deepest first; each with the mtime of its parent
    directory, in ns."""
    found: dict[bytes, int] = {}
    for target in targets:
        for path in not_there(root, os.fsencode(target)):
            found.setdefault(path, _mtime(root, path.rpartition(b"/")[0]))
    # /dev and /proc are filesystems of the container.
    return sorted(found.items(), key=lambda item: item[0].count(b"/"), reverse=True)


def _mtime(root: int, path: bytes) -> int:
    try:
        fd = kernel.openat2(path or b".", os.O_PATH, dir_fd=root, resolve=_IN_ROOT)
    except OSError:
        return -1   # it will be created too
    try:
        return os.fstat(fd).st_mtime_ns
    finally:
        os.close(fd)


def _remove(root: int, stubs: list[tuple[bytes, int]]) -> None:
    """Remove the empty mount points; files that the command has written stay."""
    for path, mtime in stubs:
        head, _, name = path.rpartition(b"/")
        try:
            fd = kernel.openat2(head or b".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=root, resolve=_IN_ROOT)
        except OSError as error:
            if error.errno in (ENOENT, ENOTDIR):
                continue   # removed by the command, or never created
            raise
        try:
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if found.st_mode & 0o170000 == 0o040000:
                os.rmdir(name, dir_fd=fd)
            elif found.st_size == 0:
                os.unlink(name, dir_fd=fd)
            if mtime >= 0:
                os.utime(fd, ns=(mtime, mtime))
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno != ENOTEMPTY:
                raise PyruntimeError(f'cannot remove "/{os.fsdecode(path)}", which was a mount point:'
                                     f" {error.strerror}") from None
        finally:
            os.close(fd)


def failure(step: BuildStep, status: int) -> BuildError:
    """The message for a failed command."""
    words = " ".join(step.data.args) if not step.data.script else "the script"
    how = f"signal {status - 128}" if status > 128 and status - 128 < 65 else f"exit status {status}"
    return BuildError(f'process "{words[:300]}" failed: {how}')
