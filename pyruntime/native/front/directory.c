/* The state directory: it is trusted only if it belongs to root or to the caller. */
#define _GNU_SOURCE
#include "front.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static bool trusted(int fd, mode_t kind, off_t *size)
{
	struct stat st;
	if (fstat(fd, &st) || (st.st_mode & S_IFMT) != kind)
		return false;
	*size = st.st_size;
	return (st.st_uid == 0 || st.st_uid == geteuid()) && !(st.st_mode & (S_IWGRP | S_IWOTH));
}

static int open_trusted(int dir, const char *path, int flags)
{
	off_t size;
	int fd = openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);
	if (fd >= 0 && trusted(fd, S_IFDIR, &size))
		return fd;
	if (fd >= 0)
		close(fd);
	return HAND_OVER;
}

int open_root(struct front *f)
{
	const char *root = f->request->root ? f->request->root : default_root();
	f->root = root ? open_trusted(AT_FDCWD, root, 0) : HAND_OVER;
	return f->root < 0 ? HAND_OVER : 0;
}

int open_container(struct front *f, const char *id)
{
	f->directory = open_trusted(f->root, id, O_NOFOLLOW);
	return f->directory < 0 ? HAND_OVER : 0;
}

void close_container(struct front *f)
{
	const int fds[] = {f->directory, f->connection, f->pidfd};
	for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	*f = (struct front){.request = f->request, .root = f->root, .directory = -1, .connection = -1, .pidfd = -1};
}

void close_all(struct front *f)
{
	close_container(f);
	if (f->root >= 0)
		close(f->root);
	f->root = -1;
}

int read_plan(struct front *f, const char *name, unsigned char data[PLAN_LARGEST], struct plan *plan)
{
	off_t size = 0;
	ssize_t got = -1;
	int fd = openat(f->directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return HAND_OVER;
	if (trusted(fd, S_IFREG, &size) && size <= PLAN_LARGEST)
		got = read(fd, data, (size_t)size);
	close(fd);
	const char *why;
	return got != size || plan_verify(data, (size_t)size, plan, &why) ? HAND_OVER : 0;
}
