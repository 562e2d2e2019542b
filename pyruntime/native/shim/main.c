/* What containerd runs: `start`, `delete`, -v and -info (docs/decisions/0023-the-shim.md). */
#define _GNU_SOURCE
#include "shim.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int complain(const char *what, const char *about)
{
	fprintf(stderr, "containerd-shim-pyruntime-v2: %s: %s\n", what, about);
	return 1;
}

/* Go's syntax: -x v, -x=v and --x v are the same. */
static const char *read_flags(char **argv, struct options *options)
{
	const char *unused; /* events go to containerd's socket */
	const struct {
		const char *name;
		const char **value;
	} flags[] = {{"namespace", &options->namespace},
		     {"address", &options->address},
		     {"publish-binary", &unused},
		     {"id", &options->id},
		     {"bundle", &options->bundle}};
	while (*++argv && **argv == '-') {
		const char *word = *argv + 1 + (argv[0][1] == '-');
		size_t length = strcspn(word, "=");
		bool found = false;
		for (size_t i = 0; i < sizeof flags / sizeof *flags && !found; i++) {
			found = strlen(flags[i].name) == length && !strncmp(word, flags[i].name, length);
			if (!found)
				continue;
			const char *value = word[length] ? word + length + 1 : *++argv;
			if (!value)
				return NULL;
			*flags[i].value = value;
		}
		if (!strcmp(word, "v") || !strcmp(word, "version") || !strcmp(word, "info"))
			return word;
		if (!strcmp(word, "debug"))
			found = true;
		if (!found)
			return NULL;
	}
	return *argv;
}

static const char *plain(const char *address)
{
	return strncmp(address, "unix://", 7) ? address : address + 7;
}

static bool write_file_at(const char *directory, const char *name, const char *text)
{
	char path[4352];
	if (!join(path, sizeof path, (const char *[]){directory, "/", name, NULL}))
		return false;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return false;
	size_t length = strlen(text);
	bool whole = write(fd, text, length) == (ssize_t)length;
	return !close(fd) && whole;
}

/* --- start ----------------------------------------------------------------------------------------------- */

/* Less likely to be killed for memory than what it monitors, as with containerd's own shim. */
static void adjust_oom_score(void)
{
	char path[64], text[32];
	snprintf(path, sizeof path, "/proc/%d/oom_score_adj", (int)getppid());
	ssize_t length = read_file(AT_FDCWD, path, text, sizeof text);
	if (length <= 0)
		return;
	int score = atoi(text);
	snprintf(text, sizeof text, "%d", score < 1000 ? score + 1 : score);
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		(void)!write(fd, text, strlen(text)); /* EACCES without CAP_SYS_RESOURCE */
		close(fd);
	}
}

/* Bind, unless a monitor of this ID lives: then *alive. */
static int bind_socket(const char *path, bool *alive)
{
	for (int tries = 0; tries < 3; tries++) {
		int fd = listen_at(path, 4096);
		if (fd >= 0 || errno != EADDRINUSE)
			return fd;
		fd = connect_to(path);
		if (fd >= 0) {
			close(fd);
			*alive = true;
			return -1;
		}
		unlink(path);
	}
	return -1;
}

/* `path`: our socket, which nobody will serve; NULL: another monitor's. */
static int give_up(const char *path, const char *what, const char *about)
{
	if (path)
		unlink(path);
	return complain(what, about);
}

static int start(struct options *options)
{
	char path[108], address[128];
	bool alive = false;
	if (strlen(options->id) + strlen(options->bundle) > HELLO_LARGEST)
		return complain("the ID and the bundle's path", "too long");
	const char *wrong = read_parameters(options);
	if (wrong)
		return complain("the request on standard input", wrong);
	if (!socket_path(path, options, options->id, ""))
		return complain(options->sockets, "too long");
	mkdir("/run/containerd", 0711);
	mkdir(options->sockets, 0700);
	if (!own_name()) /* while the program's file is in place: an upgrade replaces it */
		return complain("/proc/self/exe cannot be read", "mount procfs on /proc");
	int listener = bind_socket(path, &alive);
	if (listener < 0 && !alive)
		return complain(path, strerror(errno));
	if (!alive && *options->cgroup && !enter_cgroup(options->cgroup))
		return give_up(path, options->cgroup, strerror(errno));
	if (!join(address, sizeof address, (const char *[]){"unix://", path, NULL}) ||
	    !write_file_at(options->bundle, "address", address))
		return give_up(alive ? NULL : path, options->bundle, "cannot write the file address");
	if (!alive) {
		adjust_oom_score(); /* before the fork: our parent is containerd */
		pid_t pid = fork();
		if (pid < 0)
			return give_up(path, "fork", strerror(errno));
		if (!pid) {
			int null = open("/dev/null", O_RDWR | O_CLOEXEC);
			for (int fd = 0; fd < 3; fd++) /* containerd reads our output until nobody has it open */
				if (null < 0 || dup2(null, fd) < 0)
					_exit(1);
			setsid();
			if (chdir("/"))
				_exit(1);
			_exit(monitor(options, path, listener));
		}
	}
	size_t length = strlen(address);
	return write(STDOUT_FILENO, address, length) == (ssize_t)length ? 0
									: complain("standard output", strerror(errno));
}

/* --- delete ---------------------------------------------------------------------------------------------- */

static size_t put_head(unsigned char *out, int field, int wire_type, uint64_t number)
{
	size_t used = 0;
	out[used++] = (unsigned char)(field << 3 | wire_type);
	for (; number > 127; number >>= 7)
		out[used++] = (unsigned char)(number | 128);
	out[used++] = (unsigned char)number;
	return used;
}

static size_t put_number(unsigned char *out, int field, uint64_t number)
{
	return put_head(out, field, 0, number);
}

size_t put_length(unsigned char *out, int field, uint64_t length)
{
	return put_head(out, field, 2, length);
}

static void respond(uint64_t pid)
{
	unsigned char response[64], time[32];
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	size_t of_time = put_number(time, 1, (uint64_t)now.tv_sec);
	of_time += put_number(time + of_time, 2, (uint64_t)now.tv_nsec);
	size_t used = pid ? put_number(response, 1, pid) : 0;
	used += put_number(response + used, 2, 137);
	response[used++] = 3 << 3 | 2;
	response[used++] = (unsigned char)of_time;
	memcpy(response + used, time, of_time);
	(void)!write(STDOUT_FILENO, response, used + of_time);
}

/* Run `pyruntime --root ROOT delete --force ID`; what it prints is for containerd's log. */
static int delete_container(char *state)
{
	char program[4096], *slash = strrchr(state, '/');
	ssize_t length = readlink("/proc/self/exe", program, sizeof program - 16);
	if (!slash || length <= 0)
		return 1;
	program[length] = 0;
	char *end = strrchr(program, '/');
	memcpy(end ? end + 1 : program, "pyruntime", sizeof "pyruntime");
	*slash = 0;
	pid_t pid = fork();
	if (!pid) {
		dup2(STDERR_FILENO, STDOUT_FILENO);
		execv(program, (char *[]){program, (char *)"--root", state, (char *)"delete", (char *)"--force",
					  slash + 1, NULL});
		_exit(complain(program, strerror(errno)));
	}
	int status = 1;
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* Everything is tried, and the answer given, even if a step failed: otherwise containerd would leave the bundle. */
static int delete (struct options *options)
{
	char path[4352], state[4096], text[128];
	if (strlen(options->bundle) > 4000)
		return complain(options->bundle, "too long");
	snprintf(path, sizeof path, "%s/state", options->bundle);
	ssize_t length = readlink(path, state, sizeof state - 1);
	uint64_t pid = 0;
	if (length > 0) {
		struct stat st;
		state[length] = 0;
		snprintf(path, sizeof path, "%s/init", state);
		ssize_t target = readlink(path, text, sizeof text - 1); /* pid:start time */
		if (target > 0) {
			text[target] = 0;
			pid = strtoull(text, NULL, 10);
		}
		if (!lstat(state, &st))
			delete_container(state);
	}
	snprintf(path, sizeof path, "%s/rootfs", options->bundle);
	while (!umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW))
		;
	char address[128];
	snprintf(path, sizeof path, "%s/address", options->bundle);
	if (read_file(AT_FDCWD, path, address, sizeof address) > 0) {
		const char *socket = plain(address);
		/* containerd has given up this monitor, if it still lives. */
		static const unsigned char frame[10] = {[8] = TYPE_QUIT};
		int fd = connect_to(socket);
		if (fd < 0 && errno == ECONNREFUSED)
			unlink(socket);
		if (fd >= 0) {
			(void)!write(fd, frame, sizeof frame);
			close(fd);
		}
	}
	respond(pid);
	return 0;
}

int main(int argc, char **argv)
{
	struct options options = {.namespace = "", .address = "", .id = "", .sockets = "/run/containerd/s"};
	char directory[4096];
	(void)argc;
	const char *action = read_flags(argv, &options);
	if (action && (!strcmp(action, "v") || !strcmp(action, "version")))
		return print_version();
	if (action && !strcmp(action, "info"))
		return print_info();
	if (!options.bundle)
		options.bundle = getcwd(directory, sizeof directory);
	options.address = plain(options.address);
	if (!action || !options.bundle || !*options.id || !*options.namespace)
		return complain("usage", "-namespace NAME -address PATH -id ID [-bundle PATH] start | delete");
	if (!strcmp(action, "start"))
		return start(&options);
	if (!strcmp(action, "delete"))
		return delete (&options);
	return complain(action, "unknown action: start or delete");
}
