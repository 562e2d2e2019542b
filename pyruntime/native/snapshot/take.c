/* Taking a snapshot of the interpreter that calls us, and what it does first when it is restored. */
#define _GNU_SOURCE
#include "take.h"
#include "fits.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char problem[512];
static const struct restored *from;

const char *snapshot_problem(void)
{
	return problem;
}

char **snapshot_arguments(void)
{
	return from ? from->arguments : NULL;
}

char **snapshot_environment(void)
{
	return environ;
}

uint64_t snapshot_ignored(void)
{
	uint64_t ignored = 0;
	struct sigaction action;
	for (int number = 1; number <= 64; number++)
		if (!sigaction(number, NULL, &action) && action.sa_handler == SIG_IGN)
			ignored |= (uint64_t)1 << number % 64;
	return ignored;
}

int snapshot_is_current(int fd)
{
	struct view view;
	return snapshot_fits(fd, &view);
}

static int refuse(const char *what, const char *about)
{
	snprintf(problem, sizeof problem, "%.200s: %.200s", what, about);
	return -1;
}

#ifdef __x86_64__

/* What a function must preserve (psABI): rbx, rbp, r12 to r15, rsp, the return address, MXCSR, the x87 control word. */
static struct registers {
	uint64_t whole[8];
	uint32_t mxcsr, x87;
} registers;

int save_registers(struct registers *out) __attribute__((returns_twice));
_Noreturn void load_registers(const struct registers *in);
__asm__(".pushsection .text\n"
	"save_registers:\n"
	"	mov %rbx, (%rdi)\n"
	"	mov %rbp, 8(%rdi)\n"
	"	mov %r12, 16(%rdi)\n"
	"	mov %r13, 24(%rdi)\n"
	"	mov %r14, 32(%rdi)\n"
	"	mov %r15, 40(%rdi)\n"
	"	lea 8(%rsp), %rax\n"
	"	mov %rax, 48(%rdi)\n"
	"	mov (%rsp), %rax\n"
	"	mov %rax, 56(%rdi)\n"
	"	stmxcsr 64(%rdi)\n"
	"	fnstcw 68(%rdi)\n"
	"	xor %eax, %eax\n"
	"	ret\n"
	"load_registers:\n"
	"	mov (%rdi), %rbx\n"
	"	mov 8(%rdi), %rbp\n"
	"	mov 16(%rdi), %r12\n"
	"	mov 24(%rdi), %r13\n"
	"	mov 32(%rdi), %r14\n"
	"	mov 40(%rdi), %r15\n"
	"	mov 48(%rdi), %rsp\n"
	"	ldmxcsr 64(%rdi)\n"
	"	fldcw 68(%rdi)\n"
	"	mov $1, %eax\n"
	"	jmp *56(%rdi)\n"
	".popsection\n");

/* What the kernel knows of the main thread, and forgets with the process. */
static struct {
	int *id;      /* set_tid_address(2) */
	void *robust; /* set_robust_list(2) */
	size_t robust_size;
} thread;

extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));
#define RSEQ_LENGTH 32
#define RSEQ_SIGNATURE 0x53053053

static void register_thread(void)
{
	*thread.id = (int)syscall(SYS_set_tid_address, thread.id);
	syscall(SYS_set_robust_list, thread.robust, thread.robust_size);
	if (!&__rseq_offset || !&__rseq_size || !__rseq_size)
		return;
	/* struct rseq begins with two numbers of a processor; -2 means: not registered */
	int32_t *area = (int32_t *)((char *)__builtin_thread_pointer() + __rseq_offset);
	memset(area, 0, RSEQ_LENGTH);
	if (syscall(SYS_rseq, area, RSEQ_LENGTH, 0, RSEQ_SIGNATURE))
		area[1] = -2;
}

static _Noreturn void resume(const struct restored *given)
{
	from = given;
	environ = given->environment;
	register_thread();
	load_registers(&registers);
}

/* Everything that is needed to write the file; not part of the snapshot. */
struct work {
	char maps[1 << 20];
	size_t maps_size;
	int64_t began; /* in ns: what has changed since may not be what was imported */
	struct snapshot head;
	struct region region[2048];
	struct known_file file[2048];
	struct touched touched[8192];
	char paths[SNAPSHOT_LIMIT];
	char block[1 << 16];
	_Alignas(8) char tables[SNAPSHOT_LIMIT];
	uint64_t contents; /* size of the contents so far */
};

#define MAPS "/proc/self/smaps"

static int read_maps(struct work *w)
{
	int fd = open(MAPS, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return refuse(MAPS, strerror(errno));
	ssize_t size;
	while ((size = read(fd, w->maps + w->maps_size, sizeof w->maps - 1 - w->maps_size)) > 0)
		w->maps_size += (size_t)size;
	close(fd);
	if (size < 0)
		return refuse(MAPS, strerror(errno));
	return w->maps_size == sizeof w->maps - 1 ? refuse(MAPS, "too long") : 0;
}

/* The number of a file, which is recorded with what stat(2) says of it. */
static int know(struct work *w, const char *path, bool mapped)
{
	for (uint32_t i = 0; i < w->head.files; i++)
		if (!strcmp(w->paths + w->file[i].path, path)) {
			w->file[i].mapped |= mapped;
			return (int)i;
		}
	struct stat found;
	size_t size = strlen(path) + 1;
	if (stat(path, &found))
		return refuse(path, strerror(errno));
	if (found.st_ctim.tv_sec * 1000000000LL + found.st_ctim.tv_nsec >= w->began)
		return refuse(path, "changed while the snapshot was taken");
	if (w->head.files == sizeof w->file / sizeof *w->file || w->head.paths + size > sizeof w->paths)
		return refuse(path, "too many files");
	memcpy(w->paths + w->head.paths, path, size);
	w->file[w->head.files] = (struct known_file){.inode = found.st_ino,
						     .size = (uint64_t)found.st_size,
						     .modified_s = (uint64_t)found.st_mtim.tv_sec,
						     .modified_ns = (uint64_t)found.st_mtim.tv_nsec,
						     .changed_s = (uint64_t)found.st_ctim.tv_sec,
						     .changed_ns = (uint64_t)found.st_ctim.tv_nsec,
						     .path = w->head.paths,
						     .mapped = mapped};
	w->head.paths += (uint32_t)size;
	return (int)w->head.files++;
}

/* Whether a mapped part of a file still has the file's content: libraries relocate themselves. */
static bool unchanged(struct work *w, const struct region *region, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t done = 0;
	bool same = fd >= 0;
	while (same && done < region->size) {
		uint64_t left = region->size - done;
		ssize_t size = pread(fd, w->block, left < sizeof w->block ? left : sizeof w->block,
				     (off_t)(region->offset + done));
		if (size <= 0) {
			same = !size && done; /* the rest of the last page is zero, or is not looked at */
			break;
		}
		same = !memcmp(w->block, (const void *)(region->address + done), (size_t)size);
		done += (uint64_t)size;
	}
	if (fd >= 0)
		close(fd);
	return same;
}

static int add_region(struct work *w, struct region region)
{
	if (w->head.regions == sizeof w->region / sizeof *w->region)
		return refuse(MAPS, "too many regions");
	if (region.source == FROM_SNAPSHOT) {
		region.offset = w->contents;
		w->contents += region.size;
	}
	w->region[w->head.regions++] = region;
	return 0;
}

/* The vDSO or its data. */
static int add_kernel_mapping(struct work *w, const struct region *region, const char *name)
{
	uint32_t i = 0;
	while (i < 4 && w->head.kernel[i].size)
		i++;
	if (i == 4)
		return refuse(name, "more mappings of the kernel than are known");
	w->head.kernel[i].address = region->address;
	w->head.kernel[i].size = region->size;
	if (!strcmp(name, "[vdso]"))
		w->head.kernel_code = region->address;
	return 0;
}

/* The used part of the stack, which contains the address `here`, and room to grow. */
static int add_stack(struct work *w, struct region region, uint64_t here)
{
	uint64_t used = (here - 16384) & ~(uint64_t)4095;
	if (used > region.address) {
		region.size -= used - region.address;
		region.address = used;
	}
	struct region room = {.address = region.address - STACK_ROOM,
			      .size = STACK_ROOM,
			      .source = GROWING_STACK,
			      .protection = region.protection};
	return add_region(w, room) || add_region(w, region) ? -1 : 0;
}

static int add_file_mapping(struct work *w, struct region region, const char *path)
{
	if (strstr(path, " (deleted)"))
		return refuse(path, "mapped, and deleted");
	if (unchanged(w, &region, path)) {
		region.source = know(w, path, true);
		if (region.source < 0)
			return -1;
	}
	return add_region(w, region);
}

/* One mapping: its first line, and its flags (proc_pid_smaps(5)). */
static int add_mapping(struct work *w, char *line, const char *flags)
{
	unsigned long begin, end, offset;
	char mode[5], *path = line;
	int at = 0;
	if (sscanf(line, "%lx-%lx %4s %lx %*s %*s %n", &begin, &end, mode, &offset, &at) < 4)
		return refuse(MAPS, line);
	path += at;
	uint64_t here = (uint64_t)__builtin_frame_address(0);
	struct region region = {.address = begin,
				.size = end - begin,
				.offset = offset,
				.source = FROM_SNAPSHOT,
				.protection = (mode[0] == 'r' ? PROT_READ : 0) | (mode[1] == 'w' ? PROT_WRITE : 0) |
					      (mode[2] == 'x' ? PROT_EXEC : 0)};
	if (begin == (uint64_t)w || !strcmp(path, "[vsyscall]") || mode[0] != 'r')
		return 0;
	if (!strncmp(path, "[vvar", 5) || !strcmp(path, "[vdso]"))
		return add_kernel_mapping(w, &region, path);
	if (mode[3] == 's' && (mode[1] == 'w' || *path != '/'))
		return refuse(*path ? path : MAPS, "memory shared with other processes");
	if (begin <= here && here < end)
		return add_stack(w, region, here);
	if (*path == '/')
		return add_file_mapping(w, region, path);
	/* The C library's random generator keeps its state in such memory, and seeds itself when it finds it empty, as
	 * it is in a fork. Two processes with one state would draw the same numbers. */
	if (strstr(flags, " wf"))
		region.source = FROM_NOTHING_AS_IN_FORKS;
	return add_region(w, region);
}

static int put(int fd, const void *data, uint64_t size)
{
	const char *at = data;
	while (size) {
		ssize_t written = write(fd, at, size);
		if (written < 0)
			return refuse("the snapshot", strerror(errno));
		at += written;
		size -= (uint64_t)written;
	}
	return 0;
}

static bool in_snapshot(const struct work *w, struct touched pages)
{
	for (uint32_t i = 0; i < w->head.regions; i++) {
		const struct region *region = &w->region[i];
		if (pages.address >= region->address && pages.size <= region->size &&
		    pages.address - region->address <= region->size - pages.size)
			return region->source == FROM_SNAPSHOT && region->protection & PROT_WRITE;
	}
	return false;
}

/* Those of the pages that are in the snapshot: the others belong to this process alone. */
static void add_touched(struct work *w, const char *list, size_t size)
{
	const size_t limit = sizeof w->touched / sizeof *w->touched;
	struct touched pages;
	for (; size >= sizeof pages && w->head.touched < limit; list += sizeof pages, size -= sizeof pages) {
		memcpy(&pages, list, sizeof pages);
		if (in_snapshot(w, pages))
			w->touched[w->head.touched++] = pages;
	}
}

/* The tables as they stand in the file, in whole pages; NULL after refuse(). */
static const struct snapshot *assemble(struct work *w)
{
	struct snapshot *head = &w->head;
	const uint64_t regions = head->regions * sizeof *w->region, files = head->files * sizeof *w->file,
		       touched = head->touched * sizeof *w->touched;
	head->size = (sizeof *head + regions + files + touched + head->paths + 7) & ~(uint64_t)7;
	if (head->size > sizeof w->tables) {
		refuse("the snapshot", "too many regions and files");
		return NULL;
	}
	const uint64_t begin = whole_pages(head->size);
	for (uint32_t i = 0; i < head->regions; i++)
		if (w->region[i].source == FROM_SNAPSHOT)
			w->region[i].offset += begin;
	head->whole = begin + w->contents;
	memcpy(w->tables + sizeof *head, w->region, regions);
	memcpy(w->tables + sizeof *head + regions, w->file, files);
	memcpy(w->tables + sizeof *head + regions + files, w->touched, touched);
	memcpy(w->tables + sizeof *head + regions + files + touched, w->paths, head->paths);
	struct snapshot *tables = (struct snapshot *)w->tables;
	*tables = *head;
	tables->checksum = snapshot_checksum(tables);
	return tables;
}

#define PAGE 4096
static const char zeros[PAGE];

/* The content of a region. Pages of zeros, which are a third of all, become holes, which no disk has to read. */
static int put_region(int fd, const struct region *region)
{
	const char *page = (const char *)region->address;
	for (uint64_t done = 0; done < region->size; done += PAGE, page += PAGE) {
		if (!memcmp(page, zeros, PAGE)) {
			if (lseek(fd, PAGE, SEEK_CUR) < 0)
				return refuse("the snapshot", strerror(errno));
		} else if (put(fd, page, PAGE)) {
			return -1;
		}
	}
	return 0;
}

static int put_file(struct work *w, int fd)
{
	const struct snapshot *tables = assemble(w);
	if (!tables || put(fd, tables, whole_pages(tables->size)))
		return -1;
	for (uint32_t i = 0; i < w->head.regions; i++)
		if (w->region[i].source == FROM_SNAPSHOT && put_region(fd, &w->region[i]))
			return -1;
	if (ftruncate(fd, (off_t)w->head.whole))
		return refuse("the snapshot", strerror(errno));
	/* After a power failure, a file without its contents would end every command. */
	return fsync(fd) ? refuse("the snapshot", strerror(errno)) : 0;
}

static int add_mappings(struct work *w)
{
	if (read_maps(w))
		return -1;
	char *mapping = w->maps;
	for (char *line = w->maps, *end; *line; line = end + 1) {
		end = strchr(line, '\n');
		*end = 0;
		if (strncmp(line, "VmFlags:", 8))
			continue;
		if (add_mapping(w, mapping, line))
			return -1;
		mapping = end + 1;
	}
	return 0;
}

static int write_snapshot(struct work *w, int fd, char **sources, bool usable, const char *touched, size_t touched_size)
{
	w->head = (struct snapshot){
	    .magic = SNAPSHOT_MAGIC, .thread = (uint64_t)__builtin_thread_pointer(), .resume = (uint64_t)resume};
	if (describe_machine(&w->head.machine) || (usable && add_mappings(w)))
		return -1;
	for (; *sources; sources++)
		if (know(w, *sources, false) < 0)
			return -1;
	add_touched(w, touched, touched_size);
	return put_file(w, fd);
}

#ifdef __GLIBC__
extern void *__curbrk; /* where the C library believes the heap to end; sbrk(3) asks the kernel for what follows it */
#endif
#define LAST_PAGE ((void *)0x7ffffffff000) /* of the addresses that a process can have: nothing follows */
#define LARGEST_BLOCK (32 * 1024 * 1024)   /* of the heap; the most that mallopt(3) permits */

/* What must be known of this process, and set in it, before it is written. */
static int prepare(void)
{
#ifdef __GLIBC__
	/* A restored process has another heap (brk(2)), which does not end where the allocator believes. So the
	 * allocator must not give back the end of the heap (M_TRIM_THRESHOLD). That option also fixes the size from
	 * which on blocks are mapped one by one, which is why M_MMAP_THRESHOLD raises it.
	 *
	 * When the allocator needs more, it asks for what follows its heap. If the kernel refuses, the allocator maps
	 * memory elsewhere, and remembers that its memory is not one piece. But for addresses below the new heap, as
	 * those of an interpreter that is not position-independent, the kernel's answer is the end of the new heap,
	 * which looks like success. The last page of all addresses is always refused. */
	if (!mallopt(M_TRIM_THRESHOLD, -1) || !mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK))
		return refuse("the allocator", "it cannot be told not to shrink the heap");
	__curbrk = LAST_PAGE;
	if (prctl(PR_GET_TID_ADDRESS, &thread.id) ||
	    syscall(SYS_get_robust_list, 0, &thread.robust, &thread.robust_size))
		return refuse("the kernel", "CONFIG_CHECKPOINT_RESTORE is missing");
	return 0;
#else
	return refuse("the C library", "only snapshots of glibc's memory can be restored");
#endif
}

int snapshot_take(int fd, char **sources, int usable, int64_t began, const char *touched, size_t touched_size)
{
	if (usable && prepare())
		return -1;
	/* Between two pages without access, so that the kernel does not join it to a mapping of the interpreter. */
	const size_t size = whole_pages(sizeof(struct work)), page = 4096;
	char *place = mmap(NULL, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (place == MAP_FAILED || mprotect(place + page, size, PROT_READ | PROT_WRITE))
		return refuse("no memory", strerror(errno));
	struct work *w = (struct work *)(place + page);
	w->began = began;
	if (save_registers(&registers))
		return 1;
	int result = write_snapshot(w, fd, sources, usable, touched, touched_size);
	munmap(place, size + 2 * page);
	return result;
}

#else

int snapshot_take(int fd, char **sources, int usable, int64_t began, const char *touched, size_t touched_size)
{
	(void)fd, (void)sources, (void)usable, (void)began, (void)touched, (void)touched_size;
	return refuse("snapshots", "only on x86-64"); /* arm64 signs return addresses with a key of the process */
}

#endif
