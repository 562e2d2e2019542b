/* The first process of a container that was made with --init: /.pocker-init -- PROGRAM [ARGUMENT...]

   Runs the program as its child, passes signals on to it, collects the orphans that every first process inherits, and
   ends as the program does: 128 + N for signal N, 127 where there is no such program, 126 where it cannot be run.
   What is left in the container then, the kernel kills. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static int start(char **words, const sigset_t *mask)
{
	/* A group of its own in the foreground: what is typed at the terminal (Ctrl-C) reaches the program from there,
	   and not a second time through us. */
	setpgid(0, 0);
	signal(SIGTTOU, SIG_IGN); /* tcsetpgrp(3) from the background would stop us */
	tcsetpgrp(STDIN_FILENO, getpgrp());
	signal(SIGTTOU, SIG_DFL);
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(words[0], words);
	int status = errno == ENOENT ? 127 : 126;
	dprintf(STDERR_FILENO, "pocker-init: exec: \"%s\": %s\n", words[0], strerror(errno));
	return status;
}

/* Collect whoever has ended; whether the program is among them. */
static int collected(pid_t program, int *status)
{
	int found = 0, how;
	pid_t pid;

	while ((pid = waitpid(-1, &how, WNOHANG)) > 0)
		if (pid == program) {
			*status = WIFSIGNALED(how) ? 128 + WTERMSIG(how) : WEXITSTATUS(how);
			found = 1;
		}
	return found;
}

int main(int count, char **words)
{
	sigset_t all, before;
	int status = 255, number;

	if (count < 3 || strcmp(words[1], "--") != 0) {
		dprintf(STDERR_FILENO, "usage: %s -- PROGRAM [ARGUMENT...]; part of pocker\n",
			count ? words[0] : "init");
		return 2;
	}
	/* In another's pid namespace we are not its first process, and inherit orphans by this alone. */
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	/* Blocked before fork(2): what arrives between the two is passed on, too. Faults of our own are not held back.
	 */
	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGABRT);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid_t program = fork();
	if (program < 0) {
		dprintf(STDERR_FILENO, "pocker-init: fork: %s\n", strerror(errno));
		return 126;
	}
	if (program == 0)
		return start(words + 2, &before);
	while (!collected(program, &status)) {
		if (sigwait(&all, &number) == 0 && number != SIGCHLD && number != SIGTTIN && number != SIGTTOU)
			kill(program, number);
	}
	return status;
}
