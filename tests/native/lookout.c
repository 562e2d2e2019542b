/* In a container with CAP_SYS_PTRACE: inspect every descriptor, the root and the working directory of every other
 * process of the pid namespace, as fast as possible, until the file named by argv[1] appears.
 *
 * Prints a line for each link to the host's files, and at the end the number of inspected processes. Such links are
 * directories that are not beneath the container's own root, unless they are read-only and their ".." leads
 * nowhere and they stay read-only until the end, and writable files, except the container's own and those named tasks
 * and cgroup.procs. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

static struct stat root;
static long seen, looked;

static struct kept { /* directories that were harmless, so far */
	int fd;
	char path[64];
} kept[64];
static size_t kept_count;

static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Whether ".." leads to the container's own root, or nowhere (a detached mount) and nothing can be written there. */
static bool harmless(int fd, const char *path)
{
	struct stat here, above;
	struct statvfs fs;
	bool alone = true;
	int at = dup(fd);
	for (int depth = 0; at >= 0 && depth < 64 && !fstat(at, &here); depth++) {
		int up = same(&here, &root) ? -1 : openat(at, "..", O_PATH | O_DIRECTORY);
		bool top = up < 0 || fstat(up, &above) || same(&here, &above);
		close(at);
		at = up;
		if (top)
			break;
		alone = false;
	}
	close(at);
	if (same(&here, &root))
		return true;
	if (!alone || fstatvfs(fd, &fs) || !(fs.f_flag & ST_RDONLY))
		return false;
	if (kept_count < sizeof kept / sizeof *kept && (kept[kept_count].fd = dup(fd)) >= 0)
		snprintf(kept[kept_count++].path, sizeof kept->path, "%s", path);
	return true;
}

static void look(const char *pid, const char *path)
{
	struct stat st, own;
	char target[512];
	int fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return;
	looked++;
	ssize_t n = readlink(path, target, sizeof target - 1);
	snprintf(n > 0 ? target + n : target, n > 0 ? 1 : 32, "(closed since)");
	const char *name = strrchr(target, '/') ? strrchr(target, '/') + 1 : target;
	if (fstat(fd, &st))
		;
	else if (S_ISDIR(st.st_mode) && !harmless(fd, path))
		printf("%s: %s is the directory %s\n", pid, path, target);
	else if (S_ISREG(st.st_mode) && strcmp(name, "tasks") && strcmp(name, "cgroup.procs") &&
		 strncmp(target, "/memfd:", 7) && (stat(target, &own) || !same(&st, &own))) {
		int again = open(path, O_WRONLY | O_CLOEXEC);
		if (again >= 0)
			printf("%s: %s is the file %s, for writing\n", pid, path, target);
		close(again);
	}
	close(fd);
}

static void visit(const char *pid)
{
	char path[600];
	static const char *const links[] = {"root", "cwd"};
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "/proc/%s/%s", pid, links[i]);
		look(pid, path);
	}
	snprintf(path, sizeof path, "/proc/%s/fd", pid);
	DIR *list = opendir(path);
	if (!list)
		return;
	seen++;
	for (struct dirent *entry; (entry = readdir(list));)
		if (entry->d_name[0] != '.') {
			snprintf(path, sizeof path, "/proc/%s/fd/%s", pid, entry->d_name);
			look(pid, path);
		}
	closedir(list);
}

int main(int argc, char **argv)
{
	char self[16];
	if (argc < 2 || stat("/", &root))
		return 2;
	snprintf(self, sizeof self, "%d", getpid());
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("looking");
	while (access(argv[1], F_OK)) {
		DIR *list = opendir("/proc");
		for (struct dirent *entry; list && (entry = readdir(list));)
			if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && strcmp(entry->d_name, self))
				visit(entry->d_name);
		if (list)
			closedir(list);
	}
	struct statvfs fs;
	for (size_t i = 0; i < kept_count; i++)
		if (fstatvfs(kept[i].fd, &fs) || !(fs.f_flag & ST_RDONLY))
			printf("%s is a directory that became writable\n", kept[i].path);
	printf("seen %ld processes, %ld links\n", seen, looked);
	return 0;
}
