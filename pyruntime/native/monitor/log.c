/* The log: a line of text for each line of output, as Kubernetes' runtimes write it (CRI logging format):
 *
 *     2026-11-22T07:45:01.123456789Z stdout F the line
 *     2026-11-22T07:45:01.123456789Z stderr P the beginning of a line whose rest follows
 *
 * Rotated by renaming: log is the current file, log.1 the one before it, and so on. On a full disk, lines are lost, and
 * the program goes on; of a line whose beginning did not fit, the rest is lost, too. */
#define _GNU_SOURCE
#include "monitor.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HEAD 80 /* bytes, more than the time, the stream's name, the kind and the newline need */

void rfc3339(char *text, size_t size)
{
	struct timespec now;
	struct tm tm;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	size_t length = strftime(text, size, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + length, size - length, ".%09ldZ", now.tv_nsec);
}

void log_open(struct log *log)
{
	struct stat st;
	log->fd = openat(log->dir, "log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	log->size = log->fd >= 0 && !fstat(log->fd, &st) ? st.st_size : 0;
}

static void rotate(struct log *log)
{
	char from[32], to[32];
	for (int number = log->files - 1; number > 0; number--) {
		snprintf(to, sizeof to, "log.%d", number);
		snprintf(from, sizeof from, number > 1 ? "log.%d" : "log", number - 1);
		renameat(log->dir, from, log->dir, to);
	}
	if (log->files <= 1)
		unlinkat(log->dir, "log", 0);
	close(log->fd);
	log_open(log);
}

/* Append whole lines; false: the disk is full, and the last of them are lost. */
static bool put(struct log *log, const char *data, size_t length)
{
	off_t whole = log->size; /* where the last complete line ends */
	while (length) {
		ssize_t count = write(log->fd, data, length);
		if (count <= 0) {
			/* The first line after that must not be appended to half a line. */
			if (log->size != whole && !ftruncate(log->fd, whole))
				log->size = whole;
			return false;
		}
		const char *end = memrchr(data, '\n', (size_t)count);
		if (end)
			whole = log->size + (end - data) + 1;
		log->size += count;
		data += count;
		length -= (size_t)count;
	}
	return true;
}

/* The bytes at the front of `data` that belong to a line whose beginning is lost. */
static size_t rest_of_lost(struct log_state *state, const unsigned char *data, size_t length)
{
	if (state->lost != LOST_WITHIN)
		return 0;
	const unsigned char *newline = memchr(data, '\n', length);
	if (!newline)
		return length;
	state->lost = LOST_LINES;
	return (size_t)(newline - data) + 1;
}

void log_write(struct log *log, enum log_stream stream, const unsigned char *data, size_t length)
{
	char lines[2 * CHUNK], head[HEAD];
	struct log_state *state = &log->state[stream];
	long long before = log->size;
	size_t used = 0;
	if (log->fd < 0)
		return;
	size_t skipped = rest_of_lost(state, data, length);
	data += skipped;
	length -= skipped;
	if (!length)
		return;
	bool within = data[length - 1] != '\n', written = true;
	rfc3339(head, sizeof head);
	strcat(head, stream == LOG_ERR ? " stderr" : " stdout");
	if (state->lost && state->half) /* its rest is lost */
		used = (size_t)sprintf(lines, "%s F \n", head);
	while (length && written) {
		const unsigned char *newline = memchr(data, '\n', length);
		size_t part = newline ? (size_t)(newline - data) : length;
		if (used + part + sizeof head > sizeof lines) {
			written = put(log, lines, used);
			used = 0;
		}
		used += (size_t)snprintf(lines + used, sizeof lines - used, "%s %c ", head, newline ? 'F' : 'P');
		memcpy(lines + used, data, part);
		used += part;
		lines[used++] = '\n';
		part += newline != NULL;
		data += part;
		length -= part;
	}
	written = written && put(log, lines, used);
	/* What is written of a buffer that did not fit are complete lines: only its last may be half a line. */
	state->half = written ? within : state->half && log->size == before;
	state->lost = written ? LOST_NOTHING : within ? LOST_WITHIN : LOST_LINES;
	if (log->limit && log->size >= log->limit)
		rotate(log);
}
