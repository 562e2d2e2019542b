/* The launch plan of `exec`, put together from the records that Python has compiled and from the command line. Python's
 * template says which fields come from where (lifecycle/template.py); plan/encode.py has the bytes. */
#define _GNU_SOURCE
#include "front.h"
#include <string.h>

static _Alignas(8) unsigned char launch_plan[PLAN_LARGEST];
static size_t used = PLAN_HEADER;
static uint32_t records;
static bool full;

static struct {
	bool known;
	int64_t uid, gid;
	const char *cwd, *path;
	const char *env[1024];
	size_t env_count;
} process;

static size_t name_size(const char *entry)
{
	return strcspn(entry, "=") + 1;
}

static const char **find_entry(const char *entry, size_t size)
{
	for (size_t i = 0; i < process.env_count; i++)
		if (!strncmp(process.env[i], entry, size))
			return &process.env[i];
	return NULL;
}

/* The last entry of a name takes the place of the first: system/environment.py. */
static int add_entry(const char *entry)
{
	const char **before = find_entry(entry, name_size(entry));
	if (!before && process.env_count == sizeof process.env / sizeof *process.env)
		return HAND_OVER;
	*(before ? before : &process.env[process.env_count++]) = entry;
	return 0;
}

int do_process(struct front *f, const struct step_process *a)
{
	const struct request *request = f->request;
	process.uid = request->uid >= 0 ? request->uid : a->uid;
	process.gid = request->gid >= 0 ? request->gid : a->gid;
	process.cwd = request->cwd ? request->cwd : a->cwd;
	FOR_EACH_STR(entry, a->env)
	if (add_entry(entry))
		return HAND_OVER;
	for (size_t i = 0; i < request->env_count; i++)
		if (add_entry(request->env[i]))
			return HAND_OVER;
	process.path = a->otherwise;
	size_t size = strlen(a->variable);
	for (size_t i = 0; i < process.env_count; i++)
		if (!strncmp(process.env[i], a->variable, size) && process.env[i][size] == '=')
			process.path = process.env[i] + size + 1;
	process.known = true;
	return 0;
}

static void add(const void *data, size_t size)
{
	full |= size > sizeof launch_plan - used;
	if (full)
		return;
	if (size)
		memcpy(launch_plan + used, data, size);
	used += size;
}

static void set_u32(size_t at, uint32_t number)
{
	for (size_t i = 0; i < 4; i++)
		launch_plan[at + i] = (unsigned char)(number >> (8 * i));
}

static void add_u32(uint32_t number)
{
	add("\0\0\0", 4);
	if (!full)
		set_u32(used - 4, number);
}

static void add_int(int64_t number)
{
	add_u32((uint32_t)number);
	add_u32((uint32_t)((uint64_t)number >> 32));
}

static void add_str(const char *text)
{
	size_t size = strlen(text);
	add_u32((uint32_t)size);
	add(text, size + 1);
}

static void add_strs(const char *const *list, size_t length)
{
	size_t size = 0;
	for (size_t i = 0; i < length; i++)
		size += strlen(list[i]) + 1;
	add_u32((uint32_t)length);
	add_u32((uint32_t)size);
	for (size_t i = 0; i < length; i++)
		add(list[i], strlen(list[i]) + 1);
}

static int add_source(const struct request *request, unsigned source)
{
	size_t length = 0;
	while (request->args[length])
		length++;
	switch (source) {
	case SOURCE_UID:
		add_int(process.uid);
		return 0;
	case SOURCE_GID:
		add_int(process.gid);
		return 0;
	case SOURCE_CWD:
		add_str(process.cwd);
		return 0;
	case SOURCE_NAME:
		add_str(request->args[0]);
		return 0;
	case SOURCE_PATH:
		add_str(process.path);
		return 0;
	case SOURCE_ARGS:
		add_strs((const char *const *)request->args, length);
		return 0;
	case SOURCE_ENV:
		add_strs(process.env, process.env_count);
		return 0;
	}
	return HAND_OVER;
}

int do_copy(struct front *f, const struct step_copy *a)
{
	(void)f;
	add(a->data.data, a->data.size);
	records += (uint32_t)a->records;
	return full ? HAND_OVER : 0;
}

int do_fill(struct front *f, const struct step_fill *a)
{
	static const unsigned char zeros[7];
	size_t start = used;
	if (!process.known || a->head.size != sizeof(struct record))
		return HAND_OVER;
	if (!process.uid && !a->root)
		return 0;
	add(a->head.data, a->head.size);
	for (uint32_t i = 0; i < a->sources.size; i++)
		if (add_source(f->request, a->sources.data[i]))
			return HAND_OVER;
	add(a->rest.data, a->rest.size);
	add(zeros, -used % 8);
	if (full)
		return HAND_OVER;
	set_u32(start, (uint32_t)(used - start));
	records++;
	return 0;
}

bool filled_plan(struct blob header, struct blob *out)
{
	if (full || header.size != PLAN_HEADER)
		return false;
	memcpy(launch_plan, header.data, header.size);
	set_u32(8, (uint32_t)used);
	set_u32(12, records);
	set_u32(16, plan_checksum(launch_plan + PLAN_HEADER, used - PLAN_HEADER));
	*out = (struct blob){(uint32_t)used, launch_plan};
	return true;
}
