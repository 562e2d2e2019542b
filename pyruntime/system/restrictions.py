"""Restrictions of the host: why the kernel refuses what it allows elsewhere, and the remedy (docs/hosts.md).

Asked for after a refusal, to complete its message; nothing is decided here.
"""

from __future__ import annotations

import os
from errno import EACCES, EAGAIN, EMFILE, ENOSPC, EPERM

from pyruntime.errors import HostError
from pyruntime.system.uapi import ALL_CAPABILITIES
from pyruntime.system.user_namespace import real_uid

_APPARMOR = "kernel/apparmor_restrict_unprivileged_userns"   # Ubuntu 23.10 and later
_DEBIAN = "kernel/unprivileged_userns_clone"                 # Debian up to 10, and hardened kernels
_MOST = "user/max_user_namespaces"                           # namespaces(7)


def _sysctl(name: str) -> str:
    try:
        with open(f"/proc/sys/{name}", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""   # not on this kernel, or hidden by subset=pid


def user_namespaces(number: int) -> str:
    """Why this user cannot create a user namespace, or has no capabilities in the new one. ``number``: the errno of
    unshare(2), or of what needs the capabilities. Empty for an error with another cause."""
    if number == ENOSPC:
        most = _sysctl(_MOST)
        return (f"user.max_user_namespaces={most} allows no more user namespaces: raise it"
                f" (sysctl user.max_user_namespaces={16384 if most == '0' else 2 * int(most or 8192)})")
    if number not in (EPERM, EACCES):
        return ""
    if reason := apparmor(number):
        return reason
    if real_uid() and _sysctl(_DEBIAN) == "0":
        return ("users without root may not create user namespaces: set the sysctl"
                " kernel.unprivileged_userns_clone to 1")
    return ("user namespaces are forbidden here: in a chroot, and by the seccomp profile or the security module of a"
            " container around this process; run as root, or outside of it")


def apparmor(number: int) -> str:
    """The same, if AppArmor is the cause: it refuses a new namespace, or all capabilities in it."""
    if number in (EPERM, EACCES) and real_uid() and _sysctl(_APPARMOR) == "1":
        return ('AppArmor restricts user namespaces of users without root'
                ' (kernel.apparmor_restrict_unprivileged_userns=1): load a profile with the rule "userns," for this'
                ' program, or set the sysctl to 0')
    return ""


def capable(capability: str) -> bool:
    """Whether this process has a capability now, as "CAP_SYS_ADMIN" (capabilities(7))."""
    with open("/proc/self/status", encoding="utf-8", errors="surrogateescape") as file:
        effective = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))
    return bool(effective >> ALL_CAPABILITIES.index(capability) & 1)


def no_privilege() -> str:
    """The capability without which namespaces, mounts and pivot_root are refused, if this process lacks it."""
    if capable("CAP_SYS_ADMIN"):
        return ""
    return ("this process has no CAP_SYS_ADMIN, as root in a container without privileges: run outside of the"
            " container, in one with privileges (--privileged), or without root, with a user namespace in the"
            " configuration (pyruntime spec --rootless)")


def limits(number: int) -> str:
    """The limit of this process that an error number stands for; empty for other errors."""
    import resource  # lazy: only for a refusal

    if number == EMFILE:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return f"no more than {most} descriptors may be open: raise the limit (ulimit -n 1024)"
    if number == EAGAIN:
        most = resource.getrlimit(resource.RLIMIT_NPROC)[0]
        return (f"no more processes may be created: raise the limit of user {os.geteuid()} (ulimit -u, now"
                f" {'unlimited' if most < 0 else most}), or pids.max of its cgroup")
    return ""


def procfs() -> str:
    """What is missing in /proc, and the remedy; empty if /proc is a whole procfs."""
    if not os.path.exists("/proc/self"):
        return "/proc is not mounted: mount -t proc proc /proc"
    if not os.path.isdir("/proc/sys"):
        return ("/proc is mounted with subset=pid, which hides all but processes: mount a whole one"
                " (mount -t proc proc /proc)")
    if any(line[4].startswith("/proc/sys") for line in _mounts()):
        return ("a mount covers /proc/sys, as in a container without privileges: unmount it, or run outside of the"
                " container, or in one with all privileges (--privileged)")
    return ""


def read_proc(path: str) -> str:
    """The content of a file of /proc, without spaces around it. Raises HostError if a restricted /proc lacks it."""
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError as error:
        reason = procfs()
        raise HostError(f'cannot read "{path}": {reason}{reason and ": "}{error.strerror}') from None


def partly_visible(kind: str) -> str:
    """Why the root of a user namespace may not mount a whole ``proc`` or ``sysfs`` (mount_namespaces(7))."""
    place = {"proc": "/proc", "sysfs": "/sys"}[kind]
    return (f"a user namespace may mount {kind} only where the host's {place} is whole, and here it is missing,"
            f" read-only or partly covered, as in a container without privileges: change that (in the container:"
            f" --privileged, or --security-opt systempaths=unconfined), or bind-mount {place} instead")


def no_pivot() -> str:
    """Why pivot_root(2) refuses the present root directory."""
    return "the root directory is that of a ramdisk (initramfs), which cannot be exchanged: give pyruntime --no-pivot"


def no_mount_point() -> str:
    """Why the mounts of the present root directory cannot be changed (EINVAL)."""
    return ("the root directory is that of a chroot, and not a mount point: mount the directory on itself before the"
            " chroot (mount --bind DIRECTORY DIRECTORY)")


def hidden_process(pid: int) -> str:
    """Why an existing process of this user is not visible in /proc."""
    option = next((word for line in _mounts() if line[4] == "/proc" for word in line[-1].split(",")
                   if word.startswith("hidepid=")), "hidepid")
    return (f"process {pid} is hidden from user {os.geteuid()}, because /proc is mounted with {option}: mount it with"
            " hidepid=off (mount -o remount,hidepid=off /proc), or with the option gid= for a group of this user")


def _mounts() -> list[list[str]]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return [line.split() for line in reversed(file.readlines())]   # the last mount at a path is on top
