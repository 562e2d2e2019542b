/* pyruntime's stub: reads a plan, verifies all of it, executes it. See stub.h.
 *
 * Each step of the plan is a function do_NAME in the file of its subject (mounts.c, process.c, seccomp.c, ...). The
 * steps come from pyruntime/runtime/compiler/, their order from pyruntime/runtime/plan/phases.py.
 *
 *     pyruntime-init fds=FD slots=NUMBER   (pyruntime/runtime/lifecycle/launch.py)
 *
 *   FD         the control socket (SOCK_SEQPACKET) to the parent
 *   FD + 1     the plan, a sealed memfd
 *   FD + 2...  the descriptors of slot 0, 1, ...: NUMBER of them
 *
 *     pyruntime-init hold=1   wait for the end of standard input, and keep namespaces open until then */
#define _GNU_SOURCE
#include "stub.h"
#include "../arguments/arguments.h"
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

static int dispatch(struct stub *s, unsigned op, const union step *step)
{
	switch (op) {
#define CASE(name)      \
	case OP_##name: \
		return do_##name(s, &step->name);
		FOR_EACH_OP(CASE)
	}
	return fail_with(s, ENOSYS, "dispatch", "operation %u", op);
}

static bool tolerated(const struct record *r, int err)
{
	for (size_t i = 0; i < sizeof r->tolerate; i++)
		if (err && r->tolerate[i] == err)
			return true;
	return false;
}

/* As if killed: the init process of a pid namespace ignores SIGKILL from itself. */
static void die(void)
{
	raise(SIGKILL);
	_exit(128 + SIGKILL);
}

static int run(struct stub *s, const struct plan *plan)
{
	union step step;
	const struct record *r;
	for (uint32_t offset = 0; (r = plan_next(plan, &offset, &step));) {
		s->index = r->index;
		s->err = 0;
		if (r->fault == FAULT_KILL)
			die();
		if (r->fault == FAULT_KILL_PARENT && s->control >= 0)
			send_report(s, REPORT_FAULT, 0);
		if (r->fault == FAULT_FAIL)
			return fail_with(s, EIO, op_name(r->op), "injected fault");
		if (dispatch(s, r->op, &step) && !tolerated(r, s->err))
			return -1;
		if (r->fault == FAULT_KILL_AFTER)
			die();
	}
	return fail_with(s, EPROTO, "plan", "it ends without execve");
}

static void reset_signals(void)
{
	/* The runtime's caller may ignore or block signals; both would survive execve(2). The system call itself: libc
	 * keeps 32 to 34 to itself, and posix_spawn(3) of glibc ignores two of them in its child. */
	static const unsigned long by_default[4]; /* struct sigaction of the kernel: SIG_DFL is 0 */
	for (int sig = 1; sig < 65; sig++)
		syscall(SYS_rt_sigaction, sig, by_default, NULL, 8);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* systemd creates no scope without a process (StartTransientUnit, PIDs=), and init enters its cgroup late: this process
 * holds the place. It exits when the other end of the pipe on descriptor 0 is closed, so it cannot outlive the runtime.
 */
static int hold(void)
{
	char byte;
	setsid(); /* it must not get the terminal's signals */
	prctl(PR_SET_NAME, "pyruntime:hold");
	reset_signals();
	syscall(SYS_close_range, 1u, ~0u, 0);
	while (read(0, &byte, 1) < 0 && errno == EINTR)
		;
	return 0;
}

int main(int argc __attribute__((unused)), char **argv)
{
	static struct stub s = {.control = -1, .proc = -1, .pids = -1, .root = -1, .null_dir = -1};
	for (size_t i = 0; i < SLOTS; i++)
		s.slot[i] = -1;
	enum { HOLD, FDS, COUNT, OPTIONS };
	static const char *const names[OPTIONS] = {"hold", "fds", "slots"};
	long long option[OPTIONS];
	if (!parse_arguments(argv, names, option, OPTIONS))
		return refuse_arguments("pyruntime");
	if (option[HOLD] >= 0)
		return hold();
	if (option[FDS] < 3 || option[FDS] > 1 << 20 || option[COUNT] < 0 || option[COUNT] > SLOTS)
		return refuse_arguments("pyruntime");
	int base = (int)option[FDS], slots = (int)option[COUNT];
	/* Otherwise our own descriptors would take the numbers of standard streams that our caller closed. */
	for (int fd; (fd = open("/dev/null", O_RDWR)) >= 0;)
		if (fd > 2) {
			close(fd);
			break;
		}
	prctl(PR_SET_NAME, "pyruntime:init");
	reset_signals();
	/* CLOEXEC on our own descriptors; those beyond them leaked in from our caller's caller. */
	syscall(SYS_close_range, (unsigned)(base + 2 + slots), ~0u, 0);
	syscall(SYS_close_range, (unsigned)base, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */);
	s.control = base;
	for (int i = 0; i < slots; i++)
		s.slot[i] = base + 2 + i;

	struct plan plan;
	struct stat st;
	const char *why = "plan: cannot be mapped";
	int need = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	void *data = MAP_FAILED;
	if ((fcntl(base + 1, F_GET_SEALS) & need) != need)
		why = "plan: not sealed";
	else if (!fstat(base + 1, &st) && st.st_size > 0)
		data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, base + 1, 0);
	if (data == MAP_FAILED || plan_verify(data, (size_t)st.st_size, &plan, &why)) {
		fail_with(&s, EPROTO, "plan", "%s", why);
		goto failed;
	}
	close(base + 1);

	struct statfs fs;
	s.proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s.proc < 0 || fstatfs(s.proc, &fs) || fs.f_type != PROC_SUPER_MAGIC) {
		fail_with(&s, EXDEV, "fstatfs", "/proc is not procfs");
		goto failed;
	}
	s.umask = umask(0022);
	run(&s, &plan);
failed:
	if (s.control >= 0)
		send_report(&s, REPORT_FAILED, 0);
	return 1;
}
