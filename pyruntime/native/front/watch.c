/* The end of a foreground `run`: Python has started the container, and has become this program, which waits with a
 * hundredth of the memory (lifecycle/foreground.py). The variable PYRUNTIME_WATCHED names init and the container. */
#define _GNU_SOURCE
#include "front.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS 64

static char variable[512];

/* PID and ID; false if the variable is not set, or not by Python in this process: init is our child. */
static bool watched(int *pid, const char **id)
{
	siginfo_t info;
	const char *value = getenv("PYRUNTIME_WATCHED");
	if (!value || !join(variable, sizeof variable, (const char *[]){value, NULL}))
		return false;
	unsetenv("PYRUNTIME_WATCHED"); /* not for programs that we start */
	char *space = strchr(variable, ' ');
	if (!space)
		return false;
	*space = 0;
	*pid = (int)number_of(variable);
	*id = space + 1;
	return *pid > 0 && names_container(*id) && !waitid(P_PID, (id_t)*pid, &info, WEXITED | WNOHANG | WNOWAIT);
}

/* `delete --force` with the global options of our command line, by Python: for warnings, hooks, and units of systemd.
 */
static int delete_by_python(char **argv, char **run, const char *id)
{
	char *words[WORDS];
	size_t count = (size_t)(run - argv);
	if (count > WORDS - 4)
		return 1;
	memcpy(words, argv, count * sizeof *words);
	memcpy(words + count, (char *[]){(char *)"delete", (char *)"--force", (char *)id, NULL}, 4 * sizeof *words);
	int status = 0;
	pid_t child = fork();
	if (!child) {
		unblock_signals();
		_exit(hand_over(words, NULL));
	}
	return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

bool watch(char **argv, int *exit_status)
{
	int pid, ignored, failed = 0;
	struct request request;
	const char *id;
	char **run = read_run(argv, &request);
	if (!run || !watched(&pid, &id))
		return false;
	*exit_status = wait_for_process(pid);
	request.verb = VERB_delete_force;
	request.id = id;
	if (carry_out(&request, &ignored))
		failed = delete_by_python(argv, run, id);
	if (failed)
		*exit_status = failed;
	return true;
}
