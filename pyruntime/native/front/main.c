/* The commands of an installed package: pyruntime, pyimage and pocker, which are this program under three names. */
#define _GNU_SOURCE
#include "front.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

char **arguments;

/* Only pyruntime has life plans; PYRUNTIME_FRONT=off leaves everything to Python. */
static bool wanted(void)
{
	const char *name = own_name(), *front = getenv("PYRUNTIME_FRONT");
	return name && !strcmp(name, "pyruntime") && (!front || strcmp(front, "off"));
}

int main(int argc, char **argv)
{
	(void)argc;
	struct request request;
	int exit_status = 0;
	arguments = argv;
	signal(SIGXFSZ, SIG_IGN); /* as Python does: a write beyond a limit fails, and is reported */
	signal(SIGCHLD, SIG_DFL); /* if our caller ignores it, the kernel keeps no exit status of the stub for us */
	if (wanted() &&
	    (watch(argv, &exit_status) || (!read_request(argv, &request) && !carry_out(&request, &exit_status))))
		return exit_status;
	return hand_over(argv, NULL);
}
