/* The init process of a container with --init: /.pocker-init -- PROGRAM [ARGUMENT...]
   of a sandbox (pyruntime/sandbox): /.pyruntime-init wait=1
   and of the holder of a pod (pyruntime/shim/pod.py): /init wait=1

   Runs the program as its child, forwards signals to it, reaps orphans, and exits with the program's exit status: 128 +
   N for signal N, 127 if the program does not exist, 126 if it cannot be run. Then the kernel kills the remaining
   processes of the container. */
#define _GNU_SOURCE
#include "../arguments/arguments.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static int start(char **words, const sigset_t *mask)
{
	/* A process group of its own in the foreground: the terminal's signals (Ctrl-C) reach the program directly, and
	 * not a second time through us. */
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

/* Reap children; whether the program is among them. */
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

/* Wait on standard input, a socket to the program that owns the sandbox, or a pipe that a monitor holds. When that
 * program ends, so do we, and with us the pid namespace. A byte from it asks for the death of all other processes, and
 * is answered. */
static int wait_for_owner(void)
{
	char byte;

	/* Processes of the sandbox have our user: none of them may trace us, and so keep us from our end. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	signal(SIGCHLD, SIG_IGN); /* the kernel reaps orphans */
	while (read(STDIN_FILENO, &byte, 1) == 1) {
		kill(-1, SIGKILL);
		if (write(STDIN_FILENO, &byte, 1) < 0)
			break;
	}
	return 0;
}

int main(int argc __attribute__((unused)), char **argv)
{
	sigset_t all, before;
	int status = 255, number;

	long long wait;
	char **command = parse_arguments(argv, (const char *const[]){"wait"}, &wait, 1);
	if (command && !*command && wait == 1)
		return wait_for_owner();
	if (!command || !*command)
		return refuse_arguments("pocker");
	/* In a shared pid namespace we are not its init process, and inherit orphans only as a subreaper. */
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	/* Blocked before fork(2): signals that arrive between the two calls are forwarded, too. Signals of our own
	 * faults are not blocked.
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
		return start(command, &before);
	while (!collected(program, &status)) {
		if (sigwait(&all, &number) == 0 && number != SIGCHLD && number != SIGTTIN && number != SIGTTOU)
			kill(program, number);
	}
	return status;
}
