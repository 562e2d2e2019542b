/* What goes to standard output, all at once: until then Python can still take over. */
#include "front.h"
#include <signal.h>
#include <string.h>
#include <unistd.h>

static char text[1 << 20]; /* costs no memory before it is touched */
static size_t used;

int put(const char *more)
{
	size_t size = strlen(more);
	if (size > sizeof text - used)
		return HAND_OVER;
	memcpy(text + used, more, size);
	used += size;
	return 0;
}

int flush(void)
{
	if (!used)
		return 0;
	/* A reader that has gone: Python says nothing of it, and ends with 1. It inherits how signals are treated. */
	void (*before)(int) = signal(SIGPIPE, SIG_IGN);
	size_t done = 0;
	while (done < used) {
		ssize_t size = write(STDOUT_FILENO, text + done, used - done);
		if (size < 0)
			break;
		done += (size_t)size;
	}
	if (done && done < used)
		_exit(1); /* a part is out, and cannot be said again */
	signal(SIGPIPE, before);
	return done ? 0 : HAND_OVER;
}
