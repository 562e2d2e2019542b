/* The stub: executes the init side of a launch plan. It holds no policy: no JSON, no knowledge of the specification.
 *
 * A handler returns 0, or -1 after calling fail() with the name of the system call and what it was about. */
#pragma once
#include "plan.h"
#include <errno.h>
#include <stdbool.h>
#include <sys/types.h>
#include <unistd.h>

#define SLOTS 1024
#define ORPHANED 250   /* exit status: the parent ended before the program was executed */
#define MAX_HANDED 128 /* descriptors in one answer of the parent */

enum report_kind {
	REPORT_SYNC = 1, /* the parent has host steps to perform; waits for an answer */
	REPORT_CLONED,   /* pid is init's, in the parent's pid namespace */
	REPORT_CREATED,  /* init waits for start; the parent answers when state is on disk */
	REPORT_EXEC,     /* only the filter and execve follow */
	REPORT_FAULT,    /* for tests: the process at the other end must be killed now */
	REPORT_FAILED,   /* step index failed with err in call on detail; nothing follows */
};

struct report {
	uint32_t kind;
	uint32_t index;
	int32_t err;
	int32_t pid;
	char call[32];
	char detail[464];
};

struct stub {
	int control; /* the parent, later the process that runs `start` */
	int proc;    /* a procfs, checked to be one: the host's, until close_proc or await_start */
	int pids;    /* a pid namespace that others share and that init enters last; -1: none */
	int root;    /* the container's root filesystem */
	int slot[SLOTS];
	uint32_t index; /* of the current step */
	int deferred;   /* namespaces whose setns was refused until the user namespace is joined */
	struct {
		int fd, kind;
	} defer[8];
	const char *executable; /* chosen by find_executable */
	char **argv, **env;     /* laid out by prepare_exec */
	char home[256];         /* "HOME=/root", or "" */
	bool arrived;           /* in the working directory */
	mode_t umask;           /* the runtime's caller's */
	char pid[16];           /* of init, as the runtime sees it; known from clone_init on */
	int null_dir;           /* the tmpfs that hides masked directories, made once */
	/* what fail() recorded */
	int err;
	const char *call;
	char detail[464];
};

/* Record why a step fails; errno is kept as it is. Always returns -1. */
int fail(struct stub *s, const char *call, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same with a given errno. */
int fail_with(struct stub *s, int err, const char *call, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* control.c */
int send_report(struct stub *s, enum report_kind kind, int pid);
int await_go(struct stub *s);
int send_with_fd(int sock, const void *data, size_t size, int fd);
int receive_fd(int sock); /* -1, with errno, if none arrives */

/* beneath.c: every lookup inside the root filesystem */
int open_beneath(struct stub *s, const char *path, int flags);
/* The same from another directory than the root. */
int open_below(int dir, const char *path, int flags);
enum want { WANT_DIR, WANT_FILE };
int make_beneath(struct stub *s, const char *path, enum want want);
/* Create a directory or a file; no component of the path may be a symbolic link. */
int make_plain(struct stub *s, const char *path, enum want want);
/* The directory that holds the last component of path (made if missing), and that component. */
int parent_beneath(struct stub *s, const char *path, const char **name);
int get_slot(struct stub *s, int64_t slot);
int put_slot(struct stub *s, int64_t slot, int fd);

/* process.c */
/* Zeroed memory that is never freed; NULL if there is none. */
void *xcalloc(size_t size);
/* A list as execve(2) wants it, with one more string if extra is given; NULL when there is no memory. */
char **make_argv(struct strs list, const char *extra);

/* mounts.c */
int sys_open_tree(int dir, const char *path, unsigned flags);
/* mount_setattr(2) */
int set_attr(int fd, unsigned flags, uint64_t set, uint64_t clear, uint64_t propagation);
/* A new filesystem as a detached mount. */
/* A filesystem (fsopen(2)), a detached mount of it, and both in one. mount_filesystem closes fs. */
int new_filesystem(struct stub *s, const char *fstype, const char *source, struct strs options);
int mount_filesystem(struct stub *s, int fs, const char *fstype, uint64_t attrs);
int new_mount(struct stub *s, const char *fstype, const char *source, struct strs options, uint64_t attrs);

/* procfs.c */
int mount_proc_inside(struct stub *s, const char *source, struct strs options);

/* copyup.c */
int copy_tree(struct stub *s, int from, int to);

#define countof(a) (sizeof(a) / sizeof((a)[0]))
