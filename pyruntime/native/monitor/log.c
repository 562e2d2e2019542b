/* The log: a line of text for each line of output, as Kubernetes' runtimes write it (CRI logging format):
 *
 *     2026-11-22T07:45:01.123456789Z stdout F the line
 *     2026-11-22T07:45:01.123456789Z stderr P the beginning of a line whose rest follows
 *
 * Rotated by renaming: log is the current file, log.1 the one before it, and so on. On a full disk, lines are lost, and
 * the program goes on. */
#define _GNU_SOURCE
#include "monitor.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

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

static void put(struct log *log, const char *data, size_t length)
{
	off_t whole = log->size; /* where the last complete line ends */
	while (length) {
		ssize_t count = write(log->fd, data, length);
		if (count <= 0) {
			/* The disk is full: the first line after that must not be appended to half a line. */
			if (log->size != whole && !ftruncate(log->fd, whole))
				log->size = whole;
			return;
		}
		const char *end = memrchr(data, '\n', (size_t)count);
		if (end)
			whole = log->size + (end - data) + 1;
		log->size += count;
		data += count;
		length -= (size_t)count;
	}
}

void log_write(struct log *log, const char *stream, const unsigned char *data, size_t length)
{
	char lines[2 * CHUNK], stamp[64];
	size_t used = 0;
	if (log->fd < 0)
		return;
	rfc3339(stamp, sizeof stamp);
	while (length) {
		const unsigned char *newline = memchr(data, '\n', length);
		size_t part = newline ? (size_t)(newline - data) : length;
		if (used + part + sizeof stamp + 16 > sizeof lines) {
			put(log, lines, used);
			used = 0;
		}
		used += (size_t)snprintf(lines + used, sizeof lines - used, "%s %s %c ", stamp, stream,
					 newline ? 'F' : 'P');
		memcpy(lines + used, data, part);
		used += part;
		lines[used++] = '\n';
		part += newline != NULL;
		data += part;
		length -= part;
	}
	put(log, lines, used);
	if (log->limit && log->size >= log->limit)
		rotate(log);
}
