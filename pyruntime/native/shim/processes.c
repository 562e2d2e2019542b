/* The container's processes: our children, started for the server (native/stub), and their exits, which are kept until
 * the server has dealt with them. */
#define _GNU_SOURCE
#include "shim.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORDS 16
#define STREAMS 3
#define FDS 253 /* the kernel's limit for one message: SCM_MAX_FD */

static struct exit *exits;
static size_t exit_count;
static uint64_t last_serial;

struct start {
	const int *fds; /* the program, and one for each target */
	const uint16_t *targets;
	size_t count;
	char **words;
	int error;
};

/* In the child, which shares our memory until execve(2). */
static void become(struct start *start)
{
	int above = 3, parked[FDS + STREAMS];
	char program[32];
	for (size_t i = 0; i < start->count; i++)
		if (start->targets[i] >= above)
			above = start->targets[i] + 1;
	/* First moved above their final numbers, so that none is overwritten before it is moved there. */
	for (size_t i = 0; i <= start->count; i++)
		if ((parked[i] = fcntl(start->fds[i], F_DUPFD_CLOEXEC, above)) < 0)
			goto failed;
	for (size_t i = 0; i < start->count; i++)
		if (dup2(parked[i + 1], start->targets[i]) < 0)
			goto failed;
	sigset_t none;
	sigemptyset(&none);
	for (int sig = 1; sig < 65; sig++)
		signal(sig, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	snprintf(program, sizeof program, "/proc/self/fd/%d", parked[0]);
	execve(program, start->words, (char *[]){NULL});
failed:
	start->error = errno;
	_exit(127);
}

static int32_t run(struct start *start)
{
	pid_t pid = vfork();
	if (pid < 0)
		return -errno;
	if (!pid)
		become(start);
	if (!start->error)
		return pid;
	waitpid(pid, NULL, 0);
	return -start->error;
}

/* The texts in the payload, each with a NUL; 0: it has others, or more than there is room. */
static size_t split(char **texts, size_t room, unsigned char *payload, size_t length)
{
	size_t count = 0, used = 0;
	while (used < length && count < room) {
		size_t text = strnlen((char *)payload + used, length - used);
		if (text == length - used)
			return 0; /* no NUL */
		texts[count++] = (char *)payload + used;
		used += text + 1;
	}
	return used == length ? count : 0;
}

static int32_t open_streams(uint64_t key, char **paths)
{
	for (int stream = 0; stream < STREAMS; stream++) {
		int error = open_stream(key, stream, paths[stream]);
		if (error)
			return -error - 4096 * (1 + stream);
	}
	return 0;
}

void open_ahead(uint64_t key, unsigned char *payload, size_t length)
{
	char *paths[STREAMS];
	if (split(paths, STREAMS, payload, length) == STREAMS)
		open_streams(key, paths); /* SPAWN tells errors */
}

static int32_t start_process(uint16_t flags, const int *fds, size_t fd_count, unsigned char *payload, size_t length)
{
	uint64_t key;
	uint16_t targets[FDS + STREAMS];
	int all[FDS + STREAMS];
	char *texts[STREAMS + WORDS + 1] = {0};
	size_t count = flags & ~ON_TERMINAL, head = sizeof key + count * sizeof *targets;
	if (count >= FDS || fd_count != count + 1 || length <= head ||
	    split(texts, STREAMS + WORDS, payload + head, length - head) <= STREAMS)
		return -EINVAL;
	memcpy(&key, payload, sizeof key);
	memcpy(targets, payload + sizeof key, count * sizeof *targets);
	memcpy(all, fds, fd_count * sizeof *all);
	int32_t error = open_streams(key, texts);
	if (error)
		return error;
	for (int stream = 0; stream < STREAMS && !(flags & ON_TERMINAL); stream++)
		if (held_stream(key, stream) >= 0) {
			targets[count++] = (uint16_t)stream;
			all[count] = held_stream(key, stream);
		}
	struct start start = {.fds = all, .targets = targets, .count = count, .words = texts + STREAMS};
	return run(&start);
}

void spawn(uint64_t number, uint16_t flags, const int *fds, size_t fd_count, unsigned char *payload, size_t length)
{
	int32_t result = start_process(flags, fds, fd_count, payload, length);
	link_send(SPAWNED, 0, number, &result, sizeof result);
}

/* Whether a process that has ended never called execve(2): the flag PF_FORKNOEXEC in proc_pid_stat(5). Only the stub's
 * child that waits for the server ends so. The exit status could not tell: a program may have any. */
static int executed_nothing(pid_t pid)
{
	char path[32], stat[512];
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	if (read_file(AT_FDCWD, path, stat, sizeof stat) <= 0)
		return 0;
	const char *at = strrchr(stat, ')'); /* the end of the name, which may contain anything */
	for (int field = 2; at && field < 9; field++)
		at = strchr(at + 1, ' ');
	return at && strtoul(at, NULL, 10) & 0x40 ? NO_PROGRAM : 0;
}

void reap(void)
{
	siginfo_t info = {0};
	while (!waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) && info.si_pid) {
		struct timespec now;
		int status, flags = executed_nothing(info.si_pid);
		pid_t pid = waitpid(info.si_pid, &status, 0);
		if (pid < 0)
			return;
		clock_gettime(CLOCK_REALTIME, &now);
		struct exit *more = realloc(exits, (exit_count + 1) * sizeof *exits);
		info.si_pid = 0;
		if (!more)
			continue; /* nobody can be told without memory; the server sees that the process has gone */
		exits = more;
		exits[exit_count] = (struct exit){.serial = ++last_serial,
						  .time = now.tv_sec * 1000000000LL + now.tv_nsec,
						  .pid = pid,
						  .status = status | flags};
		link_send(EXITED, 0, 0, &exits[exit_count++], sizeof *exits);
	}
}

static struct exit *exit_of(uint64_t serial)
{
	for (size_t i = 0; i < exit_count; i++)
		if (exits[i].serial == serial)
			return &exits[i];
	return NULL;
}

void forget_exit(uint64_t serial)
{
	struct exit *found = exit_of(serial);
	if (found)
		memmove(found, found + 1, (size_t)(exits + exit_count-- - found - 1) * sizeof *exits);
}

void bind_exit(uint64_t serial, uint64_t key)
{
	struct exit *found = exit_of(serial);
	if (found)
		found->key = key;
}

bool has_exited(uint64_t key)
{
	for (size_t i = 0; i < exit_count; i++)
		if (exits[i].key == key)
			return true;
	return false;
}

void tell_exits(void)
{
	for (size_t i = 0; i < exit_count; i++)
		link_send(EXITED, 0, 0, &exits[i], sizeof *exits);
}
