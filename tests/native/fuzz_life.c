/* libFuzzer target: the front's decoder, its reader of command lines, which are strings with a NUL each, and the launch
 * plan that it puts together from both. The header of a plan is corrected first, or no input would pass the checksum.
 */
#include "fill.c"
#include <stdlib.h>

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

static void begin_fill(void)
{
	used = PLAN_HEADER;
	records = 0;
	full = false;
	memset(&process, 0, sizeof process);
}

static void end_fill(void)
{
	static const unsigned char header[PLAN_HEADER];
	struct blob made;
	if (filled_plan((struct blob){PLAN_HEADER, header}, &made) && made.size > PLAN_LARGEST)
		abort();
}

/* Every source, in a template whose other texts are fixed. */
static void fill_words(const struct request *request)
{
	static const unsigned char head[sizeof(struct record)], sources[] = {0, 1, 2, 3, 4, 5, 6, 7};
	struct front front = {.request = request};
	struct step_process own = {7, 8, "/", {2, "PATH=/bin\0A=1"}, "PATH", "/usr/bin"};
	struct step_fill fill = {{sizeof head, head}, {sizeof sources - 1, sources}, {3, head}, 0};
	begin_fill();
	if (!do_process(&front, &own))
		do_fill(&front, &fill);
	fill.sources.size++;
	if (!full && process.uid && !do_fill(&front, &fill)) /* there is no such source */
		abort();
	end_fill();
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
	const char *env[] = {"A=2", "PATH=/x:/y", "B="};
	char *args[] = {"sh", "-c", "", NULL};
	struct request request = {.args = args, .uid = -1, .gid = 5, .env = env, .env_count = 3};
	struct front front = {.request = &request};
	begin_fill();
	for (uint32_t offset = 0; (r = plan_next(&plan, &offset, &step));) {
		if (r->op == OP_remove_state)
			FOR_EACH_STR(name, step.remove_state.names)
		seen += strlen(name);
		if (r->op == OP_await_text)
			seen += strlen(step.await_text.path) + strlen(step.await_text.back);
		if (r->op == OP_container)
			seen += strlen(step.container.id);
		if (r->op == OP_process)
			seen += !do_process(&front, &step.process);
		if (r->op == OP_copy)
			seen += !do_copy(&front, &step.copy);
		if (r->op == OP_fill)
			seen += !do_fill(&front, &step.fill);
	}
	end_fill();
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
	if (request.verb == VERB_exec && !request.content)
		fill_words(&request);
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
