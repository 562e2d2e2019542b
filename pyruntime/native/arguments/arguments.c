#include "arguments.h"
#include <string.h>
#include <unistd.h>

long long parse_number(const char *text)
{
	long long number = 0;
	if (!*text)
		return -1;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || number >= (1LL << 58))
			return -1;
		number = number * 10 + (*text - '0');
	}
	return number;
}

static int index_of(const char *word, size_t length, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(names[i]) == length && !memcmp(names[i], word, length))
			return (int)i;
	return -1;
}

char **parse_arguments(char **argv, const char *const *names, long long *values, size_t count)
{
	for (size_t i = 0; i < count; i++)
		values[i] = -1;
	char **word = argv;
	while (*word && *++word) {
		if (!strcmp(*word, "--"))
			return word + 1;
		const char *value = strchr(*word, '=');
		int found = value ? index_of(*word, (size_t)(value - *word), names, count) : -1;
		if (found < 0 || (values[found] = parse_number(value + 1)) < 0)
			return NULL;
	}
	return word;
}

int refuse_arguments(const char *product)
{
	/* Not stdio, which the stub would keep in memory only for this. The exit status says that it failed. */
	const char *const parts[] = {"this program is a part of ", product, ", which runs it\n"};
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (write(STDERR_FILENO, parts[i], strlen(parts[i])) < 0)
			break;
	return 2;
}
