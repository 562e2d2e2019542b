/* Whether a snapshot fits this machine and the installed files: for the front, which restores it, and for the
 * interpreter, which replaces one that does not fit. */
#pragma once
#include "snapshot.h"
#include <stdbool.h>

struct view {
	const struct snapshot *head;
	const struct region *region;
	const struct known_file *file;
	const struct touched *touched;
	const char *paths;
};

/* The snapshot in an open file, if it is complete, its owner is trusted, and nothing has changed since. */
bool snapshot_fits(int fd, struct view *out);
