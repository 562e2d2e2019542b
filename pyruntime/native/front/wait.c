/* `exec` in the foreground: signals are the process's, and its exit status ours (lifecycle/foreground.py). */
#define _GNU_SOURCE
#include "front.h"
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

static sigset_t before;
static bool kept;

/* Those that are forwarded, and the one that tells of an end. */
static sigset_t awaited(void)
{
	sigset_t all;
	sigemptyset(&all);
	sigaddset(&all, SIGCHLD);
	for (int number = 1; number <= 64; number++)
		if (FORWARDED >> (number - 1) & 1)
			sigaddset(&all, number);
	return all;
}

void keep_signals(void)
{
	sigset_t all = awaited();
	kept = !sigprocmask(SIG_BLOCK, &all, &before);
}

/* Those that came meanwhile are then Python's. */
void release_signals(void)
{
	if (kept)
		sigprocmask(SIG_SETMASK, &before, NULL);
}

int wait_for_process(int pid)
{
	sigset_t all = awaited();
	int status = 0;
	while (waitpid(pid, &status, WNOHANG) != pid) {
		int number = sigwaitinfo(&all, NULL);
		if (number > 0 && number != SIGCHLD)
			kill(pid, number);
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
