/* Taking a snapshot of the interpreter that calls us, and what it does first when it is restored. */
#define _GNU_SOURCE
#include "take.h"
#include "fits.h"
#include <errno.h>
#include <fcntl.h>
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
	char maps[SNAPSHOT_LIMIT];
	size_t maps_size;
	struct snapshot head;
	struct region region[2048];
	struct known_file file[2048];
	char paths[SNAPSHOT_LIMIT];
	char block[1 << 16];
	_Alignas(8) char tables[SNAPSHOT_LIMIT];
	uint64_t contents; /* size of the contents so far */
};

static int read_maps(struct work *w)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return refuse("/proc/self/maps", strerror(errno));
	ssize_t size;
	while ((size = read(fd, w->maps + w->maps_size, sizeof w->maps - 1 - w->maps_size)) > 0)
		w->maps_size += (size_t)size;
	close(fd);
	return size ? refuse("/proc/self/maps", "too long") : 0;
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
		return refuse("/proc/self/maps", "too many regions");
	if (region.source == FROM_SNAPSHOT) {
		region.offset = w->contents;
		w->contents += region.size;
	}
	w->region[w->head.regions++] = region;
	return 0;
}

/* One line of /proc/self/maps. */
static int add_mapping(struct work *w, char *line)
{
	unsigned long begin, end, offset;
	char mode[5], *path = line;
	int at = 0;
	if (sscanf(line, "%lx-%lx %4s %lx %*s %*s %n", &begin, &end, mode, &offset, &at) < 4)
		return refuse("/proc/self/maps", line);
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
	if (!strncmp(path, "[vvar", 5) || !strcmp(path, "[vdso]")) {
		uint32_t i = 0;
		while (i < 4 && w->head.kernel[i].size)
			i++;
		if (i == 4)
			return refuse(path, "more mappings of the kernel than are known");
		w->head.kernel[i].address = begin;
		w->head.kernel[i].size = end - begin;
		if (!strcmp(path, "[vdso]"))
			w->head.kernel_code = begin;
		return 0;
	}
	if (begin <= here && here < end) {
		uint64_t used = (here - 16384) & ~(uint64_t)4095;
		if (used < begin)
			used = begin;
		region = (struct region){.address = used - STACK_ROOM,
					 .size = STACK_ROOM,
					 .source = FROM_NOTHING,
					 .protection = PROT_READ | PROT_WRITE};
		if (add_region(w, region))
			return -1;
		return add_region(w, (struct region){.address = used,
						     .size = end - used,
						     .source = FROM_SNAPSHOT,
						     .protection = PROT_READ | PROT_WRITE});
	}
	if (*path == '/') {
		if (mode[3] == 's' && mode[1] == 'w')
			return refuse(path, "memory shared with other processes");
		if (strstr(path, " (deleted)"))
			return refuse(path, "mapped, and deleted");
		if (unchanged(w, &region, path)) {
			region.source = know(w, path, true);
			if (region.source < 0)
				return -1;
		}
	} else if (mode[3] == 's') {
		return refuse("/proc/self/maps", "memory shared with other processes");
	}
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

/* The tables as they stand in the file, in whole pages; NULL after refuse(). */
static const struct snapshot *assemble(struct work *w)
{
	struct snapshot *head = &w->head;
	const uint64_t regions = head->regions * sizeof *w->region, files = head->files * sizeof *w->file;
	head->size = (sizeof *head + regions + files + head->paths + 7) & ~(uint64_t)7;
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
	memcpy(w->tables + sizeof *head + regions + files, w->paths, head->paths);
	struct snapshot *tables = (struct snapshot *)w->tables;
	*tables = *head;
	tables->checksum = snapshot_checksum(tables);
	return tables;
}

static int put_file(struct work *w, int fd)
{
	const struct snapshot *tables = assemble(w);
	if (!tables || put(fd, tables, whole_pages(tables->size)))
		return -1;
	for (uint32_t i = 0; i < w->head.regions; i++)
		if (w->region[i].source == FROM_SNAPSHOT &&
		    put(fd, (const void *)w->region[i].address, w->region[i].size))
			return -1;
	/* After a power failure, a file without its contents would end every command. */
	return fsync(fd) ? refuse("the snapshot", strerror(errno)) : 0;
}

static int add_mappings(struct work *w)
{
	if (read_maps(w))
		return -1;
	for (char *line = w->maps, *end; *line; line = end + 1) {
		end = strchr(line, '\n');
		*end = 0;
		if (add_mapping(w, line))
			return -1;
	}
	return 0;
}

static int write_snapshot(struct work *w, int fd, char **sources, bool usable)
{
	w->head = (struct snapshot){
	    .magic = SNAPSHOT_MAGIC, .thread = (uint64_t)__builtin_thread_pointer(), .resume = (uint64_t)resume};
	if (describe_machine(&w->head.machine) || (usable && add_mappings(w)))
		return -1;
	for (; *sources; sources++)
		if (know(w, *sources, false) < 0)
			return -1;
	return put_file(w, fd);
}

int snapshot_take(int fd, char **sources, int usable)
{
	if (prctl(PR_GET_TID_ADDRESS, &thread.id) ||
	    syscall(SYS_get_robust_list, 0, &thread.robust, &thread.robust_size))
		return refuse("the kernel", "CONFIG_CHECKPOINT_RESTORE is missing");
	/* Between two pages without access, so that the kernel does not join it to a mapping of the interpreter. */
	const size_t size = whole_pages(sizeof(struct work)), page = 4096;
	char *place = mmap(NULL, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (place == MAP_FAILED || mprotect(place + page, size, PROT_READ | PROT_WRITE))
		return refuse("no memory", strerror(errno));
	struct work *w = (struct work *)(place + page);
	if (save_registers(&registers))
		return 1;
	int result = write_snapshot(w, fd, sources, usable);
	munmap(place, size + 2 * page);
	return result;
}

#else

int snapshot_take(int fd, char **sources, int usable)
{
	(void)fd, (void)sources, (void)usable;
	return refuse("snapshots", "only on x86-64"); /* arm64 signs return addresses with a key of the process */
}

#endif
