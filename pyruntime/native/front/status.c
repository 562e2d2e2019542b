/* The status of a container, read from the kernel: lifecycle/status.py. */
#define _GNU_SOURCE
#include "front.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* 1 if the file holds the text, 0 if it does not or there is no such file, HAND_OVER if that is unknown. */
static int holds(const char *path, const char *text)
{
	char found[4096];
	if (!*path)
		return 0;
	if (read_file(AT_FDCWD, path, found, sizeof found) < 0)
		return errno == ENOENT || errno == ENODEV ? 0 : HAND_OVER;
	return !!strstr(found, text);
}

/* CREATED while init listens: then the connection is kept, for `start`. 0 if that cannot be determined. */
static int created_or_running(struct front *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char digits[24];
	const char *parts[] = {"/proc/self/fd/", decimal(digits, f->directory), "/", f->created.socket, NULL};
	if (!join(address.sun_path, sizeof address.sun_path, parts))
		return 0;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return 0;
	if (!connect(fd, (const struct sockaddr *)&address, sizeof address)) {
		f->connection = fd;
		return CREATED;
	}
	int err = errno;
	close(fd);
	if (err == EAGAIN) /* a full queue, for example of a frozen init */
		return CREATED;
	return err == ECONNREFUSED || err == ENOENT ? RUNNING : 0;
}

static int find_status(struct front *f)
{
	int64_t started = start_time(f->container.pid);
	if (started < 0 || f->container.started <= 0)
		return 0;
	if (started != f->container.started)
		return STOPPED;
	int paused = holds(f->paused.path, f->paused.text);
	if (paused == HAND_OVER)
		return 0;
	if (paused)
		return dying(f->container.pid) ? 0 : PAUSED; /* a command was killed before it thawed: Python thaws */
	return created_or_running(f);
}

int status_of(struct front *f)
{
	if (!f->status)
		f->status = find_status(f);
	return f->status;
}
