"""Builds ``pyruntime.native._kernel``: system calls that Python lacks, bound by cffi in API mode.

Named in setup.py's ``cffi_modules``; ``python pyruntime/native/build_kernel.py`` builds it in place.
"""

from __future__ import annotations

import os

from cffi import FFI

ffibuilder = FFI()
ffibuilder.cdef("""
    int k_open_tree(int dirfd, const char *path, unsigned int flags);
    int k_mount_idmap(int tree, int userns, int recursive);
    int k_user_namespace_process(void);
    int k_setns(int fd, int nstype);
    int k_become_subreaper(void);
    int k_set_fs_ids(unsigned int uid, unsigned int gid);
    int k_bpf_prog_load(const void *insns, size_t size, const char *license, char *log, size_t log_size);
    int k_bpf_prog_attach(int target, int prog, unsigned int flags);
    int k_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
    int k_fsopen(const char *type);
    int k_fsconfig(int fs, unsigned int command, const char *key, const char *value);
    int k_fsmount(int fs, unsigned int attributes);
    int k_move_mount(int mount, const char *target);
    int k_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data);
    int k_umount2(const char *target, int flags);
    int k_syncfs(int fd);
    int k_unshare(int flags);
    ssize_t k_tee(int from, int to, size_t length);
    int snapshot_take(int fd, char **sources, int usable, int64_t began, const char *touched, size_t touched_size);
    const char *snapshot_problem(void);
    int snapshot_is_current(int fd);
    char **snapshot_arguments(void);
    char **snapshot_environment(void);
    uint64_t snapshot_ignored(void);
    #define FSCONFIG_SET_FLAG ...
    #define FSCONFIG_SET_STRING ...
    #define FSCONFIG_CMD_CREATE ...
    #define OPEN_TREE_CLONE ...
    #define AT_RECURSIVE ...
""")
ffibuilder.set_source("pyruntime.native._kernel", r"""
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/bpf.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/securebits.h>
#include "pyruntime/native/snapshot/take.h"
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

static int k_open_tree(int dirfd, const char *path, unsigned int flags)
{
    return syscall(SYS_open_tree, dirfd, path, flags | OPEN_TREE_CLOEXEC);
}

static int k_mount_idmap(int tree, int userns, int recursive)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = userns};
    return syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr, sizeof attr);
}

/* A child in a new user namespace that waits to be killed. vfork semantics are impossible here (it must live on), and
   fork would copy the interpreter's threads' locks: the child calls nothing but the kernel. */
static int k_user_namespace_process(void)
{
    pid_t parent = getpid();
    long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        /* Not to outlive a runtime that is killed, be it before the next line. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (getppid() == parent)
            pause();
        _exit(0);
    }
    return pid;
}

static int k_setns(int fd, int nstype)
{
    return setns(fd, nstype);
}

static int k_become_subreaper(void)
{
    return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

static int k_set_fs_ids(unsigned int uid, unsigned int gid)
{
    /* Without the bit, who was root for files would lose his capabilities over them (capabilities(7)). */
    int bits = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);
    if (bits < 0 || prctl(PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP, 0, 0, 0) < 0)
        return -1;
    setfsgid(gid);
    setfsuid(uid);
    /* They return the old ID and report no error: an invalid ID changes nothing. */
    if ((unsigned int)setfsuid(-1) != uid || (unsigned int)setfsgid(-1) != gid) {
        errno = EINVAL;
        return -1;
    }
    return prctl(PR_SET_SECUREBITS, bits, 0, 0, 0);
}

static int k_bpf_prog_load(const void *insns, size_t size, const char *license, char *log, size_t log_size)
{
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attr.insns = (uintptr_t)insns;
    attr.insn_cnt = size / 8;
    attr.license = (uintptr_t)license;
    attr.log_buf = log_size ? (uintptr_t)log : 0;
    attr.log_size = log_size;
    attr.log_level = log_size ? 1 : 0;
    return syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
}

static int k_bpf_prog_attach(int target, int prog, unsigned int flags)
{
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.target_fd = target;
    attr.attach_bpf_fd = prog;
    attr.attach_type = BPF_CGROUP_DEVICE;
    attr.attach_flags = flags;
    return syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof attr);
}

static int k_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
    struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
    return syscall(SYS_openat2, dirfd, path, &how, sizeof how);
}

static int k_fsopen(const char *type)
{
    return syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
}

static int k_fsconfig(int fs, unsigned int command, const char *key, const char *value)
{
    return syscall(SYS_fsconfig, fs, command, key, value, 0);
}

static int k_fsmount(int fs, unsigned int attributes)
{
    return syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes);
}

static int k_move_mount(int mount, const char *target)
{
    return syscall(SYS_move_mount, mount, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
}

/* The calls of old: <sys/mount.h> and <linux/mount.h> do not go together. */
static int k_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)
{
    return syscall(SYS_mount, source, target, type, flags, data);
}

static int k_umount2(const char *target, int flags)
{
    return syscall(SYS_umount2, target, flags);
}

static int k_syncfs(int fd)
{
    return syncfs(fd);
}

static int k_unshare(int flags)
{
    return unshare(flags);
}

static ssize_t k_tee(int from, int to, size_t length)
{
    return tee(from, to, length, SPLICE_F_NONBLOCK);
}
""", sources=["pyruntime/native/snapshot/take.c", "pyruntime/native/snapshot/fits.c"], include_dirs=["."],
                      extra_compile_args=[f"@{os.path.dirname(os.path.abspath(__file__))}/cflags",
                                          "-Wno-unused-parameter", "-Wno-sign-compare", "-D_GNU_SOURCE"])

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
