/* libFuzzer target: only decodes, without system calls. The header is corrected first, or no input would pass
 * the checksum. */
#include "plan.h"
#include <stdlib.h>
#include <string.h>

static void put(unsigned char *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (unsigned char)(v >> (8 * i));
}

static uint32_t crc32_slow(const unsigned char *p, size_t n)
{
	uint32_t crc = ~0u;
	while (n--) {
		crc ^= *p++;
		for (int k = 0; k < 8; k++)
			crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char *copy = malloc(size ? size : 1);
	if (!copy)
		return 0;
	memcpy(copy, data, size);
	if (size >= 24) {
		memcpy(copy, "PYRPLAN\1", 8);
		put(copy + 8, (uint32_t)size);
		put(copy + 20, PLAN_FINGERPRINT);
		put(copy + 16, crc32_slow(copy + 24, size - 24));
	}
	struct plan plan;
	const char *why;
	size_t seen = 0;
	if (!plan_verify(copy, size, &plan, &why)) {
		union step step;
		const struct record *r;
		for (uint32_t offset = 0; (r = plan_next(&plan, &offset, &step));) {
			if (r->op == OP_prepare_exec) {
				FOR_EACH_STR(item, step.prepare_exec.args)
				seen += strlen(item);
				FOR_EACH_STR(item, step.prepare_exec.env)
				seen += strlen(item);
			}
			if (r->op == OP_seccomp && step.seccomp.program.size)
				seen += step.seccomp.program.data[step.seccomp.program.size - 1];
			if (r->op == OP_mount)
				seen += strlen(step.mount.fstype) + strlen(step.mount.dest);
		}
	}
	free(copy);
	return seen == (size_t)-1;
}
