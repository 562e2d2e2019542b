/* The commands of an installed package: pyruntime, pyimage and pocker, which are this program under three names.
 *
 * A script that pip makes imports site and whatever lies in the environment's .pth files before the first line of ours
 * (8 to 15 ms). This program finds the package beside itself and starts the interpreter without them:
 *
 *     PREFIX/bin/pocker ARGUMENT...  ->  python3.N -IS
 * PREFIX/lib/python3.N/site-packages/pyruntime/commandline/__main__.py pocker ARGUMENT... */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char bin[4096], start[8192], python[8192];

static int complain(const char *what, const char *remedy)
{
	fprintf(stderr, "error: %s: %s\n", what, remedy);
	return 1;
}

/* The interpreter that a directory of packages belongs to: beside us, as in a virtual environment, or in PATH. */
static int find_python(const char *name)
{
	snprintf(python, sizeof python, "%s/%s", bin, name);
	if (!access(python, X_OK))
		return 1;
	const char *path = getenv("PATH");
	for (path = path ? path : "/usr/local/bin:/usr/bin:/bin"; *path; path += strspn(path, ":")) {
		int length = (int)strcspn(path, ":");
		snprintf(python, sizeof python, "%.*s/%s", length, path, name);
		if (*python == '/' && !access(python, X_OK))
			return 1;
		path += length;
	}
	return 0;
}

static int find_package(const char *lib)
{
	static const char *const kinds[] = {"site-packages", "dist-packages"};
	char place[4608];
	snprintf(place, sizeof place, "%s/../%s", bin, lib);
	DIR *list = opendir(place);
	int found = 0;
	for (struct dirent *entry; list && !found && (entry = readdir(list));) {
		if (strncmp(entry->d_name, "python3.", 8))
			continue;
		for (int kind = 0; kind < 2 && !found; kind++) {
			snprintf(start, sizeof start, "%s/%s/%s/pyruntime/commandline/__main__.py", place,
				 entry->d_name, kinds[kind]);
			found = !access(start, R_OK) && find_python(entry->d_name);
		}
	}
	if (list)
		closedir(list);
	return found;
}

int main(int argc, char **argv)
{
	ssize_t length = readlink("/proc/self/exe", bin, sizeof bin - 1);
	char *name = length > 0 ? strrchr(bin, '/') : NULL;
	if (!name)
		return complain("/proc/self/exe cannot be read", "mount procfs on /proc");
	*name++ = 0;
	if (!find_package("lib") && !find_package("lib64") && !find_package("local/lib"))
		return complain("the package pyruntime is not installed beside this command",
				"install it again with pip, which puts both in place");
	char **words = calloc((size_t)argc + 4, sizeof *words);
	if (!words)
		return complain("no memory", strerror(errno));
	words[0] = python;
	words[1] = "-IS";
	words[2] = start;
	words[3] = name;
	for (int i = 1; i < argc; i++)
		words[3 + i] = argv[i];
	execv(python, words);
	return complain(python, strerror(errno));
}
