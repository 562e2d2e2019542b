"""What works on restricted hosts, and what the error says where something cannot work (docs/hosts.md)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import COMMAND
from tests.containers import PATIENCE, cgroups
from tests.hosts.integration.hosts import COMMANDS, FEW, RESTRICT, USER, USUAL, Host, Room, every

HIDDEN = f"is hidden from user {USER}, because /proc is mounted with hidepid="
SUBSET = "/proc is mounted with subset=pid, which hides all but processes: mount a whole one"
APPARMOR = 'kernel.apparmor_restrict_unprivileged_userns=1): load a profile with the rule "userns,"'
DEBIAN = "may not create user namespaces: set the sysctl kernel.unprivileged_userns_clone to 1"
FORBIDDEN = "user namespaces are forbidden here: in a chroot"
PARTLY = "here it is missing, read-only or partly covered, as in a container without privileges"
CGROUPS = "no cgroup filesystem is mounted: mount one below /sys/fs/cgroup"
READ_ONLY_CGROUPS = "the cgroups are mounted read-only, as in a container without privileges"
FULL = "No space left on device"
CHROOT = "the root directory is that of a chroot, and not a mount point: mount the directory on itself"
RAMDISK = "ramdisk (initramfs), which cannot be exchanged: give pyruntime --no-pivot"
NO_MEMFD = "vm.memfd_noexec=2 does not allow the stub to be executed from memory, and no directory can hold"

if COMMAND.is_relative_to("/tmp") or COMMAND.is_relative_to("/run"):
    pytest.skip(f"each of these hosts has a /tmp and a /run of its own, which cover {COMMAND}: test another checkout",
                allow_module_level=True)

MAKE_USERS_DIRECTORY = "mkdir -p -m 755 /run/user; mkdir -m 700 /run/user/$uid; chown $uid /run/user/$uid"
NOEXEC = f"""
for place in /tmp /run /dev/shm /var/tmp; do mount -t tmpfs -o mode=1777,noexec tmpfs $place; done
# A checkout that is there is still on its own filesystem.
test -e "$top" || {{ mkdir -p "$top"; mount --bind "/mnt/hidden$top" "$top"; }}
{MAKE_USERS_DIRECTORY}
"""
# Without the files that a kernel with this sysctl has, the message would not name it.
SYSCTL = """
mkdir -p /mnt/hidden/kernel
mount -t tmpfs tmpfs /mnt/hidden/kernel
for name in cap_last_cap overflowuid overflowgid pid_max random osrelease; do
    cp -r /proc/sys/kernel/$name /mnt/hidden/kernel 2>/dev/null || :
done
echo {value} >/mnt/hidden/kernel/{name}
mount --bind /mnt/hidden/kernel /proc/sys/kernel
"""
RESTRICTED = SYSCTL.format(name="apparmor_restrict_unprivileged_userns", value=1)
DEVICES = """
mkdir -p /mnt/hidden/dev; mount --rbind /dev /mnt/hidden/dev
mount -t tmpfs -o mode=755 tmpfs /dev
for name in null zero full random urandom tty ptmx; do cp -a /mnt/hidden/dev/$name /dev; done
ln -s /proc/self/fd /dev/fd
"""
# seccomp imitates what AppArmor does. With Ubuntu's profile unprivileged_userns, a new user namespace has no
# capabilities; without that profile there is none.
MOUNTING = ("mount", "umount2", "open_tree", "move_mount", "fsopen", "fsmount", "mount_setattr", "pivot_root")
NEW_USER = "0x10000000"   # sched.h: CLONE_NEWUSER
NO_CAPABILITIES = " ".join((RESTRICT, *(f"{name}=EACCES" for name in MOUNTING), "setns=EPERM", "sethostname=EPERM",
                            f"unshare=EPERM/{NEW_USER}/0", "--"))


def no_namespace(error: str) -> str:
    return (f"{RESTRICT} unshare={error}/{NEW_USER}/{NEW_USER} clone={error}/{NEW_USER}/{NEW_USER} clone3=ENOSYS --")


HOSTS = (
    Host("nothing", commands=(*USUAL, "detached")),
    Host("hidepid=1", "mount -o remount,hidepid=1 /proc", user=every(HIDDEN, "run", "life")),
    Host("hidepid=2", "mount -o remount,hidepid=2 /proc", user=every(HIDDEN, "run", "life"),
         commands=(*USUAL, "detached")),
    Host("subset=pid", "mount -t proc -o subset=pid proc /proc", root=every(SUBSET, "pocker", "sandbox"),
         user=every(SUBSET, "pocker", "sandbox"), commands=("run", "life", "pocker", "sandbox")),
    Host("no /proc", "umount -l /proc; umount -l /proc || :", root=every("mount procfs on /proc"),
         user=every("mount procfs on /proc"), commands=FEW),
    Host("read-only /proc/sys", "mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys",
         root=every("a mount covers /proc/sys", "pocker"),
         user=every(PARTLY, "run", "life", "pocker", "build", "sandbox")),
    Host("read-only /", "mount -o remount,bind,ro /"),
    Host("read-only / and /tmp", "mount -o remount,ro /tmp; mount -o remount,bind,ro /", commands=FEW),
    Host("a store on a read-only /", "mount -o remount,bind,ro /; export PYRUNTIME_STORE=/usr/none",
         root=every("name another store with PYRUNTIME_STORE: Read-only file system"),
         user=every("name another store with PYRUNTIME_STORE: Read-only file system"), commands=("unpack", "pocker")),
    Host("noexec", NOEXEC),
    Host("vm.memfd_noexec=1", "echo 1 >/proc/sys/vm/memfd_noexec", commands=(*USUAL, "detached")),
    Host("vm.memfd_noexec=2", "echo 2 >/proc/sys/vm/memfd_noexec", commands=(*USUAL, "detached")),
    Host("vm.memfd_noexec=2 and noexec", NOEXEC + "echo 2 >/proc/sys/vm/memfd_noexec"),
    Host("vm.memfd_noexec=2, noexec, no home", NOEXEC + "echo 2 >/proc/sys/vm/memfd_noexec; export HOME=/run",
         root=None, user=every(NO_MEMFD), commands=("run",)),
    Host("user.max_user_namespaces=0", "echo 0 >/proc/sys/user/max_user_namespaces", root=None, namespace=True,
         user=every("user.max_user_namespaces=0 allows no more user namespaces: raise it")),
    Host("AppArmor: no capabilities", RESTRICTED, root=None, user=every(APPARMOR), wrap=NO_CAPABILITIES),
    Host("AppArmor: no namespace", RESTRICTED, root=None, user=every(APPARMOR), wrap=no_namespace("EACCES")),
    Host("kernel.unprivileged_userns_clone=0", SYSCTL.format(name="unprivileged_userns_clone", value=0), root=None,
         user=every(DEBIAN), wrap=no_namespace("EPERM")),
    Host("user namespaces forbidden", root=None, user=every(FORBIDDEN), wrap=no_namespace("EPERM")),
    Host("no /dev/net/tun", "mount -t tmpfs tmpfs /dev/net", root=None, commands=("run", "network"),
         user=every("/dev/net/tun does not exist: load the kernel's module tun", "network")),
    Host("no /dev/fuse", DEVICES + "mkdir /dev/pts /dev/shm; mount -t devpts devpts /dev/pts", commands=FEW),
    Host("no /dev/shm", DEVICES + "mkdir /dev/pts; mount -t devpts devpts /dev/pts"),
    Host("read-only /sys", "for place in $(cut -d' ' -f5 /proc/self/mountinfo | grep ^/sys | sort -u); do"
         " mount -o remount,bind,ro $place; done", root=every(READ_ONLY_CGROUPS, "run", "life", "pocker", "build"),
         user=every(PARTLY, "pocker", "build", "sandbox")),
    Host("no /sys", "umount -l /sys", root=every(CGROUPS, "run", "life", "pocker", "build"),
         user={**every(CGROUPS, "run", "life", "pocker", "build"), "sandbox": PARTLY}),
    Host("no cgroups", "umount -l /sys/fs/cgroup", root=every(CGROUPS, "run", "life", "pocker", "build"),
         user=every(CGROUPS, "run", "life", "pocker", "build")),
    Host("a full /run", f"mount -t tmpfs -o size=64k,mode=755 tmpfs /run; {MAKE_USERS_DIRECTORY};"
         " dd if=/dev/zero of=/run/fill bs=1k count=100 2>/dev/null || :",
         root=every(FULL, "run", "life", "pocker", "build", "sandbox"),
         user=every(FULL, "run", "life", "pocker", "build", "sandbox")),
    Host("a /run of 64k", f"mount -t tmpfs -o size=64k,mode=755 tmpfs /run; {MAKE_USERS_DIRECTORY}",
         commands=("run", "life", "pocker")),
    Host("no inodes in /run", f"mount -t tmpfs -o nr_inodes=4,mode=755 tmpfs /run; {MAKE_USERS_DIRECTORY}",
         root=every(FULL, "run", "life", "pocker", "build", "sandbox"),
         user=every(FULL, "run", "life", "pocker", "build", "sandbox")),
    Host("a full /tmp", "mount -t tmpfs -o size=64k,mode=1777 tmpfs /tmp;"
         " dd if=/dev/zero of=/tmp/fill bs=1k count=100 2>/dev/null || :", commands=FEW),
    Host("RLIMIT_NPROC", root=None, limit="prlimit --nproc=1", commands=("run", "pocker", "unpack"),
         user=every("no more processes may be created: raise the limit")),
    Host("RLIMIT_NOFILE of 16", user=None, limit="prlimit --nofile=16", commands=("run",),
         root=every("no more than 16 descriptors may be open: raise the limit")),
    Host("RLIMIT_NOFILE of 24", limit="prlimit --nofile=24",
         root=every("Too many open files", "build"), user=every("Too many open files", "build"),
         commands=("run", "life", "pocker", "detached", "build", "unpack")),
    Host("no passwd", ": >/mnt/hidden/empty; mount --bind /mnt/hidden/empty /etc/passwd"),
    Host("no HOME", "unset HOME", commands=FEW),
    Host("no TMPDIR", "export TMPDIR=/nonexistent", commands=FEW),
    Host("a chroot", """
mkdir -p /run/new
for place in bin sbin lib lib64 usr etc proc sys dev root mnt tmp var "$top"; do
    place=${place#/}
    if test -L /$place; then cp -a /$place /run/new/; continue; fi
    mkdir -p /run/new/$place
    mount --rbind /$place /run/new/$place
done
mkdir -p /run/new/run/user/$uid; chown $uid /run/new/run/user/$uid""", wrap="chroot /run/new",
         root=every(CHROOT, "run", "life", "pocker", "build", "sandbox"), user=every(FORBIDDEN)),
    Host("a ramdisk", wrap=f"{RESTRICT} pivot_root=EINVAL --", root=every(RAMDISK, "run", "pocker", "sandbox"),
         user=every(RAMDISK, "run", "pocker", "sandbox"), commands=("run", "no-pivot", "pocker", "sandbox")),
)
ROWS = [pytest.param(host, user, id=f"{host.name}, {'user' if user else 'root'}") for host in HOSTS
        for user in (False, True) if (host.user if user else host.root) is not None]


@pytest.fixture(scope="session")
def room() -> Iterator[Room]:
    with tempfile.TemporaryDirectory(prefix="pyruntime-hosts-") as name:
        yield Room(Path(name))


@pytest.mark.parametrize(("host", "user"), ROWS)
def test_a_restricted_host(room: Room, host: Host, *, user: bool) -> None:
    before, builds = cgroups(), set(Path("/sys/fs/cgroup").glob("*/pocker-build.*"))
    expected = (host.user if user else host.root) or {}
    assert set(expected) <= set(host.commands) | set(USUAL)
    wrong = []
    for command, done in zip(host.commands, room.run(host, [COMMANDS[name] for name in host.commands], user=user),
                             strict=True):
        words = expected.get(command)
        if words is None:
            right = (done.status, done.out) == (0, "fine\n")
        else:
            right = done.status != 0 and words in done.err and "Traceback" not in done.err
        if not right or done.left:
            wrong.append(f"{command}: {done}, expected {words or 'fine'}")
    left = set(Path("/sys/fs/cgroup").glob("*/pocker-build.*")) - builds
    assert not wrong, "\n".join(wrong)
    assert cgroups() <= before
    deadline = time.monotonic() + PATIENCE   # builds of tests that run beside this one end
    while left := {cgroup for cgroup in left if cgroup.exists()}:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
