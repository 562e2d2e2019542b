#define _GNU_SOURCE
#include "fits.h"
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __x86_64__

/* Whether its owner is trusted: root, us, or the owner of the program that runs, who could have changed that program.
 * In a user namespace, where root's files belong to nobody, it is the last. */
static bool trusted(const struct stat *file)
{
	struct stat program;
	if (file->st_mode & 022)
		return false;
	return !file->st_uid || file->st_uid == geteuid() ||
	       (!stat("/proc/self/exe", &program) && program.st_uid == file->st_uid);
}

/* The tables, if the file is complete, and its owner is trusted. */
static bool view_of(int fd, struct view *out)
{
	struct stat found;
	if (fstat(fd, &found) || !trusted(&found) || (size_t)found.st_size < sizeof *out->head)
		return false;
	size_t size = found.st_size < SNAPSHOT_LIMIT ? (size_t)found.st_size : SNAPSHOT_LIMIT;
	const char *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return false;
	const struct snapshot *head = (const void *)data;
	if (head->magic != SNAPSHOT_MAGIC || head->whole != (uint64_t)found.st_size || head->size > size ||
	    head->size < sizeof *head || head->size % 8 || head->checksum != snapshot_checksum(head))
		return false;
	out->head = head;
	out->region = (const void *)(head + 1);
	out->file = (const void *)(out->region + head->regions);
	out->touched = (const void *)(out->file + head->files);
	out->paths = (const char *)(out->touched + head->touched);
	return true;
}

static bool same_machine(const struct machine *then)
{
	struct machine now;
	return !describe_machine(&now) && !memcmp(&now, then, sizeof now);
}

static bool same_file(const struct known_file *then, const struct stat *now)
{
	return then->inode == now->st_ino && then->size == (uint64_t)now->st_size &&
	       then->modified_s == (uint64_t)now->st_mtim.tv_sec &&
	       then->modified_ns == (uint64_t)now->st_mtim.tv_nsec &&
	       then->changed_s == (uint64_t)now->st_ctim.tv_sec && then->changed_ns == (uint64_t)now->st_ctim.tv_nsec;
}

static bool files_unchanged(const struct view *view)
{
	for (uint32_t i = 0; i < view->head->files; i++) {
		const struct known_file *file = &view->file[i];
		struct stat now;
		if (file->path >= view->head->paths || stat(view->paths + file->path, &now) || !same_file(file, &now))
			return false;
	}
	return true;
}

bool snapshot_fits(int fd, struct view *out)
{
	return view_of(fd, out) && same_machine(&out->head->machine) && files_unchanged(out);
}

#else

bool snapshot_fits(int fd, struct view *out)
{
	(void)fd, (void)out;
	return true; /* nothing to replace */
}

#endif
