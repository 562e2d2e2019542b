/* The option ShimCgroup: the cgroup of a monitor. The server that it starts is no part of it. */
#define _GNU_SOURCE
#include "shim.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HIERARCHIES 16
static int homes[HIERARCHIES]; /* cgroup.procs of the cgroups that we have left */
static size_t home_count;

/* The path of our cgroup in a hierarchy: of the line of /proc/self/cgroup whose controllers are among the mount's
 * options. */
static bool own_cgroup(char *lines, bool second, const char *options, char *out, size_t size)
{
	for (char *line = lines; *line;) {
		char *end = strchrnul(line, '\n'), *controllers = strchr(line, ':'), *path;
		if (!controllers || !(path = strchr(controllers + 1, ':')) || path > end)
			return false;
		size_t length = (size_t)(path - controllers - 1);
		const char *found = NULL;
		if (length && !second) {
			char name[256];
			if (length < sizeof name) {
				memcpy(name, controllers + 1, length);
				name[length] = 0;
				found = strstr(options, name);
				found = found && (found == options || found[-1] == ',') &&
						(!found[length] || found[length] == ',')
					    ? found
					    : NULL;
			}
		}
		if (found || (second && !length)) {
			int written = snprintf(out, size, "%.*s", (int)(end - path - 1), path + 1);
			return written > 0 && (size_t)written < size;
		}
		line = *end ? end + 1 : end;
	}
	return false;
}

static int procs(const char *mount, const char *path)
{
	char file[4352];
	return join(file, sizeof file, (const char *[]){mount, "/", path, "/cgroup.procs", NULL})
		   ? open(file, O_WRONLY | O_CLOEXEC)
		   : -1;
}

bool enter_cgroup(const char *path)
{
	static char mounts[65536], own[8192], home[4096];
	if (read_file(AT_FDCWD, "/proc/self/mountinfo", mounts, sizeof mounts) <= 0 ||
	    read_file(AT_FDCWD, "/proc/self/cgroup", own, sizeof own) <= 0)
		return false;
	size_t entered = 0;
	char *state = NULL;
	for (char *line = strtok_r(mounts, "\n", &state); line; line = strtok_r(NULL, "\n", &state)) {
		char mount[4096], *kind = strstr(line, " - cgroup");
		if (!kind || sscanf(line, "%*s %*s %*s / %4095s", mount) != 1)
			continue;
		const char *options = strrchr(kind, ' ') + 1;
		int target = procs(mount, path);
		if (target < 0)
			continue;
		if (home_count < HIERARCHIES && own_cgroup(own, kind[9] == '2', options, home, sizeof home) &&
		    (homes[home_count] = procs(mount, home)) >= 0)
			home_count++;
		bool moved = write(target, "0", 1) == 1;
		close(target);
		if (!moved)
			return false;
		entered++;
	}
	if (!entered)
		errno = ENOENT;
	return entered;
}

void leave_cgroup(void)
{
	for (size_t i = 0; i < home_count; i++)
		(void)!write(homes[i], "0", 1); /* one that has been removed meanwhile */
}
