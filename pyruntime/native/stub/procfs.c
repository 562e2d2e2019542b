/* A procfs of the container's own. The host's procfs is open while the stub sets up the container; in a process that
 * the container can see, no file of the host may be open (docs/decisions/0019-nothing-of-the-host-is-open.md). */
#define _GNU_SOURCE
#include "stub.h"
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#define PROC_ROOT_INO 1 /* fs/proc/internal.h */

int do_close_proc(struct stub *s, const struct step_close_proc *a)
{
	(void)a;
	close(s->proc);
	s->proc = -1;
	return 0;
}

int do_own_proc(struct stub *s, const struct step_own_proc *a)
{
	(void)a;
	static const char subset[] = "subset=pid"; /* no sys, no sysrq-trigger: the container may see this procfs */
	s->proc = new_mount(s, "proc", "proc", (struct strs){1, subset},
			    MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (s->proc >= 0)
		return 0;
	struct stat st;
	struct statfs fs;
	s->proc = open_beneath(s, "/proc", O_PATH | O_DIRECTORY);
	if (s->proc < 0)
		return fail(s, "openat2", "/proc (a label is set through the container's procfs)");
	/* The root of a procfs and nothing else: below it, open_proc crosses no mount (CVE-2019-16884). */
	if (fstatfs(s->proc, &fs) || fstat(s->proc, &st) || fs.f_type != PROC_SUPER_MAGIC || st.st_ino != PROC_ROOT_INO)
		return fail_with(s, EXDEV, "fstatfs", "the container's /proc is not procfs");
	return 0;
}

struct mounting {
	struct stub *s;
	const char *source;
	struct strs options;
	int pids, to;
};

static int run_apart(int (*function)(void *), void *arg, char *stack)
{
	/* Its memory is ours, so that it can record what failed; its descriptors, root and namespaces are its own. */
	int status = 0, pid = clone(function, stack, CLONE_VM | CLONE_VFORK | SIGCHLD, arg);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid < 0 || status ? -1 : 0;
}

static int inside(void *arg)
{
	struct mounting *m = arg;
	/* Not a mount: the container can see us, and what it opened through /proc/PID/fd would be the mount in which no
	 * file is masked or read-only yet. What fsopen(2) returns cannot be opened there. */
	int fd = new_filesystem(m->s, "proc", m->source, m->options);
	return fd < 0 || send_with_fd(m->to, "p", 1, fd) ? 1 : 0;
}

static int outside(void *arg)
{
	static char stack[16384] __attribute__((aligned(16)));
	struct mounting *m = arg;
	/* The process that enters the pid namespace has the container's root and two descriptors. */
	if (fchdir(m->s->root) || chroot("."))
		return fail(m->s, "chroot", "root of the container"), 1;
	int low = m->pids < m->to ? m->pids : m->to, high = m->pids < m->to ? m->to : m->pids;
	if ((low && syscall(SYS_close_range, 0u, (unsigned)low - 1, 0)) ||
	    (high - low > 1 && syscall(SYS_close_range, (unsigned)low + 1, (unsigned)high - 1, 0)) ||
	    syscall(SYS_close_range, (unsigned)high + 1, ~0u, 0))
		return fail(m->s, "close_range", "%s", ""), 1;
	if (setns(m->pids, CLONE_NEWPID))
		return fail(m->s, "setns", "pid namespace, to mount procfs"), 1;
	close(m->pids);
	if (run_apart(inside, m, stack + sizeof stack)) {
		if (!m->s->call)
			fail(m->s, "clone", "to mount procfs");
		return 1;
	}
	return 0;
}

/* procfs shows the pid namespace of the process that creates it: a helper enters the pid namespace, creates procfs,
 * and exits. */
int mount_proc_inside(struct stub *s, const char *source, struct strs options)
{
	static char stack[16384] __attribute__((aligned(16)));
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return fail(s, "socketpair", "%s", "");
	struct mounting m = {s, source, options, s->pids, pair[1]};
	s->call = NULL;
	int rc = run_apart(outside, &m, stack + sizeof stack);
	close(pair[1]);
	int fd = rc ? -1 : receive_fd(pair[0]);
	close(pair[0]);
	if (fd < 0 && !s->call)
		fail(s, "recvmsg", "procfs");
	return fd < 0 ? -1 : mount_filesystem(s, fd, "proc", 0);
}
