/* The file of a snapshot: an interpreter that has imported a command's modules, as a new process can map it.
 *
 *     struct snapshot | regions | files | sources | touched | paths | padding | contents of regions, in whole pages
 *
 * Written by take.c within the interpreter, read by front/restore.c. Both are built for one machine: numbers have the
 * machine's size and byte order. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define SNAPSHOT_MAGIC 0x31746f6873796e70 /* "pynshot1" */
#define SNAPSHOT_LIMIT (256 * 1024)       /* bytes before the contents of regions */
#define STACK_ROOM (64 * 1024)            /* for the stack; it grows further at need (MAP_GROWSDOWN) */

/* A part of the interpreter's memory. `source` is the number of a file, or one of these: */
enum { FROM_SNAPSHOT = -1, GROWING_STACK = -2, FROM_NOTHING_AS_IN_FORKS = -3 /* MADV_WIPEONFORK */ };
struct region {
	uint64_t address, size, offset;
	int32_t source, protection;
};

/* Pages that the command will write to. */
struct touched {
	uint64_t address, size;
};

/* A file whose content belongs to the snapshot: a program or library that is mapped, or a module's source. */
struct known_file {
	uint64_t inode, size, modified_s, modified_ns, changed_s, changed_ns;
	uint32_t path; /* offset below `paths`, to a text that ends with NUL */
	uint32_t mapped;
};

/* What must not have changed since: the processor and the kernel, whose code is part of the interpreter's memory. */
struct machine {
	uint32_t processor[9];
	char kernel[2][65]; /* release and version: uname(2) */
};

/* What the interpreter gets from the process that restores it. */
struct restored {
	char **arguments, **environment;
};

struct snapshot {
	uint64_t magic;
	uint64_t size;     /* of everything before the contents of regions, */
	uint64_t checksum; /* and its words from `whole` on, see snapshot_checksum */
	uint64_t whole;    /* size of the file */
	struct machine machine;
	uint32_t regions, files, touched, paths; /* how many; bytes */
	uint64_t kernel_code;                    /* where the vDSO was */
	struct {
		uint64_t address, size;
	} kernel[4];     /* the vDSO and its data */
	uint64_t thread; /* the thread pointer */
	uint64_t resume; /* void resume(const struct restored *) */
};

#ifdef __x86_64__
#include <cpuid.h>
#include <string.h>
#include <sys/utsname.h>

/* FNV-1a over words; what is left at the end is not looked at. */
static inline uint64_t snapshot_checksum(const struct snapshot *head)
{
	uint64_t sum = 0xcbf29ce484222325;
	const uint64_t *word = &head->whole, *end = (const uint64_t *)((const char *)head + head->size) - 1;
	for (; word <= end; word++)
		sum = (sum ^ *word) * 0x100000001b3;
	return sum;
}

static inline uint64_t whole_pages(uint64_t size)
{
	return (size + 4095) & ~(uint64_t)4095;
}

/* Leaves 1 and 7: the features by which the C library has chosen its functions. */
static inline int describe_machine(struct machine *out)
{
	struct utsname name;
	memset(out, 0, sizeof *out);
	if (uname(&name))
		return -1;
	uint32_t *cpu = out->processor, other;
	__cpuid(1, cpu[0], other, cpu[1], cpu[2]);
	__cpuid_count(7, 0, cpu[3], cpu[4], cpu[5], cpu[6]);
	if (cpu[1] & bit_OSXSAVE)
		__asm__("xgetbv" : "=a"(cpu[7]), "=d"(cpu[8]) : "c"(0));
	memcpy(out->kernel[0], name.release, sizeof name.release);
	memcpy(out->kernel[1], name.version, sizeof name.version);
	return 0;
}
#endif
