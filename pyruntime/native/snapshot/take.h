/* Taking a snapshot of the interpreter: for pyruntime/commandline/snapshot.py. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Write this process to a file, from the position of `fd`. `sources` ends with NULL: files that must not change either,
 * and have not changed since `began` (ns after the epoch), before this process read any of them.
 * `touched`: addresses and sizes of what the command will write to, in whole pages; NULL and 0 if that is not known.
 * If it is not to be usable, the file only tells that there is no sense in taking a snapshot again.
 * Returns 0, and 1 in each process that is restored; -1: snapshot_problem() says why. */
int snapshot_take(int fd, char **sources, int usable, int64_t began, const char *touched, size_t touched_size);
const char *snapshot_problem(void);
/* Whether the snapshot in an open file would be taken in the same way again. */
int snapshot_is_current(int fd);

/* The command line and the environment of the restored process, and the signals that it ignores: bit N % 64. */
char **snapshot_arguments(void);
char **snapshot_environment(void);
uint64_t snapshot_ignored(void);
