/* The end of a foreground `run`: Python has started the container, and has become this program, which waits with a
 * hundredth of the memory (lifecycle/foreground.py). The variable PYRUNTIME_WATCHED names init, the number of words
 * before `run`, and the container. */
#define _GNU_SOURCE
#include "front.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char variable[512];

/* `delete --force` with the global options of our command line; NULL if there are fewer words. */
static char **deletion(char **argv, int64_t before, char *id)
{
	size_t count = 0;
	while ((int64_t)count < before && argv[count])
		count++;
	char **words = calloc(count + 4, sizeof *words);
	if (!words || (int64_t)count != before)
		return NULL;
	memcpy(words, argv, count * sizeof *words);
	memcpy(words + count, (char *[]){(char *)"delete", (char *)"--force", id}, 3 * sizeof *words);
	return words;
}

/* The command line that deletes the container; NULL if the variable is not set, or not by Python in this process: init
 * is our child. */
static char **watched(char **argv, int *pid)
{
	siginfo_t info;
	const char *value = getenv("PYRUNTIME_WATCHED");
	bool known = value && join(variable, sizeof variable, (const char *[]){value, NULL});
	unsetenv("PYRUNTIME_WATCHED"); /* not for programs that we start */
	char *before = known ? strchr(variable, ' ') : NULL, *id = before ? strchr(before + 1, ' ') : NULL;
	*pid = id ? (int)number_of(variable) : 0;
	if (*pid <= 0 || waitid(P_PID, (id_t)*pid, &info, WEXITED | WNOHANG | WNOWAIT))
		return NULL;
	return deletion(argv, number_of(before + 1), id + 1);
}

/* For warnings, hooks, units of systemd, and options that the front does not know. Signals do not interrupt it: those
 * sent to us are blocked, and in a session of its own it gets none from the terminal. */
static int delete_by_python(char **words)
{
	int status = 0;
	pid_t child = fork();
	if (!child) {
		setsid();
		unblock_signals();
		_exit(hand_over(words, NULL));
	}
	return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

bool watch(char **argv, int *exit_status)
{
	int pid, ignored, failed = 0;
	struct request request;
	char **words = watched(argv, &pid);
	if (!words)
		return false;
	*exit_status = wait_for_process(pid);
	if (read_request(words, &request) || carry_out(&request, &ignored))
		failed = delete_by_python(words);
	if (failed)
		*exit_status = failed;
	return true;
}
