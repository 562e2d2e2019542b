"""The only module for system calls that Python lacks. Each function raises OSError with the kernel's errno.

The extension behind it is loaded with the first call: the common `create` needs none of this.
"""

from __future__ import annotations

import os
from errno import EINVAL

from pyruntime.errors import HostError
from pyruntime.system.processes import SIGKILL
from pyruntime.system.uapi import AT_EMPTY_PATH, AT_FDCWD, MS_REC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any



def _bindings() -> Any:
    # lazy: a shared library, and the common `create` makes none of these calls
    from pyruntime.native import _kernel  # type: ignore[attr-defined,unused-ignore]

    return _kernel


def load() -> None:
    """Load the extension now: before a fork, for both processes."""
    _bindings()


def _check(result: int, call: str, about: str = "") -> int:
    if result < 0:
        number = int(_bindings().ffi.errno)
        words = os.strerror(number)
        raise OSError(number, f"{call}: {about}: {words}" if about else f"{call}: {words}")
    return result


def open_tree(path: str, *, clone: bool, recursive: bool) -> int:
    """A descriptor of the mount at ``path``, or with ``clone`` of a detached copy of it. open_tree(2)."""
    module = _bindings()
    flags = (module.lib.OPEN_TREE_CLONE if clone else 0) | (module.lib.AT_RECURSIVE if recursive else 0)
    return _check(module.lib.k_open_tree(AT_FDCWD, os.fsencode(path), flags), "open_tree", path)


def clone_tree(fd: int, *, recursive: bool) -> int:
    """A descriptor of a detached copy of the mount, starting at the directory or file of a descriptor. open_tree(2)."""
    module = _bindings()
    flags = module.lib.OPEN_TREE_CLONE | AT_EMPTY_PATH | (module.lib.AT_RECURSIVE if recursive else 0)
    return _check(module.lib.k_open_tree(fd, b"", flags), "open_tree")


def mount_idmap(tree: int, namespace: int, *, recursive: bool) -> None:
    """Map the ids of a detached mount by a user namespace. mount_setattr(2), MOUNT_ATTR_IDMAP."""
    _check(_bindings().lib.k_mount_idmap(tree, namespace, int(recursive)), "mount_setattr",
           "MOUNT_ATTR_IDMAP (the filesystem may not support id-mapped mounts)")


def user_namespace(uids: list[str], gids: list[str]) -> int:
    """A descriptor of a new user namespace with these map lines (user_namespaces(7))."""
    pid = _check(_bindings().lib.k_user_namespace_process(), "clone", "CLONE_NEWUSER")
    try:
        for file, lines in (("uid_map", uids), ("gid_map", gids)):
            fd = os.open(f"/proc/{pid}/{file}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, "\n".join(lines).encode())
            finally:
                os.close(fd)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(pid, SIGKILL)
        os.waitpid(pid, 0)


def setns(fd: int, kind: int) -> None:
    """Move the calling thread into a namespace. setns(2)."""
    _check(_bindings().lib.k_setns(fd, kind), "setns")


def become_subreaper() -> None:
    """Become the parent of orphaned descendants. prctl(2), PR_SET_CHILD_SUBREAPER."""
    _check(_bindings().lib.k_become_subreaper(), "prctl", "PR_SET_CHILD_SUBREAPER")


def set_fs_ids(uid: int, gid: int) -> None:
    """Set the owner of the files that this thread creates; its capabilities stay. setfsuid(2), PR_SET_SECUREBITS."""
    _check(_bindings().lib.k_set_fs_ids(uid, gid), "setfsuid", f"{uid}:{gid}")


def bpf_prog_load(insns: bytes, license: str) -> int:
    """Load a device filter (BPF_PROG_TYPE_CGROUP_DEVICE). bpf(2); the error includes the verifier's message."""
    module = _bindings()
    result = module.lib.k_bpf_prog_load(insns, len(insns), license.encode(), module.ffi.NULL, 0)
    if result >= 0:
        return int(result)
    log = module.ffi.new("char[]", 65536)
    result = module.lib.k_bpf_prog_load(insns, len(insns), license.encode(), log, 65536)
    last = module.ffi.string(log).decode("ascii", "replace").strip().rpartition("\n")[2]
    return _check(result, "bpf", f"BPF_PROG_LOAD {last}")


def bpf_prog_attach(target_fd: int, prog_fd: int, flags: int) -> None:
    """Attach a device filter to a cgroup directory. bpf(2)."""
    _check(_bindings().lib.k_bpf_prog_attach(target_fd, prog_fd, flags), "bpf", "BPF_PROG_ATTACH")


# linux/openat2.h
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT = 1, 2, 4, 8, 16


def openat2(path: bytes, flags: int, *, dir_fd: int, resolve: int, mode: int = 0) -> int:
    """Open ``path`` below a directory under rules for its resolution (RESOLVE_*). openat2(2)."""
    return _check(_bindings().lib.k_openat2(dir_fd, path, flags | os.O_CLOEXEC, mode, resolve), "openat2")


def detached_filesystem(kind: str, settings: list[tuple[str, str | None]], attributes: int = 0) -> int:
    """A descriptor of a new filesystem that is not mounted, and that lives as long as the descriptor; a setting without
    a value is a flag, and a key may be repeated.

    fsopen(2), fsconfig(2), fsmount(2): the settings' length is not limited to a page. ``attributes`` are MOUNT_ATTR_*.
    The error includes the kernel's message, which is read from the descriptor.
    """
    module = _bindings()
    fs = _check(module.lib.k_fsopen(kind.encode()), "fsopen", kind)
    try:
        for key, value in settings:
            command = module.lib.FSCONFIG_SET_FLAG if value is None else module.lib.FSCONFIG_SET_STRING
            text = module.ffi.NULL if value is None else os.fsencode(value)
            _told(module.lib.k_fsconfig(fs, command, key.encode(), text), fs, f"{kind}: {key}={value}")
        null = module.ffi.NULL
        _told(module.lib.k_fsconfig(fs, module.lib.FSCONFIG_CMD_CREATE, null, null), fs, kind)
        return _check(module.lib.k_fsmount(fs, attributes), "fsmount", kind)
    finally:
        os.close(fs)


def mount_filesystem(kind: str, target: str, settings: list[tuple[str, str | None]], attributes: int = 0) -> None:
    """Mount a new filesystem at ``target``. move_mount(2); otherwise as detached_filesystem."""
    mount = detached_filesystem(kind, settings, attributes)
    try:
        move_mount(mount, target)
    finally:
        os.close(mount)


def move_mount(tree: int, target: str) -> None:
    """Mount a detached tree. move_mount(2)."""
    _check(_bindings().lib.k_move_mount(tree, os.fsencode(target)), "move_mount", target)


def _told(result: int, fs: int, about: str) -> None:
    if result >= 0:
        return
    number = int(_bindings().ffi.errno)
    try:
        words = os.read(fs, 4096).decode("utf-8", "replace").strip()[2:]   # "e overlay: ..."
    except OSError:   # ENODATA: the kernel has nothing to add
        words = ""
    raise OSError(number, f"fsconfig: {about}: " + (f"{words}: " if words else "") + os.strerror(number))


def mount(source: str, target: str, kind: str, flags: int, data: str) -> None:
    """mount(2): for kernels whose overlayfs does not know fsconfig(2) settings."""
    _check(_bindings().lib.k_mount(os.fsencode(source), os.fsencode(target), kind.encode(), flags, os.fsencode(data)),
           "mount", target)


def set_propagation(propagation: int) -> None:
    """The propagation of all mounts of this mount namespace: MS_PRIVATE or MS_SLAVE. Raises HostError in a chroot whose
    root is not a mount point, and OSError."""
    try:
        mount("none", "/", "none", MS_REC | propagation, "")
    except OSError as error:
        if error.errno != EINVAL:
            raise
        from pyruntime.system.restrictions import no_mount_point  # lazy: only for a refusal

        raise HostError(f"mount: {no_mount_point()}: {error.strerror}") from None


MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8   # linux/fs.h


def umount2(target: str, flags: int = UMOUNT_NOFOLLOW) -> None:
    """umount2(2). A symbolic link at ``target`` is not followed."""
    _check(_bindings().lib.k_umount2(os.fsencode(target), flags), "umount2", target)


def syncfs(fd: int) -> None:
    """Write the filesystem of ``fd`` to disk. syncfs(2)."""
    _check(_bindings().lib.k_syncfs(fd), "syncfs")


def tee(source: int, target: int, length: int) -> int:
    """Copy at most ``length`` bytes from a pipe to another, without consuming them, and without waiting; returns how
    many. tee(2)."""
    return _check(_bindings().lib.k_tee(source, target, length), "tee")


def unshare(flags: int) -> None:
    """Move to new namespaces (CLONE_NEW*). unshare(2)."""
    _check(_bindings().lib.k_unshare(flags), "unshare")
