/* Loading the filter. Only execve follows, so the filter need not allow our own set-up calls. */
#define _GNU_SOURCE
#include "stub.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

struct messenger {
	atomic_int listener; /* -1 until the filter is loaded, -2 when loading failed */
	atomic_int done;     /* 1 sent, otherwise the negated errno */
	int sock;
	char *message;
	size_t size;
};

/* Sends the listener to the agent. A thread, created before the filter is loaded: it is not filtered, so a profile that
 * notifies of sendmsg(2) cannot cause a deadlock, and execve(2) ends it without leaving a zombie to the program. It
 * shares errno with the main thread, which makes no system call meanwhile. */
static int messenger(void *arg)
{
	struct messenger *m = arg;
	struct timespec pause = {0, 50000};
	int fd;
	while ((fd = atomic_load(&m->listener)) == -1)
		syscall(SYS_nanosleep, &pause, NULL);
	if (fd >= 0)
		atomic_store(&m->done, send_with_fd(m->sock, m->message, m->size, fd) ? -errno : 1);
	syscall(SYS_exit, 0);
	return 0;
}

int do_seccomp(struct stub *s, const struct step_seccomp *a)
{
	struct sock_fprog prog = {(unsigned short)(a->program.size / sizeof(struct sock_filter)),
				  (struct sock_filter *)(void *)a->program.data};
	if (a->listener == NO_SLOT) {
		if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, (unsigned)a->flags, &prog))
			return fail(s, "seccomp", "flags %#x, %u instructions", (unsigned)a->flags, prog.len);
		return 0;
	}
	static struct messenger m = {.listener = -1};
	static char stack[16384] __attribute__((aligned(16)));
	m.sock = get_slot(s, a->listener);
	if (m.sock < 0)
		return -1;
	size_t room_needed = 1;
	FOR_EACH_STR(some, a->message)
	room_needed += strlen(some) + sizeof s->pid;
	m.message = xcalloc(room_needed);
	if (!m.message)
		return fail(s, "mmap", "state for the listener");
	FOR_EACH_STR(part, a->message)
	{
		size_t size = strlen(part), digits = part_left > 1 ? strlen(s->pid) : 0;
		memcpy(m.message + m.size, part, size);
		memcpy(m.message + m.size + size, s->pid, digits);
		m.size += size + digits;
	}
	if (clone(messenger, stack + sizeof stack,
		  CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, &m) < 0)
		return fail(s, "clone", "listener messenger");
	long fd =
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, (unsigned)a->flags | SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
	if (fd < 0) {
		int err = errno;
		atomic_store(&m.listener, -2);
		errno = err;
		return fail(s, "seccomp", "flags %#x with a listener, %u instructions", (unsigned)a->flags, prog.len);
	}
	atomic_store(&m.listener, (int)fd);
	while (!atomic_load(&m.done))
		__asm__ volatile("" ::: "memory"); /* no system call: the filter may forbid it */
	if (m.done < 0)
		return fail_with(s, -m.done, "sendmsg", "listener to linux.seccomp.listenerPath");
	return 0;
}
