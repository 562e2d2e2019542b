/* tmpcopyup: copy the content of a mount point into the tmpfs that covers it. */
#define _GNU_SOURCE
#include "stub.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>

static int copy_xattrs(struct stub *s, int from, int to)
{
	static char names[65536], value[65536];
	ssize_t n = flistxattr(from, names, sizeof names);
	if (n < 0)
		return errno == ENOTSUP ? 0 : fail(s, "flistxattr", "copy-up");
	for (char *name = names; name < names + n; name += strlen(name) + 1) {
		ssize_t size = fgetxattr(from, name, value, sizeof value);
		if (size < 0)
			return fail(s, "fgetxattr", "%s", name);
		/* A tmpfs supports fewer namespaces of attributes than a disk: those that it cannot hold (user.* before
		 * Linux 6.6) are not copied. */
		if (fsetxattr(to, name, value, (size_t)size, 0) && errno != ENOTSUP && errno != EPERM)
			return fail(s, "fsetxattr", "%s", name);
	}
	return 0;
}

static int copy_meta(struct stub *s, int to, const struct stat *st)
{
	struct timespec times[2] = {st->st_atim, st->st_mtim};
	if (fchown(to, st->st_uid, st->st_gid) || fchmod(to, st->st_mode & 07777) || futimens(to, times))
		return fail(s, "fchown", "copy-up");
	return 0;
}

static int copy_file(struct stub *s, int from_dir, int to_dir, const char *name, const struct stat *st)
{
	int in = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	int out = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int rc = in < 0 || out < 0 ? fail(s, "openat", "copy-up of %s", name) : 0;
	for (off_t left = st->st_size; !rc && left > 0;) {
		ssize_t n = sendfile(out, in, NULL, (size_t)left);
		if (n < 0)
			rc = fail(s, "sendfile", "copy-up of %s", name);
		if (n <= 0)
			break;
		left -= n;
	}
	if (!rc)
		rc = copy_xattrs(s, in, out);
	if (!rc)
		rc = copy_meta(s, out, st);
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return rc;
}

static int copy_special(struct stub *s, int from_dir, int to_dir, const char *name, const struct stat *st)
{
	int rc;
	if (S_ISLNK(st->st_mode)) {
		char link[4096];
		ssize_t n = readlinkat(from_dir, name, link, sizeof link - 1);
		if (n < 0)
			return fail(s, "readlinkat", "copy-up of %s", name);
		link[n] = 0;
		rc = symlinkat(link, to_dir, name);
	} else
		rc = mknodat(to_dir, name, st->st_mode, st->st_rdev);
	if (!rc)
		rc = fchownat(to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW);
	if (!rc && !S_ISLNK(st->st_mode))
		rc = fchmodat(to_dir, name, st->st_mode & 07777, 0);
	return rc ? fail(s, "mknodat", "copy-up of %s", name) : 0;
}

static int copy_dir(struct stub *s, int from, int to, int depth)
{
	if (depth > 200)
		return fail_with(s, ELOOP, "openat", "copy-up: directories too deep");
	int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return fail(s, "openat", "copy-up");
	int rc = 0;
	for (struct dirent *e; !rc && (e = readdir(dir));) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		struct stat st;
		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW)) {
			rc = fail(s, "fstatat", "copy-up of %s", e->d_name);
		} else if (S_ISDIR(st.st_mode)) {
			int in = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			int out = mkdirat(to, e->d_name, 0700)
				      ? -1
				      : openat(to, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			rc = in < 0 || out < 0 ? fail(s, "openat", "copy-up of %s", e->d_name)
					       : copy_dir(s, in, out, depth + 1);
			if (!rc)
				rc = copy_xattrs(s, in, out);
			if (!rc)
				rc = copy_meta(s, out, &st);
			if (in >= 0)
				close(in);
			if (out >= 0)
				close(out);
		} else if (S_ISREG(st.st_mode))
			rc = copy_file(s, fd, to, e->d_name, &st);
		else
			rc = copy_special(s, fd, to, e->d_name, &st);
	}
	closedir(dir);
	return rc;
}

int copy_tree(struct stub *s, int from, int to)
{
	return copy_dir(s, from, to, 0);
}
