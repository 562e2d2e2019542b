/* Lookups beneath the container's root. The container's files decide where symbolic links lead, so every lookup is
 * openat2(RESOLVE_IN_ROOT) (CVE-2018-15664, CVE-2019-16884, CVE-2021-30465), and nothing is created by a path string.
 */
#define _GNU_SOURCE
#include "stub.h"
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

static int openat2_retry(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
	struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
	/* EAGAIN: a rename or mount raced with the walk; openat2(2) says to try again. */
	for (int tries = 0;; tries++) {
		long fd = syscall(SYS_openat2, dir, path, &how, sizeof how);
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR) || tries == 128)
			return (int)fd;
	}
}

int open_below(int dir, const char *path, int flags)
{
	return openat2_retry(dir, path, (uint64_t)flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int open_beneath(struct stub *s, const char *path, int flags)
{
	return open_below(s->root, path, flags);
}

/* The path of a directory beneath the root, as the kernel knows it, without a trailing slash: "" for the root. */
static int path_of(struct stub *s, int fd, char *out, size_t size)
{
	char name[32], full[8192];
	snprintf(name, sizeof name, "self/fd/%d", fd);
	ssize_t n = readlinkat(s->proc, name, full, sizeof full - 1);
	if (n < 0)
		return fail(s, "readlinkat", "%s", name);
	full[n] = 0;
	snprintf(name, sizeof name, "self/fd/%d", s->root);
	char root[4096];
	n = readlinkat(s->proc, name, root, sizeof root - 1);
	if (n < 0)
		return fail(s, "readlinkat", "%s", name);
	root[n] = 0;
	size_t skip = strcmp(root, "/") ? strlen(root) : 0;
	if (strncmp(full, root, skip) || (skip && full[skip] && full[skip] != '/'))
		return fail_with(s, EXDEV, "readlinkat", "%s is not beneath %s", full, root);
	snprintf(out, size, "%s", strcmp(full + skip, "/") ? full + skip : "");
	return 0;
}

/* Walk path from the root one component at a time, making directories that are missing. The last component is left to
 * the caller when name is given; it points into a static buffer, which the next walk of the same depth overwrites. A
 * dangling symbolic link is followed to the place that it names inside the root. */
static int walk(struct stub *s, const char *path, const char **name, int depth)
{
	static char rest[2][8192];
	char *text = rest[depth & 1];
	if (depth > 40)
		return fail_with(s, ELOOP, "openat2", "%s", path);
	if ((size_t)snprintf(text, sizeof rest[0], "%s", path) >= sizeof rest[0])
		return fail_with(s, ENAMETOOLONG, "openat2", "%s", path);

	int dir = openat2_retry(s->root, ".", O_PATH | O_DIRECTORY, 0, RESOLVE_IN_ROOT);
	if (dir < 0)
		return fail(s, "openat2", ".");
	char *at = text;
	for (;;) {
		while (*at == '/')
			at++;
		if (!*at)
			break;
		char *end = at + strcspn(at, "/");
		char *after = end + strspn(end, "/");
		if (!*after && name) {
			*end = 0;
			*name = at;
			return dir;
		}
		char stop = *end;
		*end = 0;
		/* From the root, so that ".." and absolute links cannot leave it: the walked part is the kernel's own
		 * name. */
		char full[8192 + 256];
		if (path_of(s, dir, full, 8192))
			goto out;
		size_t used = strlen(full);
		if ((size_t)snprintf(full + used, sizeof full - used, "/%s", at) >= sizeof full - used) {
			fail_with(s, ENAMETOOLONG, "openat2", "%s", path);
			goto out;
		}
		int next =
		    openat2_retry(s->root, full, O_PATH | O_DIRECTORY, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
		if (next < 0 && errno == ENOENT) {
			if (mkdirat(dir, at, 0755) == 0)
				next = openat2_retry(dir, at, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, RESOLVE_BENEATH);
			else if (errno == EEXIST) {
				char link[4096], whole[8192];
				ssize_t n = readlinkat(dir, at, link, sizeof link - 1);
				if (n > 0) {
					link[n] = 0;
					full[used] = 0;
					*end = stop;
					int len = snprintf(whole, sizeof whole, "%s%s%s%s", link[0] == '/' ? "" : full,
							   link[0] == '/' ? "" : "/", link, end);
					close(dir);
					if (len < 0 || (size_t)len >= sizeof whole)
						return fail_with(s, ENAMETOOLONG, "openat2", "%s", path);
					return walk(s, whole, name, depth + 1);
				}
			}
		}
		if (next < 0) {
			fail(s, "openat2", "%s (at \"%s\")", path, at);
			goto out;
		}
		close(dir);
		dir = next;
		*end = stop;
		at = end;
	}
	if (name)
		*name = ".";
	return dir;
out:
	close(dir);
	return -1;
}

int parent_beneath(struct stub *s, const char *path, const char **name)
{
	return walk(s, path, name, 0);
}

int make_beneath(struct stub *s, const char *path, enum want want)
{
	int fd = open_beneath(s, path, O_PATH);
	if (fd >= 0)
		return fd;
	if (errno != ENOENT)
		return fail(s, "openat2", "%s", path);
	if (want == WANT_DIR)
		return walk(s, path, NULL, 0);
	const char *name;
	char whole[8192 + 4096], full[8192], link[4096];
	snprintf(whole, sizeof whole, "%s", path);
	for (int depth = 0;; depth++) { /* a dangling link as the last component: make what it names */
		int dir = walk(s, whole, &name, depth);
		if (dir < 0)
			return -1;
		fd = openat(dir, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_WRONLY, 0644);
		if (fd >= 0) {
			close(dir);
			break;
		}
		ssize_t n = errno == EEXIST ? readlinkat(dir, name, link, sizeof link - 1) : -1;
		if (n <= 0)
			fail_with(s, errno == EINVAL ? EEXIST : errno, "openat", "%s", path);
		else if (path_of(s, dir, full, sizeof full))
			n = -1;
		close(dir);
		if (n <= 0)
			return -1;
		link[n] = 0;
		snprintf(whole, sizeof whole, "%s/%s", link[0] == '/' ? "" : full, link);
	}
	close(fd);
	fd = open_beneath(s, path, O_PATH);
	return fd >= 0 ? fd : fail(s, "openat2", "%s", path);
}

int make_plain(struct stub *s, const char *path, enum want want)
{
	const uint64_t resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS;
	const uint64_t flags = O_PATH | (want == WANT_DIR ? O_DIRECTORY : 0);
	int fd = openat2_retry(s->root, path, flags, 0, resolve);
	if (fd < 0 && errno == ENOENT) {
		int made = make_beneath(s, path, want);
		if (made < 0)
			return -1;
		close(made);
		fd = openat2_retry(s->root, path, flags, 0, resolve);
	}
	if (fd >= 0)
		return fd;
	return want == WANT_DIR ? fail(s, "openat2", "filesystem on %s must be mounted on ordinary directory", path)
				: fail(s, "openat2", "%s must be an ordinary file", path);
}

static int open_proc(struct stub *s, const char *path)
{
	/* Never through another mount, never out of procfs: a container could have put a file there (CVE-2019-16884).
	 */
	int fd = openat2_retry(s->proc, path, O_WRONLY, 0, RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS);
	if (fd < 0)
		return fail(s, "openat2", "/proc/%s", path);
	struct statfs fs;
	if (fstatfs(fd, &fs) || fs.f_type != PROC_SUPER_MAGIC) {
		close(fd);
		return fail_with(s, EXDEV, "fstatfs", "/proc/%s is not procfs", path);
	}
	return fd;
}

/* Write and close. */
static int write_all(struct stub *s, int fd, const char *data, const char *what)
{
	ssize_t n = write(fd, data, strlen(data));
	int err = errno;
	close(fd);
	errno = err;
	return n == (ssize_t)strlen(data) ? 0 : fail(s, "write", "%.256s to %s", data, what);
}

int do_write_proc(struct stub *s, const struct step_write_proc *a)
{
	char what[256];
	snprintf(what, sizeof what, "/proc/%s", a->path);
	int fd = open_proc(s, a->path);
	return fd < 0 ? -1 : write_all(s, fd, a->data, what);
}

int do_open_proc(struct stub *s, const struct step_open_proc *a)
{
	int fd = open_proc(s, a->path);
	return fd < 0 ? -1 : put_slot(s, a->slot, fd);
}

int do_write_slot(struct stub *s, const struct step_write_slot *a)
{
	int fd = get_slot(s, a->slot);
	if (fd < 0)
		return -1;
	s->slot[a->slot] = -1;
	return write_all(s, fd, a->data, a->what);
}

int do_make_dir(struct stub *s, const struct step_make_dir *a)
{
	int fd = make_beneath(s, a->path, WANT_DIR);
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}
