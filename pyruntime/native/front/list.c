/* `list -q`: the list of each container's plan, in the order of the IDs. */
#define _GNU_SOURCE
#include "front.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
	size_t count, used;
	const char *name[1 << 14];
	char text[1 << 20];
} names;

static int collect(void *context, const char *name, unsigned char type)
{
	(void)type;
	size_t size = strlen(name) + 1;
	const struct front *f = context;
	char path[512];
	/* ~ marks a container that is being created or removed, . the runtime's own files; a directory without a record
	 * is not a container (lifecycle/store.py). */
	if (*name == '~' || !join(path, sizeof path, (const char *[]){name, "/state.json", NULL}))
		return 0;
	if (faccessat(f->root, path, F_OK, 0))
		return errno == ENOENT || errno == ENOTDIR ? 0 : HAND_OVER;
	if (names.count == sizeof names.name / sizeof *names.name || size > sizeof names.text - names.used)
		return HAND_OVER;
	names.name[names.count++] = memcpy(names.text + names.used, name, size);
	names.used += size;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int perform_lists(struct front *f)
{
	if (each_entry(f->root, collect, f))
		return HAND_OVER;
	qsort(names.name, names.count, sizeof *names.name, by_name);
	for (size_t i = 0; i < names.count; i++) {
		if (perform_plan(f, names.name[i], "life.plan"))
			return HAND_OVER;
		close_container(f);
	}
	return 0;
}
