/* Namespaces: join them, create them, and create init. */
#define _GNU_SOURCE
#include "stub.h"
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

int do_sync(struct stub *s, const struct step_sync *a)
{
	(void)a;
	return send_report(s, REPORT_SYNC, 0) ? -1 : await_go(s);
}

/* Whether a namespace is the runtime's own. */
static bool own_namespace(struct stub *s, int fd, int kind)
{
	static const struct {
		int kind;
		const char *path;
	} files[] = {{CLONE_NEWNET, "self/ns/net"},
		     {CLONE_NEWIPC, "self/ns/ipc"},
		     {CLONE_NEWUTS, "self/ns/uts"},
		     {CLONE_NEWUSER, "self/ns/user"}};
	struct stat theirs, ours;
	for (size_t i = 0; i < countof(files); i++)
		if (files[i].kind == kind)
			return fstat(fd, &theirs) || fstatat(s->proc, files[i].path, &ours, 0) ||
			       (theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino);
	return false;
}

int do_open_namespace(struct stub *s, const struct step_open_namespace *a)
{
	int fd = open(a->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(s, "open", "%s", a->path);
	int kind = ioctl(fd, NS_GET_NSTYPE);
	if (kind < 0) {
		fail_with(s, errno == ENOTTY ? EINVAL : errno, "ioctl", "%s is not a namespace", a->path);
		close(fd);
		return -1;
	}
	if (kind != a->kind) {
		close(fd);
		return fail_with(s, EINVAL, "ioctl", "%s is a namespace of another type", a->path);
	}
	if (*a->foreign && own_namespace(s, fd, kind)) {
		close(fd);
		return fail_with(s, EPERM, "foreign", "%s is not allowed: %s is the host's own namespace", a->foreign,
				 a->path);
	}
	return put_slot(s, a->slot, fd);
}

int do_open_file(struct stub *s, const struct step_open_file *a)
{
	int fd = open(a->path, O_WRONLY | O_CLOEXEC);
	return fd < 0 ? fail(s, "open", "%s", a->path) : put_slot(s, a->slot, fd);
}

int do_open_cgroup(struct stub *s, const struct step_open_cgroup *a)
{
	/* A child has it open until it closes it: by ".." a directory would lead to the cgroups of the host, a mount of
	 * its own leads nowhere, and nothing in it can be written. */
	int fd = sys_open_tree(AT_FDCWD, a->path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd < 0)
		return fail(s, "open_tree", "%s", a->path);
	if (set_attr(fd, 0, MOUNT_ATTR_RDONLY, 0, 0)) {
		close(fd);
		return fail(s, "mount_setattr", "%s", a->path);
	}
	return put_slot(s, a->slot, fd);
}

int do_setns(struct stub *s, const struct step_setns *a)
{
	int fd = get_slot(s, a->slot);
	if (fd < 0)
		return -1;
	if (setns(fd, (int)a->kind)) {
		/* A namespace owned by a user namespace that is joined later requires capabilities that we do not have
		 * yet.
		 */
		if (errno != EPERM || a->kind == CLONE_NEWUSER || s->deferred == (int)countof(s->defer))
			return fail(s, "setns", "%s", "namespace");
		s->slot[a->slot] = -1;
		s->defer[s->deferred].fd = fd;
		s->defer[s->deferred++].kind = (int)a->kind;
		return 0;
	}
	close(fd);
	s->slot[a->slot] = -1;
	if (a->kind == CLONE_NEWPID)
		s->pids = -1;
	if (a->kind == CLONE_NEWUSER) {
		for (int i = 0; i < s->deferred; i++) {
			if (setns(s->defer[i].fd, s->defer[i].kind))
				return fail(s, "setns", "namespace, after joining the user namespace");
			close(s->defer[i].fd);
		}
		s->deferred = 0;
	}
	return 0;
}

int do_hold_pids(struct stub *s, const struct step_hold_pids *a)
{
	s->pids = get_slot(s, a->slot);
	return s->pids < 0 ? -1 : 0;
}

int do_join_container(struct stub *s, const struct step_join_container *a)
{
	int fd = get_slot(s, a->slot);
	if (fd < 0)
		return -1;
	/* One call for all: the kernel checks each namespace with the capabilities in the user namespace that is joined
	 * by the same call, so namespaces of the container and of the host need no order. */
	if (setns(fd, (int)a->flags))
		return fail(s, "setns", "flags %#llx", (unsigned long long)a->flags);
	close(fd);
	s->slot[a->slot] = -1;
	return 0;
}

int do_enter_root(struct stub *s, const struct step_enter_root *a)
{
	/* setns(2) has moved us to the root of the mount namespace: the root and working directories of the container's
	 * processes do not matter (CVE-2016-9962). */
	if (a->slot != NO_SLOT) {
		int fd = get_slot(s, a->slot);
		if (fd < 0)
			return -1;
		if (fchdir(fd) || chroot("."))
			return fail(s, "chroot", "root of the container's init");
		close(fd);
		s->slot[a->slot] = -1;
	}
	if (chdir("/"))
		return fail(s, "chdir", "/");
	s->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return s->root < 0 ? fail(s, "open", "/") : 0;
}

int do_cpu_affinity(struct stub *s, const struct step_cpu_affinity *a)
{
	unsigned char every[1024]; /* the kernel ignores CPUs that the host does not have */
	memset(every, 0xff, sizeof every);
	size_t size = a->mask.size ? a->mask.size : sizeof every;
	return syscall(SYS_sched_setaffinity, 0, size, a->mask.size ? a->mask.data : every) < 0
		   ? fail(s, "sched_setaffinity", "%s", "")
		   : 0;
}

int do_unshare(struct stub *s, const struct step_unshare *a)
{
	if (s->deferred)
		return fail_with(s, EPERM, "setns", "namespace");
	return unshare((int)a->flags) ? fail(s, "unshare", "flags %#llx", (unsigned long long)a->flags) : 0;
}

int do_become_root(struct stub *s, const struct step_become_root *a)
{
	(void)a;
	/* A gid or uid that the namespace does not map stays the overflow ID: files would be owned by the user nobody.
	 */
	if (syscall(SYS_setresgid, 0, 0, 0))
		return fail(s, "setresgid", "0");
	if (syscall(SYS_setresuid, 0, 0, 0))
		return fail(s, "setresuid", "0");
	return 0;
}

int do_set_dumpable(struct stub *s, const struct step_set_dumpable *a)
{
	return prctl(PR_SET_DUMPABLE, a->value, 0, 0, 0) ? fail(s, "prctl", "PR_SET_DUMPABLE") : 0;
}

static long clone_into(struct stub *s, int64_t slot, uint64_t flags, int *named)
{
	int fd = get_slot(s, slot);
	if (fd < 0)
		return -1;
	struct clone_args args = {.flags = flags | CLONE_PARENT | CLONE_PARENT_SETTID | CLONE_INTO_CGROUP,
				  .parent_tid = (uint64_t)(uintptr_t)named,
				  .cgroup = (uint64_t)fd};
	/* A child of our parent (CLONE_PARENT) has our own exit signal, SIGCHLD; clone3(2) refuses another one. */
	long pid = syscall(SYS_clone3, &args, sizeof args);
	if (pid >= 0) {
		close(fd);
		s->slot[slot] = -1;
	}
	return pid;
}

int do_clone_init(struct stub *s, const struct step_clone_init *a)
{
	if (s->deferred)
		return fail_with(s, EPERM, "setns", "namespace");
	/* The kernel writes init's pid on the host here before init runs. */
	int *named = mmap(NULL, sizeof *named, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (named == MAP_FAILED)
		return fail(s, "mmap", "%s", "");
	/* CLONE_PARENT: the process that waits for containers (the runtime, then containerd's shim or conmon) must be
	 * able to wait for init; a child of the stub would be reparented inside the pid namespace when the stub exits.
	 */
	long pid = -1;
	/* Refused if the cgroup accepts no processes, or if a seccomp filter of our caller does not allow clone3(2):
	 * then the parent moves us. */
	if (a->cgroup != NO_SLOT)
		pid = clone_into(s, a->cgroup, (uint64_t)a->flags, named);
	if (pid < 0)
		pid = syscall(SYS_clone, (unsigned long)a->flags | CLONE_PARENT | CLONE_PARENT_SETTID | SIGCHLD, 0,
			      named, 0, 0);
	if (pid < 0)
		return fail(s, "clone", "flags %#llx", (unsigned long long)a->flags);
	if (pid > 0) {
		send_report(s, REPORT_CLONED, (int)pid);
		_exit(0);
	}
	snprintf(s->pid, sizeof s->pid, "%d", *named);
	munmap(named, sizeof *named);
	return 0;
}

int do_leave_parent(struct stub *s, const struct step_leave_parent *a)
{
	(void)a;
	/* The runtime is outside the pid namespace: its child could not become a child of init, but a grandchild whose
	 * parent is inside, and exits. */
	pid_t pid = fork();
	if (pid < 0)
		return fail(s, "fork", "%s", "");
	if (pid > 0)
		_exit(0);
	return 0;
}

int do_setsid(struct stub *s, const struct step_setsid *a)
{
	(void)a;
	/* EPERM: a process group leader already; a new child never is one. */
	return setsid() < 0 ? fail(s, "setsid", "%s", "") : 0;
}

int do_loopback_up(struct stub *s, const struct step_loopback_up *a)
{
	(void)a;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail(s, "socket", "AF_INET");
	struct ifreq r = {.ifr_name = "lo"};
	int rc = ioctl(fd, SIOCGIFFLAGS, &r);
	if (!rc) {
		r.ifr_flags |= IFF_UP | IFF_RUNNING;
		rc = ioctl(fd, SIOCSIFFLAGS, &r);
	}
	if (rc)
		fail(s, "ioctl", "lo");
	close(fd);
	return rc;
}

int do_set_hostname(struct stub *s, const struct step_set_hostname *a)
{
	return sethostname(a->name, strlen(a->name)) ? fail(s, "sethostname", "%s", a->name) : 0;
}

int do_set_domainname(struct stub *s, const struct step_set_domainname *a)
{
	return setdomainname(a->name, strlen(a->name)) ? fail(s, "setdomainname", "%s", a->name) : 0;
}

static int enter_cgroups(struct stub *s, struct blob slots)
{
	for (uint32_t i = 0; i < slots.size; i++) {
		int fd = get_slot(s, slots.data[i]);
		if (fd < 0)
			return -1;
		/* "0" is the writer itself: to move one thread, the kernel need not block every fork on the host. */
		if (write(fd, "0", 1) != 1)
			return fail(s, "write", "0 to the cgroup's list of tasks");
		close(fd);
		s->slot[slots.data[i]] = -1;
	}
	return 0;
}

int do_join_cgroup_self(struct stub *s, const struct step_join_cgroup_self *a)
{
	return enter_cgroups(s, a->slots);
}

struct cgroup_helper {
	struct stub *s;
	struct blob slots;
	int fd;
};

static int cgroup_helper(void *arg)
{
	struct cgroup_helper *h = arg;
	for (uint32_t i = 0; i < h->slots.size; i++) {
		/* Rootless: a hierarchy that the user may not write was left out. */
		struct blob one = {1, h->slots.data + i};
		if (h->s->slot[*one.data] >= 0 && enter_cgroups(h->s, one))
			return 1;
	}
	if (unshare(CLONE_NEWCGROUP)) {
		fail(h->s, "unshare", "CLONE_NEWCGROUP");
		return 1;
	}
	h->fd = openat(h->s->proc, "self/ns/cgroup", O_RDONLY | O_CLOEXEC);
	if (h->fd < 0) {
		fail(h->s, "openat", "/proc/self/ns/cgroup");
		return 1;
	}
	return 0;
}

int do_cgroup_namespace(struct stub *s, const struct step_cgroup_namespace *a)
{
	/* The root of a cgroup namespace is the cgroup of the process that creates it. Init itself enters the cgroup
	 * last, so that the memory of the set-up is not charged to the container: a helper that shares our memory and
	 * descriptors enters the cgroup, creates the namespace, and exits. */
	static char stack[16384] __attribute__((aligned(16)));
	struct cgroup_helper h = {s, a->slots, -1};
	int pid = clone(cgroup_helper, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, &h);
	if (pid < 0)
		return fail(s, "clone", "cgroup namespace helper");
	int status;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status || h.fd < 0)
		return -1;
	int rc = setns(h.fd, CLONE_NEWCGROUP);
	if (rc)
		fail(s, "setns", "cgroup namespace");
	close(h.fd);
	return rc;
}
