/* The words of `exec`: those that identify equal requests, and the others (lifecycle/replay.py). */
#define _GNU_SOURCE
#define COMMAND_TABLES
#include "front.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned char key[1 << 17];
static size_t used = 4; /* behind the length of the words */

static int keep_word(const char *word)
{
	size_t size = strlen(word) + 1;
	if (size > sizeof key - used)
		return HAND_OVER;
	memcpy(key + used, word, size);
	used += size;
	return 0;
}

/* A file, not a pipe: Python could not read a pipe again. */
static int keep_content(const char *path)
{
	struct stat st;
	ssize_t size = -1;
	/* Not opened before that is known: the writer of a named pipe would take us for its reader. */
	if (stat(path, &st) || !S_ISREG(st.st_mode))
		return HAND_OVER;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return HAND_OVER;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size < (off_t)(sizeof key - used))
		size = read(fd, key + used, sizeof key - used);
	bool whole = size >= 0 && size == st.st_size;
	close(fd);
	used += whole ? (size_t)size : 0;
	return whole ? 0 : HAND_OVER;
}

static const struct exec_flag *find_exec_flag(char ***word, const char **value)
{
	for (size_t i = 0; i < sizeof exec_flags / sizeof *exec_flags; i++)
		if ((*value = flag_value(&exec_flags[i].flag, word)))
			return &exec_flags[i];
	return NULL;
}

int read_exec(char **word, struct request *out)
{
	const char *process = NULL;
	for (; *word && **word == '-'; word++) {
		char **first = word;
		const char *value;
		const struct exec_flag *flag = find_exec_flag(&word, &value);
		if (!flag)
			return HAND_OVER;
		if (flag->role == EXEC_DETACH)
			out->detach = true;
		else if (flag->role == EXEC_PID_FILE)
			out->pid_file = value;
		else if (flag->role == EXEC_PROCESS)
			process = value;
		else if (keep_word(*first) || (word > first && keep_word(*word)))
			return HAND_OVER;
	}
	/* As with --root, .. is a text to Python. */
	if (!*word || !names_container(*word) || (out->pid_file && strstr(out->pid_file, "..")))
		return HAND_OVER;
	out->id = *word;
	for (; *word; word++)
		if (keep_word(*word))
			return HAND_OVER;
	size_t words = used - 4;
	for (int i = 0; i < 4; i++)
		key[i] = (unsigned char)(words >> (8 * i));
	if (process && *process && keep_content(process))
		return HAND_OVER;
	out->verb = VERB_exec;
	out->key = key;
	out->key_size = used;
	return 0;
}
