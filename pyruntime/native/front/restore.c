/* Restoring an interpreter from a snapshot: it has imported the modules of its command (decision 0024).
 *
 * Whatever does not fit (another kernel or processor, a changed source, an address that is taken) means that the
 * command starts the interpreter instead. Until the last instruction of this file that is possible: nothing of this
 * program has been overwritten. */
#define _GNU_SOURCE
#include "front.h"
#include "../snapshot/fits.h"
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifdef __x86_64__

#define ARCH_SET_FS 0x1002 /* <asm/prctl.h> */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* <asm-generic/mman-common.h> */
#endif
#define LARGE (64 * 1024) /* what the kernel reads ahead by itself, roughly */

/* Have the kernel read a part of a file all at once if it is not in memory: page by page, a disk takes long. */
static void read_ahead(int fd, uint64_t offset, uint64_t size)
{
	char byte;
	struct iovec place = {&byte, 1};
	if (syscall(SYS_preadv2, fd, &place, 1, offset + size / 2, 0, RWF_NOWAIT) < 0)
		posix_fadvise(fd, (off_t)offset, (off_t)size, POSIX_FADV_WILLNEED);
}

static bool map(const struct region *region, int fd)
{
	void *place = (void *)region->address;
	int flags = MAP_PRIVATE | MAP_FIXED_NOREPLACE | (fd < 0 ? MAP_ANONYMOUS | MAP_NORESERVE : 0);
	if (region->source == GROWING_STACK)
		flags |= MAP_GROWSDOWN;
	if (fd >= 0 && region->size > LARGE)
		read_ahead(fd, region->offset, region->size);
	void *got = mmap(place, region->size, region->protection, flags, fd, fd < 0 ? 0 : (off_t)region->offset);
	if (got != place)
		return false;
	return region->source != FROM_NOTHING_AS_IN_FORKS || !madvise(place, region->size, MADV_WIPEONFORK);
}

/* The regions from one file; of the snapshot itself, or from nothing, if `source` is negative. */
static bool map_regions(const struct view *view, int source, int fd)
{
	for (uint32_t i = 0; i < view->head->regions; i++)
		if (view->region[i].source == source && !map(&view->region[i], fd))
			return false;
	return true;
}

static bool map_file(const struct view *view, uint32_t number)
{
	int fd = open(view->paths + view->file[number].path, O_RDONLY | O_CLOEXEC);
	bool mapped = fd >= 0 && map_regions(view, (int)number, fd);
	if (fd >= 0)
		close(fd);
	return mapped;
}

static bool map_everything(const struct view *view, int fd)
{
	if (!map_regions(view, GROWING_STACK, -1) || !map_regions(view, FROM_NOTHING_AS_IN_FORKS, -1) ||
	    !map_regions(view, FROM_SNAPSHOT, fd))
		return false;
	for (uint32_t i = 0; i < view->head->files; i++)
		if (view->file[i].mapped && !map_file(view, i))
			return false;
	return true;
}

/* Copy the pages that the command will write to, which takes half as long as one by one, each at its first write. */
static void copy_touched(const struct view *view)
{
	for (uint32_t i = 0; i < view->head->touched; i++)
		if (madvise((void *)view->touched[i].address, view->touched[i].size, MADV_POPULATE_WRITE))
			return; /* before Linux 5.14; or no memory, which the command will notice */
}

/* The C library calls the vDSO where it was: the kernel's code and data move there. */
static bool move_kernel_code(const struct snapshot *head)
{
	uint64_t code = getauxval(AT_SYSINFO_EHDR);
	for (int i = 0; i < 4 && head->kernel[i].size; i++) {
		uint64_t there = head->kernel[i].address, size = head->kernel[i].size;
		struct region target = {.address = there, .size = size, .protection = PROT_NONE};
		void *here = (void *)(there - head->kernel_code + code);
		if (!code || !map(&target, -1) ||
		    mremap(here, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, there) == MAP_FAILED)
			return false;
	}
	return true;
}

/* An interpreter would obey the variables of the dynamic linker (LD_PRELOAD of fakeroot, LD_LIBRARY_PATH). And where
 * the kernel has raised our privileges, it would run without those of a file (capabilities(7)). */
static bool wanted(void)
{
	for (char **variable = environ; *variable; variable++)
		if (!strncmp(*variable, "LD_", 3) || !strcmp(*variable, "PYRUNTIME_SNAPSHOT=off"))
			return false;
	return !getauxval(AT_SECURE);
}

void restore(const char *path, char **arguments, char **environment)
{
	static struct restored given;
	struct view view;
	int fd = wanted() ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	bool ready =
	    snapshot_fits(fd, &view) && view.head->regions && map_everything(&view, fd) && move_kernel_code(view.head);
	close(fd);
	if (!ready)
		return;
	copy_touched(&view);
	given = (struct restored){arguments, environment};
	void (*resume)(const struct restored *) = (void (*)(const struct restored *))view.head->resume;
	/* From here on the thread pointer is the interpreter's: nothing of our C library may be called. */
	long result;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "0"(SYS_arch_prctl), "D"(ARCH_SET_FS), "S"(view.head->thread)
			 : "rcx", "r11", "memory");
	if (result)
		return; /* nothing has changed: a sandbox forbids it */
	resume(&given);
	__builtin_unreachable();
}

#else

void restore(const char *path, char **arguments, char **environment)
{
	(void)path, (void)arguments, (void)environment;
}

#endif
