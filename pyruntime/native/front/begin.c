/* `start`: init executes the container's program, and reports the result (lifecycle/start.py). */
#define _GNU_SOURCE
#include "front.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

extern char **arguments; /* main.c */

/* Init has sent an unexpected report, or none: Python prints the error. It continues with our connection, because the
 * container cannot be started a second time. */
static int leave_to_python(struct front *f)
{
	char digits[24], variable[64];
	int connection = f->connection;
	f->connection = -1;
	close_all(f);
	if (fcntl(connection, F_SETFD, 0) ||
	    !join(variable, sizeof variable, (const char *[]){"PYRUNTIME_BEGUN=", decimal(digits, connection), NULL}))
		_exit(1);
	_exit(hand_over(arguments, variable));
}

int do_begin(struct front *f, const struct step_begin *a)
{
	(void)a;
	char report[REPORT_SIZE];
	bool ready = false;
	if (f->connection < 0 || fcntl(f->connection, F_SETFL, 0))
		return HAND_OVER;
	if (send(f->connection, "s", 1, MSG_NOSIGNAL) != 1)
		return HAND_OVER;
	for (;;) {
		ssize_t size = recv(f->connection, report, sizeof report, MSG_PEEK);
		if (ready && size <= 0)
			return 0; /* the program has taken over: the kernel closed init's end at execve */
		if (!ready && size < 0 && errno == ECONNRESET)
			return HAND_OVER; /* init has not read the request: it died, or another `start` came first */
		uint32_t kind = 0;
		if (size == sizeof report)
			memcpy(&kind, report, sizeof kind);
		if (kind != REPORT_EXEC || recv(f->connection, report, sizeof report, 0) != size)
			leave_to_python(f);
		ready = true;
	}
}
