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

int do_run_hook(struct stub *s, const struct step_run_hook *a)
{
	char **argv = vector(a->args, NULL), **env = vector(a->env, NULL);
	if (!argv || !env)
		return fail(s, "mmap", "arguments of %s", a->path);
	int input = state_file(s, a);
	if (input < 0)
		return -1;
	int broken[2];
	if (pipe2(broken, O_CLOEXEC))
		return fail(s, "pipe2", "%s", a->path);
	int pidfd = -1;
	long pid = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &pidfd, 0, 0);
	if (pid < 0)
		return fail(s, "clone", "%s", a->path);
	if (!pid) {
		setpgid(0, 0);
		/* Before the pivot the root is where the caller's directory still shows; afterwards it is "/". */
		bool placed = s->root < 0 || !fchdir(s->root);
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
	if (n == (ssize_t)sizeof err)
		return fail_with(s, err, "execve", "%s", a->path);
	if (late)
		return fail_with(s, ETIMEDOUT, "hook", "hook ran past specified timeout of %lld.0s",
				 (long long)a->timeout);
	if (WIFSIGNALED(status))
		return fail_with(s, 0, "hook", "%s was killed by signal %d", a->path, WTERMSIG(status));
	if (WEXITSTATUS(status))
		return fail_with(s, 0, "hook", "%s exited with status %d", a->path, WEXITSTATUS(status));
	return 0;
}
