/* The sockets: a name for each container and one for each server, of each namespace of each containerd. */
#define _GNU_SOURCE
#include "shim.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* FNV-1a, 64 bits: only root chooses the names that it separates. */
static uint64_t add(uint64_t hash, const char *text)
{
	do
		hash = (hash ^ (unsigned char)*text) * 0x100000001b3;
	while (*text++);
	return hash;
}

bool socket_path(char path[108], const struct options *options, const char *id, const char *suffix)
{
	uint64_t hash = add(add(add(0xcbf29ce484222325, options->address), options->namespace), id);
	int length = snprintf(path, 108, "%s/py%016llx%s", options->sockets, (unsigned long long)hash, suffix);
	return length > 0 && length < 108;
}

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	memcpy(address.sun_path, path, strnlen(path, sizeof address.sun_path - 1));
	return address;
}

int listen_at(const char *path, int backlog)
{
	struct sockaddr_un address = address_of(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	mode_t mask = umask(0177); /* the file must not be open to others even for a moment */
	int result = bind(fd, (struct sockaddr *)&address, sizeof address);
	umask(mask);
	if (!result && !listen(fd, backlog))
		return fd;
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}

int connect_to(const char *path)
{
	struct sockaddr_un address = address_of(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	int result;
	while ((result = connect(fd, (struct sockaddr *)&address, sizeof address)) && errno == EINTR)
		;
	if (!result)
		return fd;
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}
