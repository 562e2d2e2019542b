/* Command lines that a life plan may have a list for. All others are handed to Python, which accepts more flags and
 * spellings, and reports errors. */
#define _GNU_SOURCE
#define COMMAND_TABLES
#include "front.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define countof(a) (sizeof(a) / sizeof((a)[0]))

const char *flag_value(const struct flag *flag, char ***word)
{
	const char *name = **word + 1;
	name += *name == '-';
	size_t size = strcspn(name, "=");
	bool named = (size == strlen(flag->name) && !strncmp(name, flag->name, size)) ||
		     (*flag->letter && size == 1 && *name == *flag->letter);
	if (!named || (!flag->valued && name[size]))
		return NULL;
	if (!flag->valued)
		return "";
	if (name[size])
		return name + size + 1;
	return (*word)[1] ? *++*word : NULL;
}

static bool is_flag(const char *word)
{
	return word[0] == '-';
}

/* Read the global options; returns the command after them, or NULL if Python must read the command line. */
static char **read_globals(char **word, const char *values[GLOBALS])
{
	for (; *word && is_flag(*word); word++) {
		const char *value = NULL;
		for (int i = 0; i < GLOBALS && !value; i++)
			if ((value = flag_value(&global_flags[i], &word)))
				values[i] = value;
		if (!value)
			return NULL;
	}
	return *word ? word : NULL;
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < countof(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

/* The flag that a form requires. */
static const struct flag *find_flag(const char *command, char ***word, const char **value)
{
	for (size_t i = 0; i < countof(forms); i++)
		if (!strcmp(forms[i].command, command) && forms[i].flag.name &&
		    (*value = flag_value(&forms[i].flag, word)))
			return &forms[i].flag;
	return NULL;
}

struct words {
	const struct command *command;
	const struct flag *flag;
	const char *value;
	const char *argument[2];
	int count;
};

static int read_words(char **word, struct words *out)
{
	for (; *word; word++) {
		if (!is_flag(*word)) {
			if (out->count == 2)
				return HAND_OVER;
			out->argument[out->count++] = *word;
			continue;
		}
		if (out->count && out->command->stop_at_argument)
			return HAND_OVER;
		const struct flag *flag = find_flag(out->command->name, &word, &out->value);
		if (!flag)
			return HAND_OVER;
		out->flag = flag;
	}
	return out->count < out->command->least || out->count > out->command->most ? HAND_OVER : 0;
}

static int signal_number(const char *text)
{
	size_t digits = strspn(text, "0123456789");
	if (digits && !text[digits])
		return digits < 4 && number_of(text) <= 64 ? (int)number_of(text) : -1;
	if (!strncasecmp(text, "SIG", 3))
		text += 3;
	for (size_t i = 0; i < countof(signals); i++)
		if (!strcasecmp(signals[i].name, text))
			return signals[i].number;
	return -1;
}

bool names_container(const char *id)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-.";
	size_t size = strspn(id, allowed);
	return size && size < 256 && !id[size] && strcmp(id, ".") && strcmp(id, "..");
}

/* Not /, and without .. in it, which Python resolves in the text and the kernel in the file system. */
static bool names_root(const char *path)
{
	return path[strspn(path, "/.")] && !strstr(path, "..");
}

static int find_form(const struct words *words, struct request *out)
{
	for (size_t i = 0; i < countof(forms); i++) {
		const struct form *form = &forms[i];
		if (strcmp(form->command, words->command->name) || !form->flag.name != !words->flag ||
		    (words->flag && (strcmp(form->flag.name, words->flag->name) || strcmp(form->value, words->value))))
			continue;
		if (strcmp(form->command, "kill") || form->sigkill == (out->signal == 9)) {
			out->verb = form->verb;
			return 0;
		}
	}
	return HAND_OVER;
}

/* The values of the global options; HAND_OVER if Python must handle them. */
static int use_globals(const char *const values[GLOBALS], struct request *out)
{
	const char *format = values[GLOBAL_LOG_FORMAT], *root = values[GLOBAL_ROOT], *log = values[GLOBAL_LOG];
	if (format && *format && strcmp(format, "text") && strcmp(format, "json"))
		return HAND_OVER;
	*out = (struct request){.root = root, .log = log && *log ? log : NULL};
	return root && !names_root(root) ? HAND_OVER : 0;
}

int read_request(char **argv, struct request *out)
{
	const char *globals[GLOBALS] = {0};
	char **word = *argv ? read_globals(argv + 1, globals) : NULL;
	struct words words = {.command = word ? find_command(*word) : NULL};
	if (!words.command || use_globals(globals, out))
		return HAND_OVER;
	if (!strcmp(words.command->name, "exec"))
		return read_exec(word + 1, out);
	if (read_words(word + 1, &words))
		return HAND_OVER;
	out->id = words.argument[0];
	if (out->id && !names_container(out->id))
		return HAND_OVER;
	bool kills = !strcmp(words.command->name, "kill");
	if (words.count == 2 && !kills)
		return HAND_OVER;
	if (kills && (out->signal = signal_number(words.count == 2 ? words.argument[1] : "TERM")) < 0)
		return HAND_OVER;
	return find_form(&words, out);
}

const char *default_root(void)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR"), *user = getenv("USER");
	bool plain = !runtime || !*runtime || (user && !strcmp(user, "root"));
	return plain && !geteuid() ? DEFAULT_ROOT : NULL;
}
