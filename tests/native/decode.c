/* Decodes a plan like the stub and prints its steps; the tests build it with sanitizers. */
#include "plan.h"
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
	if (!file)
		return 2;
	static unsigned char data[8 << 20];
	size_t size = fread(data, 1, sizeof data, file);
	fclose(file);
	/* Exactly as large as the plan, so that reading one byte too many is detected. */
	unsigned char *copy = malloc(size ? size : 1);
	if (!copy)
		return 2;
	for (size_t i = 0; i < size; i++)
		copy[i] = data[i];
	struct plan plan;
	const char *why;
	if (plan_verify(copy, size, &plan, &why)) {
		puts(why);
		free(copy);
		return 1;
	}
	union step step;
	const struct record *r;
	for (uint32_t offset = 0; (r = plan_next(&plan, &offset, &step));) {
		printf("%u %s", r->index, op_name(r->op));
		if (r->op == OP_set_hostname)
			printf(" %s", step.set_hostname.name);
		if (r->op == OP_prepare_exec)
			FOR_EACH_STR(item, step.prepare_exec.args)
		printf(" %s", item);
		putchar('\n');
	}
	free(copy);
	return 0;
}
