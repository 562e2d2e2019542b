/* Standard output, written all at once: until then Python can still take over. */
#include "front.h"
#include <signal.h>
#include <string.h>
#include <unistd.h>

static char text[1 << 20]; /* uses no memory until it is written to */
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
	/* EPIPE: Python prints no message, and exits with 1. The disposition of SIGPIPE is inherited. */
	void (*before)(int) = signal(SIGPIPE, SIG_IGN);
	size_t done = 0;
	while (done < used) {
		ssize_t size = write(STDOUT_FILENO, text + done, used - done);
		if (size < 0)
			break;
		done += (size_t)size;
	}
	if (done && done < used)
		_exit(1); /* a part has been written, and must not be repeated */
	signal(SIGPIPE, before);
	return done ? 0 : HAND_OVER;
}
