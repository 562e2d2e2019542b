/* The front: the command `pyruntime`. It carries out what `create` has written down in a container's life plan, and
 * hands every other command line to Python. It holds no policy and says nothing: all words are Python's.
 *
 * A function returns 0, or HAND_OVER where Python is to begin again from the start. */
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
	const unsigned char *key; /* what makes it the same request as another: lifecycle/replay.py */
	size_t key_size;
	const char *pid_file;
	bool detach;
};

struct front {
	const struct request *request;
	int root, directory; /* of all containers, and of this one; -1: not open */
	int status;          /* once it was asked for */
	int connection;      /* to an init that waits for `start`; -1: none */
	int pidfd;           /* of init; -1: not open */
	bool listed;         /* whether lists have begun, */
	bool ours;           /* this one is our verb's, */
	bool found;          /* and there was one */
	const uint8_t *tolerate;
	struct launch *launch; /* launch.c; NULL: none */
	struct step_container container;
	struct step_paused_while paused;
	struct step_created_while created;
};

/* request.c */
int read_request(char **argv, struct request *out);
struct flag;
/* The value of a flag in *word: "" of one that takes none, NULL where the word is another or is not understood.
 * Advances over a value that is a word of its own. */
const char *flag_value(const struct flag *flag, char ***word);
bool names_container(const char *id);

/* exec.c: the words after `exec` */
int read_exec(char **word, struct request *out);

/* launch.c, wait.c */
/* Undo a launch that has not come to its program: nothing of it is left. */
void abandon_launch(struct front *f);
int launched_process(const struct front *f);
void keep_signals(void); /* for the process, from now on, */
void release_signals(void);
int wait_for_process(int pid);  /* until it ends: its exit status as a shell has it */
const char *default_root(void); /* NULL: Python knows */

/* directory.c */
int open_root(struct front *f);
int open_container(struct front *f, const char *id);
void close_container(struct front *f);
/* The plan of the open container, checked; it lies in memory of its own until the next call. */
int read_plan(struct front *f, const char *name, struct plan *plan);

/* carry.c */
/* Open f->pidfd: of init, and of no process that has its pid by now. */
int open_init(struct front *f);

/* status.c */
int status_of(struct front *f); /* enum status, or 0 where Python is to find out */

/* carry.c: the instructions */
int carry_out(const struct request *request, int *exit_status);

/* list.c */
int perform_lists(struct front *f);
int perform_plan(struct front *f, const char *id, const char *name); /* carry.c */

/* process.c */
/* When a process was started, in clock ticks after boot; 0 when it has gone or is a zombie, -1 where that is not known.
 */
int64_t start_time(int64_t pid);
struct pids {
	size_t count;
	int pid[1 << 16];
};
/* The processes of a cgroup and of those below it; none of one that is not there. */
int read_processes(const char *path, struct pids *out);
int read_own_processes(const char *path, struct pids *out); /* of the cgroup alone */

/* files.c */
/* Call visit for each name but . and .. in an open directory, until one is not 0: that is returned. */
int each_entry(int dir, int (*visit)(void *, const char *name, unsigned char type), void *context);
/* Up to size - 1 bytes of a file, and a NUL; their number, or -1 with errno. */
ssize_t read_file(int dir, const char *path, char *text, size_t size);
int write_file(const char *path, const char *data);
/* The concatenation of a list of strings that ends with NULL; false where it is too long. */
bool join(char *out, size_t size, const char *const *parts);
char *decimal(char digits[24], int64_t number);
int64_t number_of(const char *text); /* -1: none, or with too many digits */

/* output.c: what goes to standard output when all else is done */
int put(const char *text);
int flush(void);

/* python.c */
const char *own_name(void); /* of the program that runs; NULL where /proc does not say */
/* Become the interpreter, with the command line and the environment as they came, and one more variable if there is
 * one. Returns only where it cannot: the exit status. */
int hand_over(char **argv, const char *variable);
