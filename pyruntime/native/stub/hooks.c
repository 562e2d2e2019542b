/* Hooks that run in the container's namespaces (createContainer, startContainer). */
#define _GNU_SOURCE
#include "stub.h"
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int state_file(struct stub *s, const struct step_run_hook *a)
{
	char pid[16];
	int fd = memfd_create("state", MFD_CLOEXEC);
	int n = snprintf(pid, sizeof pid, "%d", (int)getpid());
	if (fd < 0 || write(fd, a->state_head, strlen(a->state_head)) < 0 || write(fd, pid, (size_t)n) < 0 ||
	    write(fd, a->state_tail, strlen(a->state_tail)) < 0 || lseek(fd, 0, SEEK_SET)) {
		fail(s, "memfd_create", "state for the hook");
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

/* The output of a hook, which was kept from the terminal: it ends the error message of a hook that failed, because the
 * terminal may have no reader by then; otherwise it is written to the terminal. */
static int show(struct stub *s, int output, int rc)
{
	char how[sizeof s->detail], said[256];
	off_t at = 0;
	ssize_t n;
	while (!rc && (n = pread(output, said, sizeof said, at)) > 0 && write(1, said, (size_t)n) == n)
		at += n;
	n = rc ? pread(output, said, sizeof said - 1, 0) : 0;
	while (n > 0 && (said[n - 1] == '\n' || said[n - 1] == ' '))
		n--;
	said[n > 0 ? n : 0] = 0;
	close(output);
	if (!*said)
		return rc;
	snprintf(how, sizeof how, "%s", s->detail);
	return fail_with(s, s->err, s->call, "%.*s, output: %s", (int)(sizeof how - sizeof said - 16), how, said);
}

int do_run_hook(struct stub *s, const struct step_run_hook *a)
{
	bool home = a->home && *s->home;
	FOR_EACH_STR(item, a->env)
	home = home && strncmp(item, "HOME=", 5);
	char **argv = make_argv(a->args, NULL), **env = make_argv(a->env, home ? s->home : NULL);
	if (!argv || !env)
		return fail(s, "mmap", "arguments of %s", a->path);
	int input = state_file(s, a);
	if (input < 0)
		return -1;
	int broken[2], output = isatty(1) ? memfd_create("output", MFD_CLOEXEC) : -1;
	if (pipe2(broken, O_CLOEXEC))
		return fail(s, "pipe2", "%s", a->path);
	int pidfd = -1;
	long pid = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &pidfd, 0, 0);
	if (pid < 0)
		return fail(s, "clone", "%s", a->path);
	if (!pid) {
		setpgid(0, 0);
		/* Before the pivot, the root is the caller's root directory; afterwards it is "/". */
		bool placed =
		    (s->root < 0 || !fchdir(s->root)) && (output < 0 || (dup2(output, 1) >= 0 && dup2(output, 2) >= 0));
		if (placed && dup2(input, 0) >= 0 && !syscall(SYS_close_range, 3u, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */))
			execve(a->path, argv, env);
		int err = errno;
		(void)!write(broken[1], &err, sizeof err);
		_exit(127);
	}
	close(input);
	close(broken[1]);
	int err = 0;
	ssize_t n = read(broken[0], &err, sizeof err);
	close(broken[0]);
	int64_t deadline = a->timeout ? now_ms() + a->timeout * 1000 : 0;
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	bool late = false;
	for (;;) {
		int64_t left = deadline ? deadline - now_ms() : -1;
		if (deadline && left <= 0) {
			late = true;
			kill((pid_t)-pid, SIGKILL);
			kill((pid_t)pid, SIGKILL);
			break;
		}
		int rc = poll(&p, 1, left > 60000 ? 60000 : (int)left);
		if (rc > 0 || (rc < 0 && errno != EINTR))
			break;
	}
	int status = 0;
	while (waitpid((pid_t)pid, &status, 0) < 0 && errno == EINTR)
		;
	close(pidfd);
	int rc = 0;
	if (n == (ssize_t)sizeof err)
		rc = fail_with(s, err, "execve", "%s", a->path);
	else if (late)
		rc = fail_with(s, ETIMEDOUT, "hook", "hook ran past specified timeout of %lld.0s",
			       (long long)a->timeout);
	else if (WIFSIGNALED(status))
		rc = fail_with(s, 0, "hook", "%s was killed by signal %d", a->path, WTERMSIG(status));
	else if (WEXITSTATUS(status))
		rc = fail_with(s, 0, "hook", "%s exited with status %d", a->path, WEXITSTATUS(status));
	return output < 0 ? rc : show(s, output, rc);
}
