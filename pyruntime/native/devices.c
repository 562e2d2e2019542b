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
#include <termios.h>

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
	if (rc && errno == EEXIST) {
		struct stat st;
		bool same = !fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) &&
			    (st.st_mode & S_IFMT) == (a->mode & S_IFMT) &&
			    (S_ISFIFO(st.st_mode) || st.st_rdev == makedev((unsigned)a->major, (unsigned)a->minor));
		if (same || a->keep)
			rc = 0;
		if (a->keep && !same) { /* a default device: what the configuration put there wins */
			close(dir);
			return 0;
		}
		if (rc)
			fail_with(s, EEXIST, "mknodat", "%s is something else", a->path);
	} else if (rc)
		fail(s, "mknodat", "%s", a->path);
	/* mknod(2) applies the umask. */
	if (!rc && fchmodat(dir, name, (mode_t)a->mode & 07777, 0))
		rc = fail(s, "fchmodat", "%s", a->path);
	if (!rc && fchownat(dir, name, (uid_t)a->uid, (gid_t)a->gid, AT_SYMLINK_NOFOLLOW))
		rc = fail(s, "fchownat", "%s", a->path);
	close(dir);
	return rc;
}

static int bind_fd(struct stub *s, int tree, const char *path)
{
	int at = make_beneath(s, path, WANT_FILE);
	if (at < 0)
		return -1;
	int rc = (int)syscall(SYS_move_mount, tree, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
	if (rc)
		fail(s, "move_mount", "%s", path);
	close(at);
	return rc;
}

int do_bind_device(struct stub *s, const struct step_bind_device *a)
{
	int tree = (int)syscall(SYS_open_tree, AT_FDCWD, a->source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree < 0)
		return fail(s, "open_tree", "%s", a->source);
	int rc = bind_fd(s, tree, a->path);
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
		/* The image's own file stays; a link that already says the same is what was asked for. */
		rc = 0;
	} else if (rc)
		fail(s, "symlinkat", "%s", a->path);
	close(dir);
	return rc;
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
		if (bind_fd(s, tree, "/dev/console"))
			return -1;
		close(tree);
	}
	if (a->rows || a->cols) {
		struct winsize size = {.ws_row = (unsigned short)a->rows, .ws_col = (unsigned short)a->cols};
		if (ioctl(master, TIOCSWINSZ, &size))
			return fail(s, "ioctl", "TIOCSWINSZ");
	}
	struct termios t;
	if (!tcgetattr(peer, &t)) { /* callers copy the master's bytes as they are: no \r\n */
		t.c_oflag &= ~(tcflag_t)ONLCR;
		tcsetattr(peer, TCSANOW, &t);
	}
	static const char name[] = "/dev/pts/ptmx";
	if (send_with_fd(sock, name, sizeof name - 1, master))
		return fail(s, "sendmsg", "terminal to the console socket");
	close(master);
	close(sock);
	s->slot[a->slot] = -1;
	if (ioctl(peer, TIOCSCTTY, 0))
		return fail(s, "ioctl", "TIOCSCTTY");
	for (int fd = 0; fd < 3; fd++)
		if (dup2(peer, fd) < 0)
			return fail(s, "dup2", "terminal");
	close(peer);
	return 0;
}
