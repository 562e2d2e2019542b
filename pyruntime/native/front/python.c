/* Handing a command line to Python: to the script that `make` writes, or to the package that pip has installed.
 *
 * A snapshot of the interpreter, beside the script or in the package, is restored instead if it fits (restore.c).
 *
 * A script that pip makes imports site and the environment's .pth files before the first line of ours
 * (8 to 15 ms). This program finds the package beside itself and starts the interpreter without them:
 *
 *     PREFIX/bin/pocker ARGUMENT...  ->  PREFIX/libexec/pocker ARGUMENT..., or
 *     python3.N -ISXutf8 PREFIX/lib/python3.N/site-packages/pyruntime/commandline/__main__.py pocker ARGUMENT... */
#define _GNU_SOURCE
#include "front.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char bin[4096], start[8192], snapshot[8192], python[8192];
static const char *name; /* of the command */

static int complain(const char *what, const char *remedy)
{
	char text[8192 + 256];
	if (join(text, sizeof text, (const char *[]){"error: ", what, ": ", remedy, "\n", NULL}))
		(void)!write(STDERR_FILENO, text, strlen(text));
	return 1;
}

/* The interpreter of a directory of packages: beside this program, as in a virtual environment, or in PATH. */
static bool find_python(const char *version)
{
	if (join(python, sizeof python, (const char *[]){bin, "/", version, NULL}) && !access(python, X_OK))
		return true;
	const char *path = getenv("PATH");
	for (path = path ? path : "/usr/local/bin:/usr/bin:/bin"; *path; path += strspn(path, ":")) {
		size_t length = strcspn(path, ":");
		char directory[4096];
		if (length < sizeof directory) {
			memcpy(directory, path, length);
			directory[length] = 0;
			if (*directory == '/' &&
			    join(python, sizeof python, (const char *[]){directory, "/", version, NULL}) &&
			    !access(python, X_OK))
				return true;
		}
		path += length;
	}
	return false;
}

static int find_version(void *context, const char *version, unsigned char type)
{
	(void)type;
	static const char *const kinds[] = {"/site-packages", "/dist-packages"};
	for (int kind = 0; kind < 2 && !strncmp(version, "python3.", 8); kind++)
		if (join(start, sizeof start,
			 (const char *[]){context, "/", version, kinds[kind], "/pyruntime/commandline/__main__.py",
					  NULL}) &&
		    !access(start, R_OK) && find_python(version))
			return join(snapshot, sizeof snapshot,
				    (const char *[]){context, "/", version, kinds[kind],
						     "/pyruntime/commandline/__pycache__/", name, ".snapshot", NULL});
	return 0;
}

static bool find_package(const char *lib)
{
	char place[4608];
	if (!join(place, sizeof place, (const char *[]){bin, "/../", lib, NULL}))
		return false;
	int dir = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool found = dir >= 0 && each_entry(dir, find_version, place) == 1;
	if (dir >= 0)
		close(dir);
	return found;
}

/* The environment and one more variable. */
static char **with(const char *variable)
{
	size_t count = 0;
	while (environ[count])
		count++;
	char **all = calloc(count + 2, sizeof *all);
	if (all) {
		memcpy(all + 1, environ, count * sizeof *all);
		all[0] = (char *)variable;
	}
	return all;
}

static int start_package(char **argv, char **env)
{
	if (!find_package("lib") && !find_package("lib64") && !find_package("local/lib"))
		return complain("the package pyruntime is not installed beside this command",
				"install it again with pip, which puts both in place");
	size_t count = 0;
	while (argv[count])
		count++;
	restore(snapshot, argv, env);
	char **words = calloc(count + 4, sizeof *words);
	if (!words)
		return complain("no memory", strerror(errno));
	words[0] = python;
	words[1] = (char *)"-ISXutf8";
	words[2] = start;
	words[3] = (char *)name;
	if (count)
		memcpy(words + 4, argv + 1, (count - 1) * sizeof *words);
	execve(python, words, env);
	return complain(python, strerror(errno));
}

const char *own_name(void)
{
	ssize_t length = readlink("/proc/self/exe", bin, sizeof bin - 1);
	char *slash = length > 0 ? strrchr(bin, '/') : NULL;
	if (!slash)
		return NULL;
	*slash = 0;
	name = slash + 1;
	return name;
}

int hand_over(char **argv, const char *variable)
{
	if (!name)
		return complain("/proc/self/exe cannot be read", "mount procfs on /proc");
	char **env = variable ? with(variable) : environ;
	if (!env)
		return complain("no memory", strerror(errno));
	if (join(snapshot, sizeof snapshot, (const char *[]){bin, "/../libexec/", name, ".snapshot", NULL}))
		restore(snapshot, argv, env);
	if (join(start, sizeof start, (const char *[]){bin, "/../libexec/", name, NULL})) {
		execve(start, argv, env);
		if (errno != ENOENT)
			return complain(start, strerror(errno));
	}
	return start_package(argv, env);
}
