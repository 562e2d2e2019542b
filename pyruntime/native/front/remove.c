/* The end of `delete`: the ID is released by a rename, then the directory is removed (lifecycle/store.py). */
#define _GNU_SOURCE
#include "front.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1U /* linux/fs.h */
#endif

static int is_known(void *context, const char *name, unsigned char type)
{
	(void)type;
	const struct strs *names = context;
	FOR_EACH_STR(known, *names)
	if (!strcmp(known, name))
		return 0;
	return HAND_OVER;
}

/* Whether it was our container's directory that was renamed. Another `delete` may have released the ID since we opened
 * it, and a `create` claimed it: that container gets its name back. */
static bool is_ours(const struct front *f, const char *retired)
{
	struct stat ours, renamed;
	if (!fstat(f->directory, &ours) && !fstatat(f->root, retired, &renamed, AT_SYMLINK_NOFOLLOW) &&
	    ours.st_dev == renamed.st_dev && ours.st_ino == renamed.st_ino)
		return true;
	syscall(SYS_renameat2, f->root, retired, f->root, f->container.id, RENAME_NOREPLACE);
	return false;
}

int do_remove_state(struct front *f, const struct step_remove_state *a)
{
	char retired[512], thread[24], pid[24];
	const char *parts[] = {(const char[]){UNCLAIMED, 0},
			       f->container.id,
			       ".",
			       decimal(thread, gettid()),
			       ".",
			       decimal(pid, getpid()),
			       NULL};
	struct strs names = a->names;
	if (!join(retired, sizeof retired, parts) || each_entry(f->directory, is_known, &names))
		return HAND_OVER;
	if (renameat(f->root, f->container.id, f->root, retired) || !is_ours(f, retired))
		return HAND_OVER; /* another `delete` was faster */
	/* The container is deleted now: if we are killed, Python's next `create` or `delete` removes the rest. */
	FOR_EACH_STR(name, names)
	unlinkat(f->directory, name, 0);
	unlinkat(f->root, retired, AT_REMOVEDIR);
	return 0;
}
