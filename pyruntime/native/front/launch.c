/* A process in a container, by a launch plan (fill.c): the parent's half, as in lifecycle/launch.py.
 * Until the process has executed its program, nothing is done that cannot be repeated. */
#define _GNU_SOURCE
#include "front.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h> /* rename */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x10U /* linux/memfd.h, Linux 6.3 */
#endif
#define MAX_SLOTS 2
#define MAX_WORDS 8

struct launch {
	int control;   /* the stub, then the process */
	pid_t stub;    /* until it has created the process */
	pid_t process; /* 0: not known yet */
	int64_t clone; /* the step that creates it */
	bool reported; /* in the pid file */
};

static struct launch launch;

struct report { /* the reports of the stub: stub/stub.h */
	uint32_t kind, index;
	int32_t err, pid;
	char rest[REPORT_SIZE - 16];
};

static int seal(int fd)
{
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)) {
		close(fd);
		return -1;
	}
	return fd;
}

static int memory(const char *name, unsigned flags)
{
	return (int)syscall(SYS_memfd_create, name, MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
}

/* A copy of the stub that a container cannot use to change the installed file (CVE-2019-5736). */
static int sealed_program(const char *path)
{
	struct stat st;
	int file = open(path, O_RDONLY | O_CLOEXEC);
	int copy = memory("pyruntime", MFD_EXEC);
	if (copy < 0 && errno == EINVAL)
		copy = memory("pyruntime", 0);
	bool whole =
	    file >= 0 && copy >= 0 && !fstat(file, &st) && sendfile(copy, file, NULL, (size_t)st.st_size) == st.st_size;
	if (file >= 0)
		close(file);
	if (whole)
		return seal(copy);
	if (copy >= 0)
		close(copy);
	return -1;
}

static int sealed_plan(struct blob plan)
{
	int fd = memory("plan", 0);
	if (fd < 0)
		return -1;
	if (write(fd, plan.data, plan.size) == (ssize_t)plan.size)
		return seal(fd);
	close(fd);
	return -1;
}

/* The descriptor for a slot: of init, or of its root directory. */
static int open_slot(struct front *f, const char *name)
{
	char path[64], digits[24];
	if (!strcmp(name, "init"))
		return fcntl(f->pidfd, F_DUPFD_CLOEXEC, 0);
	if (strcmp(name, "root") ||
	    !join(path, sizeof path, (const char *[]){"/proc/", decimal(digits, f->container.pid), "/root", NULL}))
		return -1;
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* The path may have led to another process by then. */
	if (fd >= 0 && start_time(f->container.pid) != f->container.started) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Start the stub with these descriptors from a->first on. They are parked above first, so that none is overwritten
 * before it is moved to its final number. */
static int spawn(const struct step_launch *a, int program, const int *fds, int count)
{
	posix_spawn_file_actions_t actions;
	char path[64], digits[24], *none[] = {NULL}, *argv[MAX_WORDS + 1] = {NULL};
	int first = (int)a->first, words = 0;
	if (a->arguments.count > MAX_WORDS)
		return -1;
	FOR_EACH_STR(word, a->arguments)
	argv[words++] = (char *)word;
	int parked[2 + MAX_SLOTS] = {-1, -1, -1, -1}, result = -1;
	int entry = fcntl(program, F_DUPFD_CLOEXEC, first + count);
	if (posix_spawn_file_actions_init(&actions))
		return -1;
	for (int i = 0; i < count; i++) {
		parked[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, first + count);
		if (parked[i] < 0 || posix_spawn_file_actions_adddup2(&actions, parked[i], first + i))
			goto out;
	}
	if (entry >= 0 && join(path, sizeof path, (const char *[]){"/proc/self/fd/", decimal(digits, entry), NULL}))
		result = posix_spawn(&launch.stub, path, &actions, NULL, argv, none) ? -1 : 0;
out:
	for (int i = 0; i < count; i++)
		if (parked[i] >= 0)
			close(parked[i]);
	if (entry >= 0)
		close(entry);
	posix_spawn_file_actions_destroy(&actions);
	return result;
}

int do_launch(struct front *f, const struct step_launch *a)
{
	struct blob plan;
	int pair[2], fds[2 + MAX_SLOTS] = {-1, -1, -1, -1}, count = 2, result = HAND_OVER;
	if (f->connection >= 0) { /* init serves this connection, and could not accept that of `start` */
		close(f->connection);
		f->connection = -1;
	}
	if (getenv("PYRUNTIME_FAULT") || a->slots.count > MAX_SLOTS || !filled_plan(a->header, &plan) || open_init(f) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return HAND_OVER;
	launch = (struct launch){.control = pair[0], .clone = a->clone};
	f->launch = &launch;
	fds[0] = pair[1];
	fds[1] = sealed_plan(plan);
	bool whole = fds[1] >= 0;
	FOR_EACH_STR(name, a->slots)
	{
		fds[count] = open_slot(f, name);
		whole &= fds[count++] >= 0;
	}
	int program = whole ? sealed_program(a->program) : -1;
	if (program >= 0 && !spawn(a, program, fds, count))
		result = 0;
	if (program >= 0)
		close(program);
	for (int i = 0; i < count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return result;
}

/* The stub has created the process, and exits. */
static int note_process(struct front *f, pid_t pid)
{
	f->launch->process = pid;
	if (waitpid(f->launch->stub, NULL, 0) != f->launch->stub)
		return HAND_OVER;
	f->launch->stub = 0;
	return 0;
}

/* If that fails, it is tried again, for the report is still there: after the last `go`, the program may be running by
 * the time that we hand over. */
static int receive(struct front *f, struct report *out)
{
	ssize_t size;
	int attempts = 3;
	do
		size = recv(f->launch->control, out, sizeof *out, 0);
	while (size < 0 && errno != ECONNRESET && --attempts);
	return size == sizeof *out ? 0 : HAND_OVER;
}

/* The next report, except the one that names the process, which is recorded. That report may come last: the first
 * report of the process can overtake it, because the stub is another process on the same socket. */
static int next_report(struct front *f, struct report *out)
{
	struct report later;
	for (;;) {
		if (receive(f, out))
			return HAND_OVER;
		if (out->kind != REPORT_CLONED)
			break;
		if (note_process(f, out->pid))
			return HAND_OVER;
	}
	if (f->launch->process || out->index <= f->launch->clone)
		return 0;
	if (receive(f, &later) || later.kind != REPORT_CLONED)
		return HAND_OVER;
	return note_process(f, later.pid);
}

static int await_report(struct front *f, uint32_t kind, struct report *report)
{
	return !f->launch || next_report(f, report) || report->kind != kind ? HAND_OVER : 0;
}

int do_await_sync(struct front *f, const struct step_await_sync *a)
{
	struct report report;
	return await_report(f, REPORT_SYNC, &report) || report.index != a->index ? HAND_OVER : 0;
}

int do_go(struct front *f, const struct step_go *a)
{
	(void)a;
	return f->launch && send(f->launch->control, "g", 1, MSG_NOSIGNAL) == 1 ? 0 : HAND_OVER;
}

int do_await_program(struct front *f, const struct step_await_program *a)
{
	(void)a;
	struct report report;
	if (await_report(f, REPORT_EXEC, &report) || !f->launch->process)
		return HAND_OVER;
	/* Only the filter and execve are left: if they succeed, the stream ends. However it ends, the program may be
	 * running by then, and must not be executed a second time: only a report of a failure is a failure. */
	return recv(f->launch->control, &report, sizeof report, 0) > 0 ? HAND_OVER : 0;
}

int do_follow_cgroup(struct front *f, const struct step_follow_cgroup *a)
{
	static struct pids found;
	char path[4096], digits[24];
	if (!f->launch || !f->launch->process || read_own_processes(a->path, &found))
		return HAND_OVER;
	for (size_t i = 0; i < found.count; i++)
		if (found.pid[i] == f->launch->process)
			return 0;
	if (!join(path, sizeof path, (const char *[]){a->path, "/cgroup.procs", NULL}))
		return HAND_OVER;
	return write_file(path, decimal(digits, f->launch->process));
}

int do_report_process(struct front *f, const struct step_report_process *a)
{
	(void)a;
	char temporary[4096], pid[24], digits[24];
	const char *path = f->request->pid_file;
	if (!path || !*path)
		return 0;
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char directory[4096] = "";
	if (!f->launch || (size_t)(name - path) >= sizeof directory)
		return HAND_OVER;
	memcpy(directory, path, (size_t)(name - path));
	if (!join(temporary, sizeof temporary,
		  (const char *[]){directory, ".", name, ".", decimal(digits, getpid()), NULL}))
		return HAND_OVER;
	int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0)
		return HAND_OVER;
	const char *text = decimal(pid, f->launch->process);
	bool written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	f->launch->reported = written && !rename(temporary, path);
	if (f->launch->reported)
		return 0;
	unlink(temporary);
	return HAND_OVER;
}

void abandon_launch(struct front *f)
{
	if (!f->launch)
		return;
	const pid_t pids[] = {f->launch->stub, f->launch->process};
	close(f->launch->control);
	for (int i = 0; i < 2; i++)
		if (pids[i] > 0) {
			kill(pids[i], SIGKILL);
			waitpid(pids[i], NULL, 0);
		}
	if (f->launch->reported) /* Python may fail before it replaces the file */
		unlink(f->request->pid_file);
	f->launch = NULL;
}

int launched_process(const struct front *f)
{
	return f->launch->process;
}
