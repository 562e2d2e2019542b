/* `-v`, and `-info`: a RuntimeInfo for containerd 2.0 and later (api/types/introspection.proto). */
#define _GNU_SOURCE
#include "features.h"
#include "shim.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME "io.containerd.pyruntime.v2"
#define FEATURES "types.containerd.io/opencontainers/runtime-spec/1/features/Features"

int print_version(void)
{
	static const char text[] = "containerd-shim-pyruntime-v2:\n  Version:  " VERSION "\n  Revision: " COMMIT "\n";
	return write(STDOUT_FILENO, text, sizeof text - 1) != sizeof text - 1;
}

static bool has_criu(void)
{
	const char *path = getenv("PATH");
	char file[4352], directory[4096];
	for (path = path ? path : ""; *path; path += strspn(path, ":")) {
		size_t length = strcspn(path, ":");
		if (length && length < sizeof directory) {
			memcpy(directory, path, length);
			directory[length] = 0;
			if (join(file, sizeof file, (const char *[]){directory, "/criu", NULL}) && !access(file, X_OK))
				return true;
		}
		path += length;
	}
	return false;
}

/* A field with a length. */
static bool append(struct buffer *out, int field, const void *data, size_t length)
{
	unsigned char head[12];
	return buffer_put(out, head, put_length(head, field, length)) && buffer_put(out, data, length);
}

int print_info(void)
{
	struct buffer version = {0}, features = {0}, info = {0};
	const unsigned char *options;
	size_t length;
	const char *enabled = has_criu() ? "true" : "false";
	char *document = malloc(sizeof FEATURES_BEFORE FEATURES_AFTER + 8);
	if (!document || !read_all(STDIN_FILENO, &options, &length))
		return 1;
	strcpy(stpcpy(stpcpy(document, FEATURES_BEFORE), enabled), FEATURES_AFTER);
	bool made = append(&version, 1, VERSION, strlen(VERSION)) && append(&version, 2, COMMIT, strlen(COMMIT)) &&
		    append(&features, 1, FEATURES, strlen(FEATURES)) &&
		    append(&features, 2, document, strlen(document)) && append(&info, 1, NAME, strlen(NAME)) &&
		    append(&info, 2, version.data, version.used) && (!length || append(&info, 3, options, length)) &&
		    append(&info, 4, features.data, features.used);
	for (size_t sent = 0; made && sent < info.used;) {
		ssize_t count = write(STDOUT_FILENO, info.data + sent, info.used - sent);
		made = count > 0;
		sent += made ? (size_t)count : 0;
	}
	return !made; /* the kernel frees the memory */
}
