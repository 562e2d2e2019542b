/* Processes by pid and start time, and those of a cgroup. */
#define _GNU_SOURCE
#include "front.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <dirent.h>
#include <unistd.h>

/* The words after the process's name: proc_pid_stat(5) */
#define START_TIME 20
#define PENDING_SIGNALS 29

/* 0 if there is no such process, or a zombie; -1 if that cannot be determined. */
static int64_t stat_number(int64_t pid, int place)
{
	char path[64], digits[24], text[4096];
	if (pid <= 0 || !join(path, sizeof path, (const char *[]){"/proc/", decimal(digits, pid), "/stat", NULL}))
		return 0;
	if (read_file(AT_FDCWD, path, text, sizeof text) < 0)
		/* A process that can be signalled exists: hidepid hides it (proc(5)). Python says so. */
		return (errno == ENOENT || errno == ESRCH) && kill((pid_t)pid, 0) ? 0 : -1;
	/* The name is in parentheses, and may itself contain some. */
	const char *at = strrchr(text, ')');
	if (!at || strlen(at) < 3)
		return -1;
	if (at[2] == 'Z' || at[2] == 'X')
		return 0;
	for (int word = 0; word < place; word++) {
		at = strchr(at, ' ');
		if (!at)
			return -1;
		at++;
	}
	return number_of(at);
}

int64_t start_time(int64_t pid)
{
	return stat_number(pid, START_TIME);
}

bool dying(int64_t pid)
{
	int64_t pending = stat_number(pid, PENDING_SIGNALS);
	return pending > 0 && pending >> (SIGKILL - 1) & 1;
}

static int add_processes(int dir, struct pids *out)
{
	char text[1 << 15];
	ssize_t size = read_file(dir, "cgroup.procs", text, sizeof text);
	if (size < 0) /* EOPNOTSUPP: a threaded cgroup, whose processes its root lists */
		return errno == ENOENT || errno == ENODEV || errno == EOPNOTSUPP ? 0 : HAND_OVER;
	if ((size_t)size == sizeof text - 1)
		return HAND_OVER; /* there may be more */
	for (const char *at = text; *at; at++) {
		int64_t pid = number_of(at);
		if (pid < 0 || pid > INT32_MAX || out->count == sizeof out->pid / sizeof *out->pid)
			return HAND_OVER;
		out->pid[out->count++] = (int)pid;
		at = strchr(at, '\n');
		if (!at)
			return HAND_OVER;
	}
	return 0;
}

/* A container with cgroups of its own may nest them until our stack is used up. */
#define DEEPEST 32

struct visit {
	int dir, depth;
	struct pids *out;
};

static int below(void *context, const char *name, unsigned char type);

static int read_below(int dir, int depth, struct pids *out)
{
	struct visit visit = {dir, depth, out};
	return depth > DEEPEST || add_processes(dir, out) || each_entry(dir, below, &visit) ? HAND_OVER : 0;
}

static int below(void *context, const char *name, unsigned char type)
{
	const struct visit *visit = context;
	if (type != DT_DIR)
		return 0;
	int dir = openat(visit->dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT || errno == ENODEV ? 0 : HAND_OVER;
	int result = read_below(dir, visit->depth + 1, visit->out);
	close(dir);
	return result;
}

static int read_cgroup(const char *path, struct pids *out, bool deep)
{
	out->count = 0;
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT ? 0 : HAND_OVER;
	int result = deep ? read_below(dir, 0, out) : add_processes(dir, out);
	close(dir);
	return result;
}

int read_processes(const char *path, struct pids *out)
{
	return read_cgroup(path, out, true);
}

int read_own_processes(const char *path, struct pids *out)
{
	return read_cgroup(path, out, false);
}
