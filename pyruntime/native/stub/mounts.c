/* The root filesystem and everything mounted beneath it, by file descriptor alone. */
#define _GNU_SOURCE
#include "stub.h"
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#ifndef MNT_DETACH
#define MNT_DETACH 2
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#define MS_PRIVATE_ (1u << 18)
#define MS_SLAVE_ (1u << 19)

int sys_open_tree(int dir, const char *path, unsigned flags)
{
	return (int)syscall(SYS_open_tree, dir, path, flags | OPEN_TREE_CLOEXEC);
}

static int sys_move_mount(int from, int to)
{
	return (int)syscall(SYS_move_mount, from, "", to, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

int set_attr(int fd, unsigned flags, uint64_t set, uint64_t clear, uint64_t propagation)
{
	struct mount_attr attr = {.attr_set = set, .attr_clr = clear, .propagation = propagation};
	if (!set && !clear && !propagation)
		return 0;
	/* The kernel wants the whole atime field cleared before a new value. */
	if (set & MOUNT_ATTR__ATIME)
		attr.attr_clr |= MOUNT_ATTR__ATIME;
	return (int)syscall(SYS_mount_setattr, fd, "", flags | AT_EMPTY_PATH, &attr, sizeof attr);
}

struct attrs {
	int64_t set, clear, rec_set, rec_clear, propagation, rec_propagation;
};
#define ATTRS(a)                                                                                         \
	(&(struct attrs){(a)->attr_set, (a)->attr_clear, (a)->rec_set, (a)->rec_clear, (a)->propagation, \
			 (a)->rec_propagation})

static int apply(struct stub *s, int fd, const struct attrs *a, const char *what)
{
	if (set_attr(fd, AT_RECURSIVE, (uint64_t)a->rec_set, (uint64_t)a->rec_clear, (uint64_t)a->rec_propagation))
		return fail(s, "mount_setattr", "%s, recursively", what);
	if (set_attr(fd, 0, (uint64_t)a->set, (uint64_t)a->clear, (uint64_t)a->propagation))
		return fail(s, "mount_setattr", "%s", what);
	return 0;
}

/* Fail with the filesystem's own message, from the log of its context, instead of a bare EINVAL. */
static int fs_fail(struct stub *s, int fs, const char *call, const char *what)
{
	int err = errno;
	char text[256];
	ssize_t n = read(fs, text, sizeof text - 1);
	if (n > 2) {
		text[n] = 0;
		if (text[n - 1] == '\n')
			text[n - 1] = 0;
		return fail_with(s, err, call, "%s: %s", what, text + 2);
	}
	return fail_with(s, err, call, "%s", what);
}

static int configure(struct stub *s, int fs, struct strs options)
{
	FOR_EACH_STR(option, options)
	{
		char key[256];
		const char *value = strchr(option, '=');
		int rc;
		if (value) {
			snprintf(key, sizeof key, "%.*s", (int)(value - option), option);
			rc = (int)syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, value + 1, 0);
		} else
			rc = (int)syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, option, NULL, 0);
		if (rc)
			return fs_fail(s, fs, "fsconfig", option);
	}
	return 0;
}

/* Attach a detached mount at a place beneath the root, which was found by dest; the mount may cover the root itself. */
static int attach_at(struct stub *s, int mount, int at, const char *dest)
{
	int rc = sys_move_mount(mount, at);
	if (rc)
		fail(s, "move_mount", "%s", dest);
	struct stat root, here, what;
	/* A file over a directory or the reverse: the kernel returns EINVAL alone. */
	if (rc && errno == EINVAL && !fstat(at, &here) && !fstat(mount, &what) &&
	    S_ISDIR(here.st_mode) != S_ISDIR(what.st_mode))
		fail_with(s, S_ISDIR(here.st_mode) ? EISDIR : ENOTDIR, "move_mount", "%s", dest);
	if (!rc && !fstat(s->root, &root) && !fstat(at, &here) && root.st_ino == here.st_ino &&
	    root.st_dev == here.st_dev && !strcmp(dest + strspn(dest, "/."), "") && dup3(mount, s->root, O_CLOEXEC) < 0)
		return fail(s, "dup3", "%s, which covers the root filesystem", dest);
	return rc;
}

static int attach(struct stub *s, int mount, const char *dest, enum want want)
{
	int at = make_beneath(s, dest, want);
	if (at < 0)
		return -1;
	int rc = attach_at(s, mount, at, dest);
	close(at);
	return rc;
}

static enum want want_for(int fd)
{
	struct stat st;
	return !fstat(fd, &st) && !S_ISDIR(st.st_mode) ? WANT_FILE : WANT_DIR;
}

int do_propagation(struct stub *s, const struct step_propagation *a)
{
	int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fail(s, "open", "/");
	int rc = set_attr(fd, a->recursive ? AT_RECURSIVE : 0, 0, 0, (uint64_t)a->propagation);
	if (rc)
		fail(s, "mount_setattr", "propagation of /");
	close(fd);
	return rc;
}

/* pivot_root refuses a new root whose parent mount is shared (pivot_root(2)): make the mount that holds it private.
 * mount_setattr fails with EINVAL until the walk upwards reaches the root of that mount. */
static int make_parent_private(struct stub *s, int dir)
{
	int fd = openat(dir, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fail(s, "openat", "the root filesystem, to make its parent private");
	while (set_attr(fd, 0, 0, 0, MS_PRIVATE_)) {
		struct stat here, above;
		int err = errno;
		int up = err == EINVAL ? openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
		bool top = up < 0 || fstat(fd, &here) || fstat(up, &above) ||
			   (here.st_ino == above.st_ino && here.st_dev == above.st_dev);
		close(fd);
		fd = up;
		if (top) {
			close(up);
			return fail_with(s, err, "mount_setattr", "private parent of the root filesystem");
		}
	}
	close(fd);
	return 0;
}

int do_open_rootfs(struct stub *s, const struct step_open_rootfs *a)
{
	int at = open(a->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (at < 0 && errno == EACCES && a->slot != NO_SLOT)
		at = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC); /* any place will do: it is the parent of / soon */
	if (at < 0)
		return fail(s, "open", "%s", a->path);
	int tree = a->slot != NO_SLOT ? get_slot(s, a->slot)
				      : sys_open_tree(at, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | AT_RECURSIVE);
	if (tree < 0)
		return a->slot != NO_SLOT ? -1 : fail(s, "open_tree", "%s", a->path);
	if (a->slot != NO_SLOT)
		s->slot[a->slot] = -1;
	/* Mounts beneath it must not propagate to the host. A slave still receives the host's mounts, so the copy must
	 * become a slave before the mount that it was cloned from becomes private. */
	if (set_attr(tree, AT_RECURSIVE, 0, 0, MS_SLAVE_) || set_attr(tree, AT_RECURSIVE, 0, 0, (uint64_t)a->below) ||
	    set_attr(tree, 0, 0, 0, (uint64_t)a->propagation))
		return fail(s, "mount_setattr", "propagation of %s", a->path);
	if (make_parent_private(s, at))
		return -1;
	if (sys_move_mount(tree, at))
		return fail(s, "move_mount", "%s", a->path);
	close(at);
	s->root = tree;
	return 0;
}

int do_copy_rootfs(struct stub *s, const struct step_copy_rootfs *a)
{
	int fd = sys_open_tree(AT_FDCWD, a->path, OPEN_TREE_CLONE);
	if (fd < 0)
		return fail(s, "open_tree", "%s", a->path);
	int at = open(a->dest, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (at < 0)
		return fail(s, "open", "%s", a->dest);
	if (set_attr(fd, 0, a->readonly ? MOUNT_ATTR_RDONLY : 0, 0, (uint64_t)a->propagation))
		return fail(s, "mount_setattr", "%s", a->dest);
	if (make_parent_private(s, at))
		return -1;
	if (sys_move_mount(fd, at))
		return fail(s, "move_mount", "%s", a->dest);
	close(at);
	return close(fd);
}

int do_open_plain_rootfs(struct stub *s, const struct step_open_plain_rootfs *a)
{
	s->root = open(a->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return s->root < 0 ? fail(s, "open", "%s", a->path) : 0;
}

int do_open_source(struct stub *s, const struct step_open_source *a)
{
	int fd = sys_open_tree(AT_FDCWD, a->source, OPEN_TREE_CLONE | (a->recursive ? AT_RECURSIVE : 0));
	if (fd < 0)
		return fail(s, "open_tree", "%s", a->source);
	/* Still a peer of the host's mount: otherwise later mounts beneath it would propagate to the host. */
	if (set_attr(fd, AT_RECURSIVE, 0, 0, (uint64_t)a->propagation)) {
		fail(s, "mount_setattr", "%s", a->source);
		close(fd);
		return -1;
	}
	return put_slot(s, a->slot, fd);
}

int new_filesystem(struct stub *s, const char *fstype, const char *source, struct strs options)
{
	int fs = (int)syscall(SYS_fsopen, fstype, FSOPEN_CLOEXEC);
	if (fs < 0)
		return fail(s, "fsopen", "filesystem type %s", fstype);
	if (*source && syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "source", source, 0))
		fs_fail(s, fs, "fsconfig", source);
	else if (!configure(s, fs, options)) {
		if (!syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
			return fs;
		fs_fail(s, fs, "fsconfig", fstype);
	}
	close(fs);
	return -1;
}

int mount_filesystem(struct stub *s, int fs, const char *fstype, uint64_t attrs)
{
	int fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attrs);
	if (fd < 0)
		fs_fail(s, fs, "fsmount", fstype);
	close(fs);
	return fd;
}

int new_mount(struct stub *s, const char *fstype, const char *source, struct strs options, uint64_t attrs)
{
	int fs = new_filesystem(s, fstype, source, options);
	return fs < 0 ? -1 : mount_filesystem(s, fs, fstype, attrs);
}

enum { COPY_UP = 1, INHERIT_MODE = 2, PLAIN_PLACE = 4, INHERIT_OWNER = 8 };

/* Give a new filesystem the owner and mode of the directory that it will cover. */
static int inherit(struct stub *s, int fd, int at, const struct step_mount *a)
{
	struct stat below;
	int dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fstat(at, &below) || (a->how & COPY_UP && copy_tree(s, at, dir)))
		return fail(s, "fstat", "%s", a->dest);
	/* The owner first: chown(2) may clear bits of the mode. */
	if (a->how & INHERIT_OWNER && fchown(dir, below.st_uid, below.st_gid))
		return fail(s, "fchown", "%s", a->dest);
	if (a->how & INHERIT_MODE && fchmod(dir, below.st_mode & 07777))
		return fail(s, "fchmod", "%s", a->dest);
	return close(dir);
}

/* The place of a mount. A directory that is created for a tmpfs gets the mode of the tmpfs: the tmpfs does not need it,
 * but the next container of this root filesystem finds the directory. */
static int place_of(struct stub *s, int fd, const struct step_mount *a, bool *was_there)
{
	struct stat st;
	int at = open_beneath(s, a->dest, O_PATH);
	*was_there = at >= 0;
	if (at >= 0)
		return at;
	at = make_beneath(s, a->dest, WANT_DIR);
	if (at < 0 || !(a->how & INHERIT_MODE) || fd < 0)
		return at;
	int dir = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fstat(fd, &st) || fchmod(dir, st.st_mode & 07777)) {
		fail(s, "fchmod", "%s", a->dest);
		close(at);
		at = -1;
	}
	close(dir);
	return at;
}

/* fsconfig(2) accepts values of up to 255 bytes; a list of overlay layers may be longer. */
static bool needs_old_mount(const struct step_mount *a)
{
	bool longer = strlen(a->source) > 255;
	FOR_EACH_STR(option, a->options)
	{
		const char *value = strchr(option, '=');
		longer = longer || (value && strlen(value + 1) > 255);
	}
	return longer;
}

/* The same as new_mount, with mount(2), which needs a mount point: a directory of a scratch tmpfs that covers `at`
 * meanwhile. */
static int old_mount(struct stub *s, const struct step_mount *a, int at)
{
	char data[4096] = "", place[48];
	size_t used = 0;
	FOR_EACH_STR(option, a->options)
	{
		used += (size_t)snprintf(data + used, sizeof data - used, "%s%s", used ? "," : "", option);
		if (used >= sizeof data)
			return fail_with(s, E2BIG, "mount", "options of %s", a->dest);
	}
	int scratch = new_mount(s, "tmpfs", "tmpfs", (struct strs){0, ""}, 0);
	if (scratch < 0)
		return -1;
	int fd = -1;
	if (sys_move_mount(scratch, at)) {
		fail(s, "move_mount", "scratch tmpfs on %s", a->dest);
		close(scratch);
		return -1;
	}
	snprintf(place, sizeof place, "/proc/self/fd/%d/m", scratch);
	if (mkdirat(scratch, "m", 0700) || syscall(SYS_mount, a->source, place, a->fstype, 0, data))
		fail(s, "mount", "filesystem type %s", a->fstype);
	else if ((fd = sys_open_tree(scratch, "m", OPEN_TREE_CLONE)) < 0)
		fail(s, "open_tree", "%s", a->dest);
	*strrchr(place, '/') = 0;
	if (syscall(SYS_umount2, place, MNT_DETACH)) {
		fail(s, "umount2", "scratch tmpfs on %s", a->dest);
		close(fd);
		fd = -1;
	}
	close(scratch);
	return fd;
}

int do_mount(struct stub *s, const struct step_mount *a)
{
	/* The filesystem before its mount point: if it cannot be created, no directory is left behind. */
	bool old = needs_old_mount(a);
	int fd = old                                          ? -1
		 : s->pids >= 0 && !strcmp(a->fstype, "proc") ? mount_proc_inside(s, a->source, a->options)
							      : new_mount(s, a->fstype, a->source, a->options, 0);
	if (fd < 0 && !old)
		return -1;
	int rc = -1;
	bool was_there = true;
	int at = a->how & PLAIN_PLACE ? make_plain(s, a->dest, WANT_DIR) : place_of(s, fd, a, &was_there);
	if (at < 0)
		goto out;
	if (old && (fd = old_mount(s, a, at)) < 0)
		goto out;
	if (was_there && a->how & (COPY_UP | INHERIT_MODE | INHERIT_OWNER) && inherit(s, fd, at, a))
		goto out;
	if (!apply(s, fd, ATTRS(a), a->dest) && !attach_at(s, fd, at, a->dest)) {
		rc = a->hold == NO_SLOT ? close(fd) : put_slot(s, a->hold, fd);
		fd = -1;
	}
out:
	if (fd >= 0)
		close(fd);
	if (at >= 0)
		close(at);
	return rc;
}

int do_readonly_mount(struct stub *s, const struct step_readonly_mount *a)
{
	int fd = get_slot(s, a->slot);
	if (fd < 0)
		return -1;
	if (set_attr(fd, 0, MOUNT_ATTR_RDONLY, 0, 0))
		return fail(s, "mount_setattr", "%s", a->dest);
	close(fd);
	s->slot[a->slot] = -1;
	return 0;
}

/* Clear attributes that the source has and the options do not name, unless they are locked (EPERM), as in a mount
 * namespace whose user namespace is not the source's (mount_namespaces(7)), or unknown to the kernel (EINVAL:
 * nosymfollow before Linux 5.14). */
static int clear_unnamed(struct stub *s, int fd, uint64_t attrs, const char *what)
{
	if (!set_attr(fd, 0, 0, attrs, 0))
		return 0;
	for (uint64_t one = 1; one <= attrs; one <<= 1)
		if (attrs & one && set_attr(fd, 0, 0, one, 0) && errno != EPERM && errno != EINVAL)
			return fail(s, "mount_setattr", "%s", what);
	return 0;
}

int do_bind(struct stub *s, const struct step_bind *a)
{
	int fd;
	if (a->slot != NO_SLOT) {
		fd = get_slot(s, a->slot);
		if (fd >= 0)
			s->slot[a->slot] = -1;
	} else {
		unsigned flags = OPEN_TREE_CLONE | (a->recursive ? AT_RECURSIVE : 0);
		fd = sys_open_tree(AT_FDCWD, a->source, flags);
		if (fd < 0 && errno == ENOENT && *a->otherwise)
			fd = sys_open_tree(AT_FDCWD, a->otherwise, flags);
		if (fd < 0)
			fail(s, "open_tree", "%s", a->source);
	}
	if (fd < 0)
		return -1;
	int rc = clear_unnamed(s, fd, (uint64_t)a->unnamed, a->dest);
	if (!rc)
		rc = apply(s, fd, ATTRS(a), a->dest);
	if (!rc)
		rc = attach(s, fd, a->dest, want_for(fd));
	if (!rc && a->hold != NO_SLOT)
		return put_slot(s, a->hold, fd);
	close(fd);
	return rc;
}

int do_release_mount(struct stub *s, const struct step_release_mount *a)
{
	int fd = get_slot(s, a->slot);
	if (fd < 0)
		return -1;
	s->slot[a->slot] = -1;
	return close(fd);
}

int do_remount(struct stub *s, const struct step_remount *a)
{
	int at = open_beneath(s, a->dest, O_PATH);
	if (at < 0)
		return fail(s, "openat2", "%s", a->dest);
	int rc = apply(s, at, ATTRS(a), a->dest);
	if (!rc && a->options.count) {
		int fs = (int)syscall(SYS_fspick, at, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH);
		if (fs < 0)
			rc = fail(s, "fspick", "%s", a->dest);
		else {
			rc = configure(s, fs, a->options);
			if (!rc && syscall(SYS_fsconfig, fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0))
				rc = fs_fail(s, fs, "fsconfig", a->dest);
			close(fs);
		}
	}
	close(at);
	return rc;
}

/* A path to hide or to make read-only; beneath the mount in a slot, if the plan names a slot. */
static int open_restricted(struct stub *s, const char *path, int64_t slot, const char *below)
{
	int mount = slot == NO_SLOT ? -1 : get_slot(s, slot);
	if (slot != NO_SLOT && mount < 0)
		return -1;
	int at = mount < 0 ? open_beneath(s, path, O_PATH) : open_below(mount, below, O_PATH);
	return at < 0 ? fail(s, "openat2", "%s", path) : at;
}

int do_readonly_path(struct stub *s, const struct step_readonly_path *a)
{
	/* One lookup for both: the file that becomes read-only is the file that is covered. */
	int at = open_restricted(s, a->path, a->slot, a->below);
	if (at < 0)
		return -1;
	int fd = sys_open_tree(at, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | AT_RECURSIVE), rc = -1;
	if (fd < 0)
		fail(s, "open_tree", "%s", a->path);
	else if (set_attr(fd, AT_RECURSIVE, MOUNT_ATTR_RDONLY, 0, 0))
		fail(s, "mount_setattr", "%s", a->path);
	else if ((rc = sys_move_mount(fd, at)))
		fail(s, "move_mount", "%s", a->path);
	if (fd >= 0)
		close(fd);
	close(at);
	return rc;
}

int do_mask_path(struct stub *s, const struct step_mask_path *a)
{
	int at = open_restricted(s, a->path, a->slot, a->below);
	if (at < 0)
		return -1;
	int fd, rc = -1;
	bool first = false;
	if (want_for(at) == WANT_FILE) {
		fd = sys_open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE);
		if (fd < 0)
			fail(s, "open_tree", "/dev/null");
	} else if (s->null_dir < 0) {
		first = true;
		fd = new_mount(s, "tmpfs", "tmpfs", (struct strs){3, "size=4k\0nr_inodes=1\0mode=755"},
			       MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	} else {
		/* One empty tmpfs serves every masked directory: a superblock each would cost more than the mounts. It
		 * can be cloned because it is attached by now: before Linux 6.15, a detached mount could not be cloned.
		 */
		fd = sys_open_tree(s->null_dir, "", AT_EMPTY_PATH | OPEN_TREE_CLONE);
		if (fd < 0)
			fail(s, "open_tree", "empty tmpfs");
	}
	if (fd >= 0) {
		rc = set_attr(fd, 0, MOUNT_ATTR_RDONLY, 0, MS_PRIVATE_);
		if (rc)
			fail(s, "mount_setattr", "%s", a->path);
		else if ((rc = sys_move_mount(fd, at)))
			fail(s, "move_mount", "%s", a->path);
		if (first && !rc)
			s->null_dir = fd;
		else
			close(fd);
	}
	close(at);
	return rc;
}

static int enter_root(struct stub *s)
{
	int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fail(s, "open", "/");
	if (dup3(fd, s->root, O_CLOEXEC) < 0)
		return fail(s, "dup3", "/");
	close(fd);
	if (s->null_dir >= 0)
		close(s->null_dir);
	s->null_dir = -1;
	return 0;
}

/* The working directory becomes the root. */
static int change_root(struct stub *s)
{
	if (chroot("."))
		return fail(s, "chroot", ".");
	if (chdir("/"))
		return fail(s, "chdir", "/");
	return enter_root(s);
}

int do_pivot_root(struct stub *s, const struct step_pivot_root *a)
{
	(void)a;
	int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (old < 0)
		return fail(s, "open", "/");
	/* The old root ends up over the new one at ".": no directory for it is needed in the container. */
	if (fchdir(s->root))
		return fail(s, "fchdir", "root filesystem");
	if (syscall(SYS_pivot_root, ".", "."))
		return fail(s, "pivot_root", ".");
	if (fchdir(old))
		return fail(s, "fchdir", "old root");
	/* Unmounting must not propagate to the host through a shared mount. */
	if (set_attr(old, AT_RECURSIVE, 0, 0, MS_SLAVE_))
		return fail(s, "mount_setattr", "old root");
	close(old);
	if (syscall(SYS_umount2, ".", MNT_DETACH))
		return fail(s, "umount2", "old root");
	if (chdir("/"))
		return fail(s, "chdir", "/");
	return enter_root(s);
}

int do_move_root(struct stub *s, const struct step_move_root *a)
{
	/* The host's tree stays reachable below the new root: with an unmasked procfs there, a user namespace could
	 * mount its own (mount_too_revealing in fs/namespace.c). So these mounts are removed first; locked mounts are
	 * covered by an empty tmpfs. */
	FOR_EACH_STR(path, a->hide)
	{
		if (!syscall(SYS_umount2, path, MNT_DETACH) || errno == EINVAL || errno == ENOENT)
			continue;
		int fd = new_mount(s, "tmpfs", "tmpfs", (struct strs){0, ""}, MOUNT_ATTR_RDONLY);
		int at = open(path, O_PATH | O_CLOEXEC);
		if (fd < 0)
			return -1;
		if (at < 0)
			return fail(s, "open", "%s", path);
		if (sys_move_mount(fd, at))
			return fail(s, "move_mount", "%s", path);
		close(fd);
		close(at);
	}
	int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (top < 0)
		return fail(s, "open", "/");
	if (fchdir(s->root))
		return fail(s, "fchdir", "root filesystem");
	if (sys_move_mount(s->root, top) && errno != ELOOP) /* ELOOP: it is there already (open_rootfs) */
		return fail(s, "move_mount", "root filesystem to /");
	close(top);
	return change_root(s);
}

int do_chroot(struct stub *s, const struct step_chroot *a)
{
	(void)a;
	if (fchdir(s->root))
		return fail(s, "fchdir", "root filesystem");
	return change_root(s);
}

int do_root_readonly(struct stub *s, const struct step_root_readonly *a)
{
	(void)a;
	return set_attr(s->root, 0, MOUNT_ATTR_RDONLY, 0, 0) ? fail(s, "mount_setattr", "/") : 0;
}
