/* `exec` and `run` in the foreground: signals are forwarded to the process, whose exit status is returned
 * (lifecycle/foreground.py). */
#define _GNU_SOURCE
#include "front.h"
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

static sigset_t before;
static bool kept;

/* The forwarded signals, and SIGCHLD. */
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

/* Nothing has been executed: signals that arrived meanwhile act on us, as before Python collects them. */
void release_signals(void)
{
	if (kept)
		sigprocmask(SIG_SETMASK, &before, NULL);
}

void unblock_signals(void)
{
	sigset_t all = awaited();
	sigprocmask(SIG_UNBLOCK, &all, NULL);
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
