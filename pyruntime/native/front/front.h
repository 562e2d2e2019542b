/* The front: the command `pyruntime`. It carries out the instructions that `create` has written to a container's life
 * plan, and hands every other command line to Python. It holds no policy and prints no messages of its own.
 *
 * A function returns 0, or HAND_OVER if Python must begin again from the start. */
#pragma once
#define PLAN_TABLE "../front/life.h" /* as seen from stub/plan.h */
#include "../stub/plan.h"
#include <stdbool.h>
#include <sys/types.h>

#define HAND_OVER (-1)

/* A command line that a life plan may have a list for. */
struct request {
	enum verb verb;
	const char *root; /* NULL: the default */
	const char *log;  /* NULL: none */
	const char *id;
	int signal;
	/* of `exec` */
	const unsigned char *content; /* of the process file; NULL: none, but these: */
	size_t content_size;
	char **args;
	int64_t uid, gid; /* -1: the container's own */
	const char *cwd;  /* NULL: the container's own */
	const char **env; /* to add */
	size_t env_count;
	const char *pid_file;
	bool detach;
};

struct front {
	const struct request *request;
	const char *id;      /* of the container whose plan is carried out */
	int root, directory; /* directories of all containers, and of this one; -1: not open */
	int status;          /* 0 until status_of is called */
	int connection;      /* to an init that waits for `start`; -1: none */
	int pidfd;           /* of init; -1: not open */
	bool listed;         /* a list has begun, */
	bool ours;           /* the current list is that of our verb, */
	bool found;          /* and our verb has a list */
	int nested;          /* files read by read_list */
	const uint8_t *tolerate;
	struct launch *launch; /* launch.c; NULL: none */
	struct step_container container;
	struct step_paused_while paused;
	struct step_created_while created;
};

/* request.c */
int read_request(char **argv, struct request *out);
struct flag;
/* The value of a flag in *word: "" if the flag takes none, NULL if the word is something else or invalid.
 * Advances over a value in a separate word. */
const char *flag_value(const struct flag *flag, char ***word);
bool names_container(const char *id);

/* exec.c: the words after `exec` */
int read_exec(char **word, struct request *out);

/* fill.c */
/* The launch plan, from the records added so far, with this header; false if it is too large. */
bool filled_plan(struct blob header, struct blob *out);

/* launch.c, wait.c */
/* Undo a launch that has not executed its program: nothing of it is left. */
void abandon_launch(struct front *f);
int launched_process(const struct front *f);
void keep_signals(void); /* queue signals for the process, from now on, */
void release_signals(void);
void unblock_signals(void);     /* in a child */
int wait_for_process(int pid);  /* its exit status, 128 + N for signal N */
const char *default_root(void); /* NULL: Python determines it */

/* watch.c */
/* Whether this process is a foreground `run` whose container has been started: then it has ended, and is deleted. */
bool watch(char **argv, int *exit_status);

/* directory.c */
int open_root(struct front *f);
int open_container(struct front *f, const char *id);
void close_container(struct front *f);
void close_all(struct front *f); /* before Python takes over in this process: restore.c */
#define PLAN_LARGEST (1 << 18)
/* A plan of the open container, checked, in the memory that is given. */
int read_plan(struct front *f, const char *name, unsigned char data[PLAN_LARGEST], struct plan *plan);

/* carry.c */
/* Open f->pidfd for init, not for another process that has its pid by now. */
int open_init(struct front *f);

/* status.c */
int status_of(struct front *f); /* enum status, or 0 if Python must find out */

/* carry.c: the instructions */
int carry_out(const struct request *request, int *exit_status);

/* list.c */
int perform_lists(struct front *f);
int perform_plan(struct front *f, const char *id, const char *name); /* carry.c */

/* process.c */
/* When a process was started, in clock ticks after boot; 0 if it has exited or is a zombie, -1 if that is unknown.
 */
int64_t start_time(int64_t pid);
/* Whether it has been killed and still exists, for example frozen. */
bool dying(int64_t pid);
struct pids {
	size_t count;
	int pid[1 << 16];
};
/* The processes of a cgroup and of those below it; none if the cgroup does not exist. */
int read_processes(const char *path, struct pids *out);
int read_own_processes(const char *path, struct pids *out); /* only of the cgroup itself */

/* files.c */
/* Call visit for each name but . and .. in an open directory, until a call returns nonzero, which is returned. */
int each_entry(int dir, int (*visit)(void *, const char *name, unsigned char type), void *context);
/* Up to size - 1 bytes of a file, and a NUL; their number, or -1 with errno. */
ssize_t read_file(int dir, const char *path, char *text, size_t size);
int write_file(const char *path, const char *data);
/* The concatenation of a list of strings that ends with NULL; false if it is too long. */
bool join(char *out, size_t size, const char *const *parts);
char *decimal(char digits[24], int64_t number);
int64_t number_of(const char *text); /* -1: not a number, or too many digits */

/* output.c: standard output, written after everything else is done */
int put(const char *text);
int flush(void);

/* python.c */
const char *own_name(void); /* of the program that runs; NULL if /proc does not show it */
/* Become the interpreter, with the unchanged command line and environment, and one more variable unless it is
 * NULL. Returns only on failure: the exit status. */
int hand_over(char **argv, const char *variable);

/* restore.c: become the interpreter of a snapshot. Returns if that is impossible. */
void restore(const char *path, char **arguments, char **environment);
