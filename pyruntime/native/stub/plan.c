/* Decoding of plans. Pure: no system call, no allocation; this file alone is the fuzz target. */
#define STEPS_TABLES
#include "plan.h"
#include <stdbool.h>
#include <string.h>

uint32_t plan_checksum(const unsigned char *data, size_t size)
{
	uint32_t crc = ~0u;
	for (size_t i = 0; i < size; i++) {
		/* Four bits at a time: no table to build, fast enough for plans of some KiB. */
		static const uint32_t nibble[16] = {
		    0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
		    0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
		crc ^= data[i];
		crc = (crc >> 4) ^ nibble[crc & 15];
		crc = (crc >> 4) ^ nibble[crc & 15];
	}
	return ~crc;
}

static uint32_t u32_at(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

struct cursor {
	const unsigned char *at;
	size_t left;
};

static bool take(struct cursor *c, size_t size, const unsigned char **out)
{
	if (size > c->left)
		return false;
	*out = c->at;
	c->at += size;
	c->left -= size;
	return true;
}

static bool take_u32(struct cursor *c, uint32_t *out)
{
	const unsigned char *p;
	if (!take(c, 4, &p))
		return false;
	*out = u32_at(p);
	return true;
}

/* Decode one field of a record into its place in the union; false if the bytes do not hold such a field. */
static bool decode_field(struct cursor *c, const struct field *f, union step *out)
{
	void *target = (char *)out + f->offset;
	const unsigned char *p;
	uint32_t size, count;
	int64_t number;

	switch (f->kind) {
	case F_INT:
		if (!take(c, 8, &p))
			return false;
		number = (int64_t)(u32_at(p) | (uint64_t)u32_at(p + 4) << 32); /* little endian on every host */
		memcpy(target, &number, sizeof number);
		return true;
	case F_STR:
		if (!take_u32(c, &size) || size >= c->left || !take(c, (size_t)size + 1, &p))
			return false;
		if (memchr(p, 0, (size_t)size + 1) != p + size)
			return false;
		memcpy(target, &p, sizeof p);
		return true;
	case F_STRS: {
		if (!take_u32(c, &count) || !take_u32(c, &size) || !take(c, size, &p))
			return false;
		if (size && p[size - 1])
			return false;
		uint32_t ends = 0;
		for (uint32_t i = 0; i < size; i++)
			ends += !p[i];
		if (ends != count)
			return false;
		struct strs value = {count, (const char *)p};
		memcpy(target, &value, sizeof value);
		return true;
	}
	case F_BYTES: {
		if (!take_u32(c, &size) || !take(c, size, &p))
			return false;
		struct blob value = {size, p};
		memcpy(target, &value, sizeof value);
		return true;
	}
	}
	return false;
}

static bool decode_record(const unsigned char *data, uint32_t size, union step *step)
{
	const struct record *r = (const struct record *)data;
	struct cursor c = {data + sizeof *r, size - sizeof *r};

	memset(step, 0, sizeof *step);
	for (size_t i = 0; i < op_table[r->op].count; i++)
		if (!decode_field(&c, &op_table[r->op].fields[i], step))
			return false;
	if (c.left >= 8)
		return false;
	for (size_t i = 0; i < c.left; i++)
		if (c.at[i])
			return false;
	return true;
}

int plan_verify(const unsigned char *data, size_t size, struct plan *plan, const char **why)
{
	*why = "plan: shorter than its header";
	if (size < PLAN_HEADER)
		return -1;
	*why = "plan: not a plan";
	if (memcmp(data, PLAN_MAGIC, 8))
		return -1;
	*why = "plan: the size in the header is not its size";
	if (u32_at(data + 8) != size)
		return -1;
	*why = "plan: made for another version of its reader";
	if (u32_at(data + 20) != PLAN_FINGERPRINT)
		return -1;
	*why = "plan: the checksum does not match";
	if (u32_at(data + 16) != plan_checksum(data + PLAN_HEADER, size - PLAN_HEADER))
		return -1;

	uint32_t count = u32_at(data + 12);
	uint32_t offset = PLAN_HEADER;
	int64_t last = -1;
	*why = "plan: a record is malformed";
	for (uint32_t i = 0; i < count; i++) {
		if (size - offset < sizeof(struct record))
			return -1;
		struct record r;
		memcpy(&r, data + offset, sizeof r);
		if (r.size < sizeof r || r.size > size - offset || r.size % 8 || !r.op || r.op >= OP_COUNT || r.zero ||
		    r.fault > FAULT_KILL_PARENT || (int64_t)r.index <= last)
			return -1;
		union step step;
		if (!decode_record(data + offset, r.size, &step))
			return -1;
		last = r.index;
		offset += r.size;
	}
	*why = "plan: bytes after the last record";
	if (offset != size)
		return -1;
	plan->data = data;
	plan->size = (uint32_t)size;
	plan->count = count;
	return 0;
}

const struct record *plan_next(const struct plan *plan, uint32_t *offset, union step *step)
{
	if (!*offset)
		*offset = PLAN_HEADER;
	if (*offset >= plan->size)
		return NULL;
	const struct record *r = (const struct record *)(plan->data + *offset);
	decode_record(plan->data + *offset, r->size, step);
	*offset += r->size;
	return r;
}

const char *op_name(unsigned op)
{
	return op && op < OP_COUNT ? op_table[op].name : "?";
}
