/* The last part of the set-up: limits, identity, capabilities, the program. */
#define _GNU_SOURCE
#include "stub.h"
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif

int do_rlimit(struct stub *s, const struct step_rlimit *a)
{
	struct rlimit r = {(rlim_t)a->soft, (rlim_t)a->hard};
	return setrlimit((int)a->resource, &r) ? fail(s, "prlimit64", "%s", a->name) : 0;
}

int do_scheduler(struct stub *s, const struct step_scheduler *a)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} attr = {sizeof attr,           (uint32_t)a->policy,  (uint64_t)a->flags,    (int32_t)a->nice,
		  (uint32_t)a->priority, (uint64_t)a->runtime, (uint64_t)a->deadline, (uint64_t)a->period};
	return syscall(SYS_sched_setattr, 0, &attr, 0) ? fail(s, "sched_setattr", "policy %d", (int)a->policy) : 0;
}

int do_io_priority(struct stub *s, const struct step_io_priority *a)
{
	return syscall(SYS_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, 0, (int)a->value)
		   ? fail(s, "ioprio_set", "%#x", (unsigned)a->value)
		   : 0;
}

int do_memory_policy(struct stub *s, const struct step_memory_policy *a)
{
	unsigned long mask[16] = {0};
	if (a->nodes.size > sizeof mask)
		return fail_with(s, EINVAL, "set_mempolicy", "too many nodes");
	memcpy(mask, a->nodes.data, a->nodes.size);
	return syscall(SYS_set_mempolicy, (int)a->mode, a->bits ? mask : NULL, (unsigned long)a->bits)
		   ? fail(s, "set_mempolicy", "mode %#x", (unsigned)a->mode)
		   : 0;
}

int do_personality(struct stub *s, const struct step_personality *a)
{
	return personality((unsigned long)a->value) < 0 ? fail(s, "personality", "%#lx", (unsigned long)a->value) : 0;
}

int do_join_keyring(struct stub *s, const struct step_join_keyring *a)
{
	long key = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, a->name);
	if (key < 0)
		return fail(s, "keyctl", "KEYCTL_JOIN_SESSION_KEYRING %s", a->name);
	/* All rights for the possessor; view, read, search and link for the user: without search, a later exec does not
	 * find the keyring by its name and creates another one (keyctl_join_session_keyring(3)). */
	if (syscall(SYS_keyctl, KEYCTL_SETPERM, key, 0x3f1b0000))
		return fail(s, "keyctl", "KEYCTL_SETPERM %s", a->name);
	return 0;
}

int do_umask(struct stub *s, const struct step_umask *a)
{
	umask(a->mask < 0 ? s->umask : (mode_t)a->mask);
	return 0;
}

int do_own_streams(struct stub *s, const struct step_own_streams *a)
{
	/* Pipes only: a terminal or a file of the caller keeps its owner, and so does /dev/null. */
	for (int fd = 0; fd < 3; fd++) {
		struct stat st;
		if (!fstat(fd, &st) && S_ISFIFO(st.st_mode) && st.st_uid != (uid_t)a->uid &&
		    fchown(fd, (uid_t)a->uid, (gid_t)-1))
			return fail(s, "fchown", "standard stream %d", fd);
	}
	return 0;
}

int do_drop_bounding(struct stub *s, const struct step_drop_bounding *a)
{
	for (int cap = 0; cap < 64; cap++) {
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) < 0)
			break;
		if (!((uint64_t)a->keep >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0))
			return fail(s, "prctl", "PR_CAPBSET_DROP capability %d", cap);
	}
	return 0;
}

int do_set_groups(struct stub *s, const struct step_set_groups *a)
{
	return syscall(SYS_setgroups, a->gids.size / sizeof(gid_t), a->gids.data)
		   ? fail(s, "setgroups", "%zu groups", a->gids.size / sizeof(gid_t))
		   : 0;
}

int do_set_user(struct stub *s, const struct step_set_user *a)
{
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
		return fail(s, "prctl", "PR_SET_KEEPCAPS");
	/* The system calls themselves: the functions of libc would signal other threads, and there are none. */
	if (syscall(SYS_setresgid, (gid_t)a->gid, (gid_t)a->gid, (gid_t)a->gid))
		return fail(s, "setresgid", "%u", (unsigned)a->gid);
	if (syscall(SYS_setresuid, (uid_t)a->uid, (uid_t)a->uid, (uid_t)a->uid))
		return fail(s, "setresuid", "%u", (unsigned)a->uid);
	return prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) ? fail(s, "prctl", "PR_SET_KEEPCAPS") : 0;
}

int do_capset(struct stub *s, const struct step_capset *a)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];
	for (int i = 0; i < 2; i++) {
		data[i].effective = (uint32_t)((uint64_t)a->effective >> (32 * i));
		data[i].permitted = (uint32_t)((uint64_t)a->permitted >> (32 * i));
		data[i].inheritable = (uint32_t)((uint64_t)a->inheritable >> (32 * i));
	}
	return syscall(SYS_capset, &head, data) ? fail(s, "capset", "%s", "") : 0;
}

int do_ambient(struct stub *s, const struct step_ambient *a)
{
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		return fail(s, "prctl", "PR_CAP_AMBIENT_CLEAR_ALL");
	for (int cap = 0; cap < 64; cap++)
		if ((uint64_t)a->mask >> cap & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0))
			return fail(s, "prctl", "PR_CAP_AMBIENT_RAISE capability %d", cap);
	return 0;
}

int do_chdir(struct stub *s, const struct step_chdir *a)
{
	if (s->arrived)
		return 0;
	if (chdir(a->path))
		return fail(s, "chdir", "%s", a->path);
	/* A working directory outside the root is a way out of it (CVE-2024-21626); getcwd(2) then starts with
	 * "(unreachable)". */
	char here[4096];
	long n = syscall(SYS_getcwd, here, sizeof here);
	if (n < 0 || here[0] != '/')
		return fail_with(s, n < 0 ? errno : EXDEV, "getcwd", "%s is outside the container", a->path);
	s->arrived = true;
	return 0;
}

/* "HOME=..." of a line of passwd(5), if it is that of uid; the line is cut up. */
static bool home_of(struct stub *s, char *line, int64_t uid)
{
	char *field[7] = {line};
	int count = 1;
	for (char *c = line; *c && count < 7; c++)
		if (*c == ':') {
			*c = 0;
			field[count++] = c + 1;
		}
	char *end;
	if (count != 7 || !*field[2] || strtoull(field[2], &end, 10) != (unsigned long long)uid || *end)
		return false;
	if (*field[5] == '/' && strlen(field[5]) < sizeof s->home - sizeof "HOME=")
		snprintf(s->home, sizeof s->home, "HOME=%s", field[5]);
	return true;
}

int do_find_home(struct stub *s, const struct step_find_home *a)
{
	snprintf(s->home, sizeof s->home, "HOME=/");
	int fd = open_beneath(s, "/etc/passwd", O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return 0;
	struct stat st;
	bool found = fstat(fd, &st) || !S_ISREG(st.st_mode);
	/* A line at a time, so that a long file takes no memory of a waiting init; a file that the container has blown
	 * up must not keep `exec` busy either. */
	static char text[65536];
	size_t used = 0, total = 0;
	while (!found && total < 64u << 20) {
		if (used > sizeof text - 4097)
			used = 0; /* no user's line is this long */
		ssize_t n = read(fd, text + used, 4096);
		if (n < 0)
			break;
		total += (size_t)n;
		used += (size_t)n;
		if (n == 0 && used)
			text[used++] = '\n'; /* the last line may lack its own */
		char *line = text, *end;
		while (!found && (end = memchr(line, '\n', used - (size_t)(line - text)))) {
			*end = 0;
			found = home_of(s, line, a->uid);
			line = end + 1;
		}
		used -= (size_t)(line - text);
		memmove(text, line, used);
		if (n == 0)
			break;
	}
	close(fd);
	return 0;
}

int do_find_executable(struct stub *s, const struct step_find_executable *a)
{
	static char file[4096]; /* PATH_MAX */
	int err = ENOENT;
	bool named = strchr(a->name, '/');
	const char *path = named ? "" : a->path;
	bool single = !strchr(path, ':');
	for (const char *end;; path = end + 1) {
		end = strchrnul(path, ':');
		int size = (int)(end - path);
		size_t length = (size_t)(named ? snprintf(file, sizeof file, "%s", a->name)
					       : snprintf(file, sizeof file, "%.*s/%s", size ? size : 1,
							  size ? path : ".", a->name));
		struct stat st;
		if (length >= sizeof file)
			err = ENAMETOOLONG;
		else if (stat(file, &st))
			err = errno == ENOENT || errno == ENOTDIR ? err : errno;
		else if (S_ISDIR(st.st_mode))
			err = single ? EISDIR : err;
		else if (faccessat(AT_FDCWD, file, X_OK, AT_EACCESS)) /* by the effective ids, as execve(2) will */
			err = errno;
		else {
			s->executable = file;
			return 0;
		}
		if (!*end)
			return fail_with(s, err, "execve", "%s", a->name);
	}
}

int do_no_new_privs(struct stub *s, const struct step_no_new_privs *a)
{
	(void)a;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? fail(s, "prctl", "PR_SET_NO_NEW_PRIVS") : 0;
}

/* The set-up has used more of the stack than waiting does: its pages go back to the kernel. */
static void release_stack(void)
{
	char here;
	/* 4 to 64 KiB on arm64: the kernel would round a part of a page up, and clear what the next call uses. */
	const uintptr_t page = getauxval(AT_PAGESZ), most = 1 << 17;
	uintptr_t used = (uintptr_t)&here & ~(page - 1);
	madvise((void *)(used - most), most - page, MADV_DONTNEED); /* partly unmapped: ENOMEM */
}

int do_await_start(struct stub *s, const struct step_await_start *a)
{
	int listener = get_slot(s, a->slot);
	if (listener < 0)
		return -1;
	/* Other processes of a joined pid namespace, and startContainer hooks, see our descriptors if they have
	 * CAP_SYS_PTRACE: the host's /proc would lead them to its root directory (CVE-2024-21626). */
	do_close_proc(s, NULL);
	if (send_report(s, REPORT_CREATED, 0) || await_go(s))
		return -1;
	close(s->control);
	s->control = -1;
	release_stack();
	for (;;) {
		/* `state` connects to find out whether init still waits, and closes the connection without a message.
		 * Rootless `exec` sends 'd': the kernel lets it inspect init and join its namespaces only while init is
		 * dumpable. Init stays dumpable until `exec` closes the connection, which happens before the
		 * container's program runs. */
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			return fail(s, "accept4", "start socket");
		}
		char word = 0;
		if (recv(fd, &word, 1, 0) == 1 && word == 's') {
			s->control = fd;
			break;
		}
		if (word == 'd' && !prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)) {
			if (send(fd, &word, 1, MSG_NOSIGNAL) == 1)
				(void)!recv(fd, &word, 1, 0);
			if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
				return fail(s, "prctl", "PR_SET_DUMPABLE");
		}
		close(fd);
	}
	close(listener);
	s->slot[a->slot] = -1;
	return 0;
}

void *xcalloc(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

char **make_argv(struct strs list, const char *extra)
{
	/* Without hooks, the program's two lists, mostly short, take no page of their own. */
	static char *small[2][256];
	static int used;
	size_t size = list.count + 2u;
	char **v = size <= countof(small[0]) && used < 2 ? small[used++] : xcalloc(size * sizeof *v);
	if (!v)
		return NULL;
	size_t n = 0;
	FOR_EACH_STR(item, list)
	v[n++] = (char *)item;
	if (extra)
		v[n++] = (char *)extra;
	v[n] = NULL;
	return v;
}

int do_prepare_exec(struct stub *s, const struct step_prepare_exec *a)
{
	bool has_home = !*s->home;
	FOR_EACH_STR(item, a->env)
	has_home = has_home || (!strncmp(item, "HOME=", 5) && item[5]);
	s->argv = make_argv(a->args, NULL);
	s->env = make_argv(a->env, has_home ? NULL : s->home);
	if (!s->argv || !s->env)
		return fail(s, "mmap", "argument list");
	if (!has_home) { /* an empty HOME= counts as unset: ours must be the one that is found */
		size_t n = a->env.count;
		for (size_t i = 0; i < n; i++)
			if (!strncmp(s->env[i], "HOME=", 5)) {
				s->env[i] = s->env[n];
				s->env[n] = NULL;
				break;
			}
	}
	/* No descriptor of ours or of our caller's stays open in the program (CVE-2019-5736, CVE-2024-21626). */
	if (syscall(SYS_close_range, 3u + (unsigned)a->preserve, ~0u, CLOSE_RANGE_CLOEXEC))
		return fail(s, "close_range", "%d", 3 + (int)a->preserve);
	/* After execve no process can report its success, and the filter may forbid to write a report: so the report is
	 * sent here. A failure may still follow. */
	return send_report(s, REPORT_EXEC, 0);
}

int do_execve(struct stub *s, const struct step_execve *a)
{
	(void)a;
	if (!s->executable || !s->argv)
		return fail_with(s, EPROTO, "execve", "nothing was prepared");
	execve(s->executable, s->argv, s->env);
	return fail(s, "execve", "%s", s->executable);
}
