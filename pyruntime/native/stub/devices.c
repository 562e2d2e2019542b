/* Device nodes, links and the console, all beneath the root. */
#define _GNU_SOURCE
#include "stub.h"
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

int do_mknod(struct stub *s, const struct step_mknod *a)
{
	const char *name;
	int dir = parent_beneath(s, a->path, &name);
	if (dir < 0)
		return -1;
	int rc = mknodat(dir, name, (mode_t)a->mode, makedev((unsigned)a->major, (unsigned)a->minor));
	bool taken = rc && errno == EEXIST;
	if (rc && !taken) {
		fail(s, "mknodat", "%s", a->path);
		close(dir);
		return -1;
	}
	/* From here on by descriptor: another container that shares the directory may replace the node with a symbolic
	 * link, and a mode set by name would then be set on a file of the host. */
	int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	close(dir);
	if (fd < 0)
		return fail(s, "openat", "%s", a->path);
	struct stat st;
	bool same = !fstat(fd, &st) && (st.st_mode & S_IFMT) == (a->mode & S_IFMT) &&
		    (S_ISFIFO(st.st_mode) || st.st_rdev == makedev((unsigned)a->major, (unsigned)a->minor));
	rc = 0;
	if (!same) { /* a default device (keep): the configuration's own mount takes precedence */
		if (!taken || !a->keep)
			rc = fail_with(s, EEXIST, "mknodat", "%s exists and is not this device", a->path);
	} else if (!taken) { /* an existing node may be the host's own, bind-mounted or in a devtmpfs */
		char self[32];
		snprintf(self, sizeof self, "self/fd/%d", fd);
		/* mknod(2) applies the umask. */
		if (fchmodat(s->proc, self, (mode_t)a->mode & 07777, 0))
			rc = fail(s, "fchmodat", "%s", a->path);
		else if (fchownat(fd, "", (uid_t)a->uid, (gid_t)a->gid, AT_EMPTY_PATH))
			rc = fail(s, "fchownat", "%s", a->path);
	}
	close(fd);
	return rc;
}

/* Mount on a file that was opened; a failure to open the file has been recorded. */
static int bind_fd(struct stub *s, int tree, int at, const char *path)
{
	if (at < 0)
		return -1;
	int rc = (int)syscall(SYS_move_mount, tree, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
	if (rc)
		fail(s, "move_mount", "%s", path);
	close(at);
	return rc;
}

int do_device_source(struct stub *s, const struct step_device_source *a)
{
	if (mknod(a->path, (mode_t)a->mode, makedev((unsigned)a->major, (unsigned)a->minor)))
		return fail(s, "mknod", "%s", a->path);
	struct mount_attr attr = {.attr_clr = MOUNT_ATTR_NODEV};
	int tree = -1;
	if (chmod(a->path, (mode_t)a->mode & 07777) || chown(a->path, (uid_t)a->uid, (gid_t)a->gid))
		fail(s, "chown", "%s", a->path);
	else if ((tree = (int)syscall(SYS_open_tree, AT_FDCWD, a->path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)) < 0)
		fail(s, "open_tree", "%s", a->path);
	else if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr)) {
		/* The state directory is on /run, which is mounted nodev as a rule. */
		fail(s, "mount_setattr", "%s", a->path);
		close(tree);
		tree = -1;
	}
	/* The parent unlinks it later: an unlinked file cannot be mounted. */
	return tree < 0 ? -1 : put_slot(s, a->slot, tree);
}

int do_bind_device(struct stub *s, const struct step_bind_device *a)
{
	int tree;
	if (a->slot != NO_SLOT) {
		tree = get_slot(s, a->slot);
		if (tree >= 0)
			s->slot[a->slot] = -1;
	} else if ((tree = (int)syscall(SYS_open_tree, AT_FDCWD, a->source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)) < 0)
		fail(s, "open_tree", "%s", a->source);
	if (tree < 0)
		return -1;
	/* A slave of the host's /dev would receive later mounts of the host over the node, and CRIU cannot restore a
	 * slave in a user namespace. */
	struct mount_attr attr = {.propagation = MS_PRIVATE};
	int rc = (int)syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr);
	if (rc)
		fail(s, "mount_setattr", "propagation of %s", a->path);
	else
		rc = bind_fd(s, tree, make_beneath(s, a->path, WANT_FILE), a->path);
	close(tree);
	return rc;
}

int do_symlink(struct stub *s, const struct step_symlink *a)
{
	const char *name;
	int dir = parent_beneath(s, a->path, &name);
	if (dir < 0)
		return -1;
	int rc = symlinkat(a->target, dir, name);
	if (rc && errno == EEXIST) {
		/* The image's own file stays; a link with the same target is the requested link. */
		rc = 0;
	} else if (rc)
		fail(s, "symlinkat", "%s", a->path);
	close(dir);
	return rc;
}

/* containerd opens /dev/null for a container without input and output once, for reading, and makes it all three
 * streams: without this a program's first line of output would be its last (write(2), EBADF). */
int do_reopen_null(struct stub *s, const struct step_reopen_null *a)
{
	(void)a;
	struct stat st;
	int null = -1;
	for (int fd = 0; fd < 3; fd++) {
		if (fstat(fd, &st) || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
			continue;
		if (null < 0 && (null = open_beneath(s, "/dev/null", O_RDWR | O_NOCTTY)) < 0)
			return errno == ENOENT ? 0 : fail(s, "openat2", "/dev/null");
		/* The configuration may have mounted another file there. */
		if (fstat(null, &st) || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
			break;
		if (dup2(null, fd) < 0)
			return fail(s, "dup2", "/dev/null");
	}
	if (null >= 0)
		close(null);
	return 0;
}

int do_take_terminal(struct stub *s, const struct step_take_terminal *a)
{
	(void)a;
	return ioctl(0, TIOCSCTTY, 0) ? fail(s, "ioctl", "TIOCSCTTY") : 0;
}

int do_open_console(struct stub *s, const struct step_open_console *a)
{
	int sock = get_slot(s, a->slot);
	if (sock < 0)
		return -1;
	int master = open_beneath(s, "/dev/pts/ptmx", O_RDWR | O_NOCTTY);
	if (master < 0)
		return fail(s, "openat2", "/dev/pts/ptmx (is there a devpts mount?)");
	int unlock = 0;
	if (ioctl(master, TIOCSPTLCK, &unlock))
		return fail(s, "ioctl", "TIOCSPTLCK");
	int peer = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (peer < 0)
		return fail(s, "ioctl", "TIOCGPTPEER");
	if (fchown(peer, (uid_t)a->uid, (gid_t)-1))
		return fail(s, "fchown", "terminal");
	if (a->mount) {
		int tree = (int)syscall(SYS_open_tree, peer, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
		if (tree < 0)
			return fail(s, "open_tree", "terminal");
		/* Through a link of the image, the mount would cover files of procfs (CVE-2025-52565). */
		if (bind_fd(s, tree, make_plain(s, "/dev/console", WANT_FILE), "/dev/console"))
			return -1;
		close(tree);
	}
	if (a->rows || a->cols) {
		struct winsize size = {.ws_row = (unsigned short)a->rows, .ws_col = (unsigned short)a->cols};
		if (ioctl(master, TIOCSWINSZ, &size))
			return fail(s, "ioctl", "TIOCSWINSZ");
	}
	static const char name[] = "/dev/pts/ptmx";
	if (send_with_fd(sock, name, sizeof name - 1, master))
		return fail(s, "sendmsg", "terminal to the console socket");
	close(master);
	close(sock);
	s->slot[a->slot] = -1;
	for (int fd = 0; fd < 3; fd++)
		if (dup2(peer, fd) < 0)
			return fail(s, "dup2", "terminal");
	close(peer);
	return 0;
}
