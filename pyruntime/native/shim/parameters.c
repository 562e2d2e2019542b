/* What containerd sends to `start` on standard input: nothing, an Any with the runtime's options (until 2.2), or
 * BootstrapParams, which has them among its extensions (api/runtime/bootstrap/v1/bootstrap.proto). */
#define _GNU_SOURCE
#include "shim.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define PARAMETERS_LARGEST (10u << 20)
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 }; /* wire types of protobuf */

struct text {
	const unsigned char *data;
	size_t length;
};

/* Its data is no null pointer, which the functions of string.h do not take. */
static const struct text none = {(const unsigned char *)"", 0};

static bool read_varint(struct text *rest, uint64_t *number)
{
	*number = 0;
	for (unsigned shift = 0; shift < 64 && rest->length; shift += 7) {
		unsigned char byte = *rest->data++;
		rest->length--;
		*number |= (uint64_t)(byte & 127) << shift;
		if (byte < 128)
			return true;
	}
	return false;
}

/* The next field that has a length; others are passed over. False: there is none, or the message is malformed. */
static bool next_field(struct text *rest, uint64_t *field, struct text *value)
{
	uint64_t tag, number;
	while (rest->length && read_varint(rest, &tag)) {
		*field = tag >> 3;
		switch (tag & 7) {
		case VARINT:
			if (!read_varint(rest, &number))
				return false;
			continue;
		case FIXED64:
		case FIXED32:
			number = (tag & 7) == FIXED64 ? 8 : 4;
			break;
		case BYTES:
			if (!read_varint(rest, &number))
				return false;
			break;
		default:
			return false;
		}
		if (number > rest->length)
			return false;
		*value = (struct text){rest->data, (size_t)number};
		rest->data += number;
		rest->length -= (size_t)number;
		if ((tag & 7) == BYTES)
			return true;
	}
	return false;
}

static struct text field_of(struct text message, uint64_t wanted)
{
	struct text value, found = none;
	uint64_t field;
	while (next_field(&message, &field, &value))
		if (field == wanted)
			found = value;
	return found;
}

static bool is(struct text text, const char *word)
{
	return text.length == strlen(word) && !memcmp(text.data, word, text.length);
}

static bool copy(char *out, size_t size, struct text text)
{
	if (text.length >= size || memchr(text.data, 0, text.length))
		return false;
	memcpy(out, text.data, text.length);
	out[text.length] = 0;
	return true;
}

/* The value of a line `NAME = "VALUE"` of TOML, in capitals or not (as pyruntime/shim/options.py); none if it has
 * escapes. */
static struct text setting(struct text body, const char *name)
{
	const char *at = (const char *)body.data, *end = at + body.length;
	while (at < end) {
		const char *line = at, *newline = memchr(at, '\n', (size_t)(end - at));
		const char *stop = newline ? newline : end;
		at = stop + 1;
		while (line < stop && (*line == ' ' || *line == '\t'))
			line++;
		if ((size_t)(stop - line) <= strlen(name) || strncasecmp(line, name, strlen(name)))
			continue;
		line += strlen(name);
		while (line < stop && (*line == ' ' || *line == '\t' || *line == '='))
			line++;
		const char *close = line < stop && (*line == '"' || *line == '\'')
					? memchr(line + 1, *line, (size_t)(stop - line - 1))
					: NULL;
		if (close)
			return (struct text){(const unsigned char *)line + 1, (size_t)(close - line - 1)};
	}
	return none;
}

/* Of the options only what concerns this program; the server reads the others from Create. */
static bool read_options(struct options *options, struct text any)
{
	struct text type = field_of(any, 1), value = field_of(any, 2), server = none, cgroup = none;
	const unsigned char *slash = memrchr(type.data, '/', type.length);
	if (slash)
		type = (struct text){slash + 1, type.length - (size_t)(slash + 1 - type.data)};
	if (is(type, "containerd.runc.v1.Options")) {
		cgroup = field_of(value, 3);
	} else if (is(type, "runtimeoptions.v1.Options")) {
		struct text body = field_of(value, 3);
		cgroup = setting(body, "ShimCgroup");
		server = setting(body, "Server");
	}
	if (server.length && !is(server, "namespace")) {
		options->own_server = true;
		options->of_pod = is(server, "pod");
		if (!options->of_pod && !is(server, "container"))
			return false;
	}
	return copy(options->cgroup, sizeof options->cgroup, cgroup);
}

/* The value of an annotation in config.json; none if it has escapes, which IDs of pods do not have. */
static bool read_annotation(const struct options *options, const char *name, char *out, size_t size)
{
	char path[4352], quoted[128];
	if (!join(path, sizeof path, (const char *[]){options->bundle, "/config.json", NULL}))
		return false;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	const unsigned char *content = NULL;
	struct text text;
	bool found = false;
	if (fd >= 0 && read_all(fd, &content, &text.length)) {
		text.data = content;
		int length = snprintf(quoted, sizeof quoted, "\"%s\"", name);
		const unsigned char *at = memmem(text.data, text.length, quoted, (size_t)length);
		const unsigned char *end = text.data + text.length;
		if (at)
			for (at += length; at < end && strchr(" :\n", *at); at++)
				;
		const unsigned char *close =
		    at && at < end && *at == '"' ? memchr(at + 1, '"', (size_t)(end - at - 1)) : NULL;
		found = close && copy(out, size, (struct text){at + 1, (size_t)(close - at - 1)});
	}
	if (fd >= 0)
		close(fd);
	free((void *)(uintptr_t)content);
	return found;
}

bool read_all(int fd, const unsigned char **data, size_t *length)
{
	struct buffer buffer = {0};
	ssize_t count = 0;
	do {
		if (buffer.used > PARAMETERS_LARGEST || !buffer_room(&buffer, 4096)) {
			buffer_free(&buffer);
			return false;
		}
		count = read(fd, buffer.data + buffer.used, buffer.size - buffer.used);
		if (count > 0)
			buffer.used += (size_t)count;
	} while (count > 0 || (count < 0 && errno == EINTR));
	*data = buffer.data;
	*length = buffer.used;
	return !count;
}

const char *read_parameters(struct options *options)
{
	struct text message = none, rest, value;
	uint64_t field;
	if (!read_all(STDIN_FILENO, &message.data, &message.length))
		return "it cannot be read, or is longer than 10 MiB";
	bool right = true;
	/* An Any can be read as BootstrapParams, too: only the ID and the namespace tell them apart. */
	if (is(field_of(message, 1), options->id) && is(field_of(message, 2), options->namespace)) {
		rest = message;
		while (next_field(&rest, &field, &value))
			if (field == 8)
				right &= read_options(options, field_of(value, 1));
			else if (field == 9 && value.length)
				right &= copy(options->sockets, sizeof options->sockets, value);
	} else {
		right = read_options(options, message);
	}
	free((void *)(uintptr_t)message.data);
	if (!right)
		return "ShimCgroup or the socket directory is too long, or Server is not namespace, pod or container";
	if (options->own_server &&
	    (!options->of_pod ||
	     !read_annotation(options, "io.kubernetes.cri.sandbox-id", options->server, sizeof options->server)) &&
	    !copy(options->server, sizeof options->server,
		  (struct text){(const unsigned char *)options->id, strlen(options->id)}))
		return "the ID is too long";
	return NULL;
}
