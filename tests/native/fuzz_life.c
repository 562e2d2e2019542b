/* libFuzzer target: the front's decoder and its reader of command lines, which are strings with a NUL each. The header
 * of a plan is corrected first, or no input would pass the checksum. */
#include "front.h"
#include <stdlib.h>
#include <string.h>

static void put_number(unsigned char *p, uint32_t v)
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

static size_t decode(unsigned char *copy, size_t size)
{
	if (size >= 24) {
		memcpy(copy, PLAN_MAGIC, 8);
		put_number(copy + 8, (uint32_t)size);
		put_number(copy + 20, PLAN_FINGERPRINT);
		put_number(copy + 16, crc32_slow(copy + 24, size - 24));
	}
	struct plan plan;
	const char *why;
	if (plan_verify(copy, size, &plan, &why))
		return 0;
	union step step;
	const struct record *r;
	size_t seen = 0;
	for (uint32_t offset = 0; (r = plan_next(&plan, &offset, &step));) {
		if (r->op == OP_remove_state)
			FOR_EACH_STR(name, step.remove_state.names)
		seen += strlen(name);
		if (r->op == OP_await_text)
			seen += strlen(step.await_text.path) + strlen(step.await_text.back);
		if (r->op == OP_container)
			seen += strlen(step.container.id);
	}
	return seen;
}

static size_t read_words(unsigned char *copy, size_t size)
{
	char *words[64] = {"pyruntime"};
	size_t count = 1;
	copy[size - 1] = 0;
	for (char *at = (char *)copy; at < (char *)copy + size && count < 63; at += strlen(at) + 1)
		words[count++] = at;
	struct request request = {0};
	if (read_request(words, &request))
		return 0;
	if ((request.verb == VERB_list) != !request.id || request.signal < 0 || request.signal > 64)
		abort();
	if (request.id && (strchr(request.id, '/') || !strcmp(request.id, "..")))
		abort();
	return request.verb;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	for (int kind = 0; kind < 2; kind++) {
		unsigned char *copy = malloc(size);
		if (!copy)
			return 0;
		memcpy(copy, data, size);
		if ((kind ? read_words(copy, size) : decode(copy, size)) == (size_t)-1)
			abort();
		free(copy);
	}
	return 0;
}
