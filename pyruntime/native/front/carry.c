/* The instructions of a life plan: the effect of each; only the list of the requested verb is carried out. */
#define _GNU_SOURCE
#include "front.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int do_container(struct front *f, const struct step_container *a)
{
	f->container = *a;
	return strcmp(a->id, f->id) ? HAND_OVER : 0;
}

int do_unchanged(struct front *f, const struct step_unchanged *a)
{
	struct stat st;
	if (fstatat(f->directory, a->name, &st, AT_SYMLINK_NOFOLLOW))
		return HAND_OVER;
	bool same = (int64_t)st.st_ino == a->inode && st.st_size == a->size &&
		    st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec == a->modified &&
		    st.st_ctim.tv_sec * 1000000000LL + st.st_ctim.tv_nsec == a->changed;
	return same ? 0 : HAND_OVER;
}

int do_paused_while(struct front *f, const struct step_paused_while *a)
{
	f->paused = *a;
	return 0;
}

int do_created_while(struct front *f, const struct step_created_while *a)
{
	f->created = *a;
	return 0;
}

int do_verb(struct front *f, const struct step_verb *a)
{
	f->listed = true;
	f->ours = a->number == (int64_t)f->request->verb;
	f->found |= f->ours;
	return 0;
}

/* Whether the container is in one of the statuses; HAND_OVER if that is unknown. */
static int is(struct front *f, int64_t statuses)
{
	if (statuses == ANY)
		return 1;
	int status = status_of(f);
	return !status ? HAND_OVER : !!(status & statuses);
}

int do_require(struct front *f, const struct step_require *a)
{
	return is(f, a->statuses) == 1 ? 0 : HAND_OVER;
}

int do_require_path(struct front *f, const struct step_require_path *a)
{
	(void)f;
	bool exists = !faccessat(AT_FDCWD, a->path, F_OK, AT_SYMLINK_NOFOLLOW);
	return exists == !!a->exists && (exists || errno == ENOENT) ? 0 : HAND_OVER;
}

static struct pids processes;

int do_require_process(struct front *f, const struct step_require_process *a)
{
	const struct request *request = f->request;
	bool same = request->content && a->content.size == request->content_size &&
		    !memcmp(a->content.data, request->content, request->content_size);
	return same ? 0 : HAND_OVER;
}

int do_require_file(struct front *f, const struct step_require_file *a)
{
	(void)f;
	struct stat st;
	return !stat(a->path, &st) && (int64_t)st.st_dev == a->device && (int64_t)st.st_ino == a->inode ? 0 : HAND_OVER;
}

/* 1 if the process is in our namespace of this kind, 0 if it is in another, or HAND_OVER. */
static int shares_namespace(int64_t pid, const char *kind)
{
	char own[64], other[64], digits[24];
	struct stat ours, theirs;
	if (!join(own, sizeof own, (const char *[]){"/proc/self/ns/", kind, NULL}) ||
	    !join(other, sizeof other, (const char *[]){"/proc/", decimal(digits, pid), "/ns/", kind, NULL}) ||
	    stat(own, &ours) || stat(other, &theirs))
		return HAND_OVER;
	return ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

int do_require_namespaces(struct front *f, const struct step_require_namespaces *a)
{
	FOR_EACH_STR(kind, a->same)
	if (shares_namespace(f->container.pid, kind) != 1)
		return HAND_OVER;
	FOR_EACH_STR(name, a->other)
	if (shares_namespace(f->container.pid, name) != 0)
		return HAND_OVER;
	return 0;
}

int do_require_empty(struct front *f, const struct step_require_empty *a)
{
	(void)f;
	return read_processes(a->path, &processes) || processes.count ? HAND_OVER : 0;
}

int do_print(struct front *f, const struct step_print *a)
{
	int now = is(f, a->statuses);
	return now == 1 ? put(a->text) : now;
}

int do_print_processes(struct front *f, const struct step_print_processes *a)
{
	(void)f;
	if (access(a->path, F_OK) || read_processes(a->path, &processes))
		return HAND_OVER;
	if (!processes.count)
		return put(a->none);
	for (size_t i = 0; i < processes.count; i++) {
		char digits[24];
		if (put(i ? a->between : a->before) || put(decimal(digits, processes.pid[i])))
			return HAND_OVER;
	}
	return put(a->after);
}

/* The start time is compared when the pidfd holds the process. */
int open_init(struct front *f)
{
	if (f->pidfd >= 0)
		return 0;
	f->pidfd = (int)syscall(SYS_pidfd_open, (pid_t)f->container.pid, 0);
	return f->pidfd >= 0 && start_time(f->container.pid) == f->container.started ? 0 : HAND_OVER;
}

int do_signal_init(struct front *f, const struct step_signal_init *a)
{
	int now = is(f, a->statuses);
	if (now != 1)
		return now;
	int number = a->signal ? (int)a->signal : f->request->signal;
	if (open_init(f))
		return HAND_OVER;
	return syscall(SYS_pidfd_send_signal, f->pidfd, number, NULL, 0) ? HAND_OVER : 0;
}

int do_signal_others(struct front *f, const struct step_signal_others *a)
{
	if (read_processes(a->path, &processes))
		return HAND_OVER;
	for (size_t i = 0; i < processes.count; i++) {
		int pid = processes.pid[i];
		/* 0 is a process of another pid namespace, and to kill(2) our own group. */
		if (pid <= 0 || (pid == f->container.pid && f->status != STOPPED))
			continue;
		if (kill(pid, f->request->signal) && errno != ESRCH)
			return HAND_OVER;
	}
	return 0;
}

int do_await_end(struct front *f, const struct step_await_end *a)
{
	struct pollfd poll_for = {.fd = f->pidfd, .events = POLLIN};
	return f->pidfd < 0 || poll(&poll_for, 1, (int)a->milliseconds) == 1 ? 0 : HAND_OVER;
}

int do_write_file(struct front *f, const struct step_write_file *a)
{
	int now = is(f, a->statuses);
	return now == 1 ? write_file(a->path, a->data) : now;
}

int do_await_text(struct front *f, const struct step_await_text *a)
{
	(void)f;
	char text[4096];
	long pause = 50000, waited = 0; /* nanoseconds */
	for (;;) {
		if (read_file(AT_FDCWD, a->path, text, sizeof text) >= 0 && strstr(text, a->text))
			return 0;
		if (waited / 1000000 >= a->milliseconds || write_file(a->file, a->again))
			break;
		nanosleep(&(struct timespec){.tv_nsec = pause}, NULL);
		waited += pause;
		pause = pause < 25000000 ? pause * 2 : pause;
	}
	/* Otherwise Python would find the change made, and refuse to make it. */
	write_file(a->file, a->back);
	return HAND_OVER;
}

int do_remove_directory(struct front *f, const struct step_remove_directory *a)
{
	if (!rmdir(a->path))
		return 0;
	for (int i = 0; i < 4; i++)
		if (f->tolerate[i] && errno == f->tolerate[i])
			return 0;
	return HAND_OVER;
}

static int perform(struct front *f, unsigned op, const union step *step)
{
	switch (op) {
#define PERFORM(name)   \
	case OP_##name: \
		return do_##name(f, &step->name);
		FOR_EACH_OP(PERFORM)
	}
	return HAND_OVER;
}

static int perform_file(struct front *f, const char *name, unsigned char data[PLAN_LARGEST])
{
	struct plan plan;
	if (read_plan(f, name, data, &plan))
		return HAND_OVER;
	union step step;
	const struct record *r;
	for (uint32_t offset = 0; (r = plan_next(&plan, &offset, &step));) {
		f->tolerate = r->tolerate;
		if ((!f->listed || f->ours || r->op == OP_verb) && perform(f, r->op, &step))
			return HAND_OVER;
	}
	return 0;
}

int do_read_list(struct front *f, const struct step_read_list *a)
{
	static _Alignas(8) unsigned char data[PLAN_LARGEST];
	const struct request *request = f->request;
	char name[64], digits[24];
	if (f->nested++) /* a file that leads to itself */
		return HAND_OVER;
	if (!request->content)
		return perform_file(f, a->template, data);
	uint32_t slot = plan_checksum(request->content, request->content_size) % EXEC_SLOTS;
	if (!join(name, sizeof name, (const char *[]){a->kept, decimal(digits, slot), NULL}))
		return HAND_OVER;
	return perform_file(f, name, data);
}

int perform_plan(struct front *f, const char *id, const char *name)
{
	static _Alignas(8) unsigned char data[PLAN_LARGEST];
	f->id = id;
	if (open_container(f, id) || perform_file(f, name, data))
		return HAND_OVER;
	return f->found ? 0 : HAND_OVER;
}

/* Create the log file as Python does, even if nothing is written to it. */
static int open_log(const char *path)
{
	struct stat st;
	if (path && !stat(path, &st) && S_ISFIFO(st.st_mode))
		return HAND_OVER; /* its reader would find our end to be the last */
	int fd = path ? open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644) : -1;
	if (fd >= 0)
		close(fd);
	return path && fd < 0 ? HAND_OVER : 0;
}

static int perform_request(struct front *f)
{
	const struct request *request = f->request;
	if (request->verb == VERB_list)
		return perform_lists(f);
	if (request->verb != VERB_exec)
		return perform_plan(f, request->id, "life.plan");
	if (!request->detach)
		keep_signals();
	if (!perform_plan(f, request->id, "life.plan") && f->launch)
		return 0;
	abandon_launch(f);
	release_signals();
	return HAND_OVER;
}

int carry_out(const struct request *request, int *exit_status)
{
	static struct front f = {.root = -1, .directory = -1, .connection = -1, .pidfd = -1};
	f.request = request;
	/* A file of ours would take the number of a standard descriptor that the caller closed. */
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			return HAND_OVER;
	if (open_log(request->log) || open_root(&f) || perform_request(&f)) {
		close_all(&f);
		return HAND_OVER;
	}
	if (request->verb == VERB_exec && !request->detach)
		*exit_status = wait_for_process(launched_process(&f));
	return flush();
}
