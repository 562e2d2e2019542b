/* The words of `exec`: what the front fills into the launch plan, and what it carries out itself. */
#define _GNU_SOURCE
#define COMMAND_TABLES
#include "front.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LAST_ID 4294967294 /* (uid_t)-1 is no user */

static unsigned char content[1 << 16];
static const char *env[256];

/* A file, not a pipe: Python could not read a pipe again. */
static int read_content(const char *path, struct request *out)
{
	struct stat st;
	ssize_t size = -1;
	/* Not opened before that is known: the writer of a named pipe would take us for its reader. */
	if (stat(path, &st) || !S_ISREG(st.st_mode))
		return HAND_OVER;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return HAND_OVER;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size <= (off_t)sizeof content)
		size = read(fd, content, sizeof content);
	close(fd);
	out->content = content;
	out->content_size = (size_t)size;
	return size >= 0 && size == st.st_size ? 0 : HAND_OVER;
}

static int64_t read_id(const char *text, size_t size)
{
	int64_t id = strspn(text, "0123456789") == size ? number_of(text) : -1;
	return id <= LAST_ID ? id : -1;
}

/* UID[:GID], or nothing. */
static int read_user(const char *text, struct request *out)
{
	size_t size = strcspn(text, ":");
	out->uid = out->gid = -1;
	if (*text && (out->uid = read_id(text, size)) < 0)
		return HAND_OVER;
	if (text[size] && (out->gid = read_id(text + size + 1, strlen(text + size + 1))) < 0)
		return HAND_OVER;
	return 0;
}

static int read_env(const char *entry, struct request *out)
{
	if (*entry == '=' || !strchr(entry, '=') || out->env_count == sizeof env / sizeof *env)
		return HAND_OVER;
	env[out->env_count++] = entry;
	return 0;
}

static const struct exec_flag *find_exec_flag(char ***word, const char **value)
{
	for (size_t i = 0; i < sizeof exec_flags / sizeof *exec_flags; i++)
		if ((*value = flag_value(&exec_flags[i].flag, word)))
			return &exec_flags[i];
	return NULL;
}

struct aside { /* the options that are not allowed together */
	const char *process;
	bool others;
};

static int read_option(char ***word, struct request *out, struct aside *aside)
{
	const char *value;
	const struct exec_flag *flag = find_exec_flag(word, &value);
	if (!flag)
		return HAND_OVER;
	aside->others |= flag->role == EXEC_CWD || flag->role == EXEC_ENV || flag->role == EXEC_USER;
	switch (flag->role) {
	case EXEC_CWD:
		out->cwd = *value ? value : NULL;
		return 0;
	case EXEC_ENV:
		return read_env(value, out);
	case EXEC_USER:
		return read_user(value, out);
	case EXEC_DETACH:
		out->detach = true;
		return 0;
	case EXEC_PID_FILE:
		out->pid_file = value;
		return 0;
	case EXEC_PROCESS:
		aside->process = *value ? value : NULL;
		return 0;
	}
	return HAND_OVER;
}

int read_exec(char **word, struct request *out)
{
	struct aside aside = {0};
	out->verb = VERB_exec;
	out->uid = out->gid = -1;
	out->env = env;
	for (; *word && **word == '-'; word++)
		if (read_option(&word, out, &aside))
			return HAND_OVER;
	/* As with --root, .. is a text to Python. */
	if (!*word || !names_container(*word) || (out->pid_file && strstr(out->pid_file, "..")))
		return HAND_OVER;
	out->id = *word;
	out->args = word + 1;
	if (aside.process)
		return *out->args || aside.others ? HAND_OVER : read_content(aside.process, out);
	return !*out->args || !**out->args || (out->cwd && *out->cwd != '/') ? HAND_OVER : 0;
}
