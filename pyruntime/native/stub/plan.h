/* The verified plan: see pyruntime/runtime/plan/encode.py for its bytes. */
#pragma once
#ifndef PLAN_TABLE /* the front has another table of instructions, and the same decoder */
#define PLAN_TABLE "steps.h"
#endif
#include PLAN_TABLE

/* Numbers in plans, filters of system calls and devices, and structures that Python makes for the kernel. */
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error pyruntime runs on little-endian machines only
#endif

enum fault { FAULT_NONE, FAULT_FAIL, FAULT_KILL, FAULT_KILL_AFTER, FAULT_KILL_PARENT };

#define PLAN_HEADER 24u /* bytes */

struct record {
	uint32_t size;
	uint32_t index;
	uint16_t op;
	uint8_t fault;
	uint8_t zero;
	uint8_t tolerate[4];
};

struct plan {
	const unsigned char *data;
	uint32_t size;
	uint32_t count;
};

/* Check every byte of the plan. Returns 0, or -1 with *why set to a fixed text. */
int plan_verify(const unsigned char *data, size_t size, struct plan *plan, const char **why);

/* The record at *offset and its fields; advances *offset. Returns NULL at the end. Only for a verified plan. */
const struct record *plan_next(const struct plan *plan, uint32_t *offset, union step *step);

const char *op_name(unsigned op);

/* CRC-32 as in zlib */
uint32_t plan_checksum(const unsigned char *data, size_t size);

/* Walk a list of strings: s is each in turn. */
#define FOR_EACH_STR(s, list)                                          \
	for (uint32_t s##_left = (list).count; s##_left; s##_left = 0) \
		for (const char *s = (list).first; s##_left; s##_left--, s += __builtin_strlen(s) + 1)
