/* The streams of the container's processes. Most need no copying: a process has the client's FIFO itself, and we hold
 * the other end, so that a client may leave and come again. Only a terminal's master is copied. */
#define _GNU_SOURCE
#include "shim.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define CHUNK 4096
#define DRAIN 10000 /* milliseconds in which a client must read the rest of a terminal's output after RELEASE */
#define HUNG_UP 20  /* milliseconds between looks at a terminal that no process has open */

enum { EVERY = -2, NONE = -1 };

struct held {
	uint64_t key;
	int fd;
	int stream; /* the number of that whose end it is, or NONE */
};
static struct held *held;
static size_t held_count;

struct terminal {
	uint64_t key;
	int master, out, in; /* -1: closed */
	bool hung_up;
	size_t typed, written; /* bytes in the arrays below */
	unsigned char to_master[CHUNK], to_client[CHUNK];
	size_t entries; /* in the array for poll(2) */
};
static struct terminal **terminals;
static size_t terminal_count;

struct leaving { /* RELEASE was asked */
	uint64_t key;
	long long deadline;
};
static struct leaving *leaving;
static size_t leaving_count;

static void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static bool hold_end(uint64_t key, int fd, int stream)
{
	struct held *more = realloc(held, (held_count + 1) * sizeof *held);
	if (!more) {
		close(fd);
		return false;
	}
	held = more;
	held[held_count++] = (struct held){.key = key, .fd = fd, .stream = stream};
	return true;
}

void hold(uint64_t key, int fd)
{
	hold_end(key, fd, NONE);
}

int held_stream(uint64_t key, int number)
{
	for (size_t i = 0; i < held_count; i++)
		if (held[i].key == (key | STARTING) && held[i].stream == number)
			return held[i].fd;
	return -1;
}

/* The server never has a FIFO open: the client would take the server's end for that of the stream. An end that was
 * opened stays open while others cannot be opened yet, for the same reason. */
int open_stream(uint64_t key, int number, const char *path)
{
	if (!*path || held_stream(key, number) >= 0)
		return 0;
	/* The reader first: then a writer can be opened at once. Without a client that reads, ENXIO. */
	int own = number ? O_WRONLY : O_RDONLY, other = number ? O_RDONLY : O_WRONLY;
	int fd = open(path, own | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno;
	int end = open(path, other | O_NONBLOCK | O_CLOEXEC), error = errno;
	if (end < 0) {
		close(fd);
		return error;
	}
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	if (!hold_end(key | STARTING, fd, number)) {
		close(end);
		return ENOMEM;
	}
	return hold_end(key, end, number) ? 0 : ENOMEM;
}

static void let_go(uint64_t key, int stream)
{
	for (size_t i = 0; i < held_count;)
		if (held[i].key == key && (held[i].stream == stream || stream == EVERY)) {
			close(held[i].fd);
			held[i] = held[--held_count];
		} else {
			i++;
		}
}

void close_stdin(uint64_t key)
{
	let_go(key, 0);
}

static void nonblocking(int fd)
{
	if (fd >= 0)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* A copy: the end that is held is released when the process has been started. */
static int copy_of(uint64_t key, int number)
{
	int fd = held_stream(key, number);
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

void terminal_add(uint64_t key, int master, int out)
{
	int in = copy_of(key, 0);
	if (out < 0)
		out = copy_of(key, 1);
	struct terminal **more = realloc(terminals, (terminal_count + 1) * sizeof *terminals);
	struct terminal *made = calloc(1, sizeof *made);
	if (more)
		terminals = more;
	if (!more || !made) {
		free(made);
		shut(&master), shut(&out), shut(&in);
		return;
	}
	*made = (struct terminal){.entries = (size_t)-1, .key = key, .master = master, .out = out, .in = in};
	nonblocking(master);
	nonblocking(out);
	nonblocking(in);
	terminals[terminal_count++] = made;
}

static struct terminal *terminal_of(uint64_t key)
{
	for (size_t i = 0; i < terminal_count; i++)
		if (terminals[i]->key == key)
			return terminals[i];
	return NULL;
}

void terminal_resize(uint64_t key, const void *size, size_t length)
{
	struct terminal *terminal = terminal_of(key);
	struct winsize window;
	if (!terminal || length != sizeof window)
		return;
	memcpy(&window, size, sizeof window);
	ioctl(terminal->master, TIOCSWINSZ, &window);
}

/* Read what the processes have written, and pass it on. */
static void pump_output(struct terminal *t)
{
	for (int turns = 0; turns < 64; turns++) { /* then the others again: a program may write without end */
		if (!t->written && t->master >= 0) {
			ssize_t count = read(t->master, t->to_client, CHUNK);
			if (count > 0) {
				t->written = (size_t)count;
				t->hung_up = false;
			} else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
				/* EIO: no process has the terminal open. While the process lives it may open it again.
				 */
				t->hung_up = true;
				if (has_exited(t->key)) {
					shut(&t->master);
					shut(&t->out); /* the client reads the end of the stream */
				}
				return;
			} else {
				return;
			}
		}
		if (!t->written)
			return;
		ssize_t count = write(t->out, t->to_client, t->written);
		if (count < 0) {
			if (errno != EAGAIN && errno != EINTR)
				t->written = 0; /* a file on a full disk: the program goes on */
			return;
		}
		t->written -= (size_t)count;
		memmove(t->to_client, t->to_client + count, t->written);
		if (t->written)
			return;
	}
}

static void pump_input(struct terminal *t)
{
	if (t->in >= 0 && !t->typed) {
		ssize_t count = read(t->in, t->to_master, CHUNK);
		if (count > 0)
			t->typed = (size_t)count;
		else if (count == 0 || (errno != EAGAIN && errno != EINTR))
			shut(&t->in);
	}
	if (t->typed && t->master >= 0) {
		ssize_t count = write(t->master, t->to_master, t->typed);
		if (count > 0) {
			t->typed -= (size_t)count;
			memmove(t->to_master, t->to_master + count, t->typed);
		} else if (count < 0 && errno != EAGAIN && errno != EINTR) {
			t->typed = 0;
		}
	}
}

static void end_terminal(uint64_t key)
{
	for (size_t i = 0; i < terminal_count; i++)
		if (terminals[i]->key == key) {
			shut(&terminals[i]->master), shut(&terminals[i]->out), shut(&terminals[i]->in);
			free(terminals[i]);
			terminals[i--] = terminals[--terminal_count];
		}
}

void abandon(uint64_t key, bool fifos)
{
	end_terminal(key);
	let_go(key, fifos ? EVERY : NONE);
}

static void finish_release(uint64_t key)
{
	abandon(key, true);
	link_send(CLOSED, 0, key, NULL, 0);
}

void release(uint64_t key)
{
	struct terminal *terminal = terminal_of(key);
	struct leaving *more = NULL;
	if (terminal)
		pump_output(terminal);
	if (terminal && terminal->out >= 0)
		more = realloc(leaving, (leaving_count + 1) * sizeof *leaving);
	if (!more) {
		finish_release(key);
		return;
	}
	leaving = more;
	leaving[leaving_count++] = (struct leaving){.key = key, .deadline = milliseconds() + DRAIN};
}

size_t streams_count(void)
{
	return 3 * terminal_count;
}

size_t streams_poll(struct pollfd *entries, size_t room)
{
	size_t count = 0;
	for (size_t i = 0; i < terminal_count; i++) {
		struct terminal *t = terminals[i];
		t->entries = room - count >= 3 ? count : (size_t)-1;
		if (t->entries == (size_t)-1)
			continue;
		short events = (short)((t->written ? 0 : POLLIN) | (t->typed ? POLLOUT : 0));
		entries[count++] = (struct pollfd){.fd = events && !t->hung_up ? t->master : -1, .events = events};
		entries[count++] = (struct pollfd){.fd = t->written ? t->out : -1, .events = POLLOUT};
		entries[count++] = (struct pollfd){.fd = t->typed ? -1 : t->in, .events = POLLIN};
	}
	return count;
}

void streams_turn(const struct pollfd *entries, size_t count)
{
	for (size_t i = 0; i < terminal_count; i++) {
		struct terminal *t = terminals[i];
		const struct pollfd *own = entries + t->entries;
		if (t->entries == (size_t)-1 || t->entries + 3 > count)
			continue;
		if (own[2].revents || (own[0].revents & POLLOUT))
			pump_input(t);
		if (own[1].revents || (own[0].revents & (POLLIN | POLLHUP | POLLERR)) || t->hung_up)
			pump_output(t);
	}
	long long now = milliseconds();
	for (size_t i = 0; i < leaving_count;) {
		struct terminal *t = terminal_of(leaving[i].key);
		if (t && t->out >= 0 && now < leaving[i].deadline) {
			i++;
			continue;
		}
		uint64_t key = leaving[i].key;
		leaving[i] = leaving[--leaving_count];
		finish_release(key);
	}
}

int streams_patience(void)
{
	int patience = -1;
	for (size_t i = 0; i < terminal_count; i++)
		if (terminals[i]->hung_up && terminals[i]->master >= 0 && !terminals[i]->written)
			patience = HUNG_UP;
	long long now = milliseconds();
	for (size_t i = 0; i < leaving_count; i++) {
		long long left = leaving[i].deadline > now ? leaving[i].deadline - now : 0;
		if (patience < 0 || left < patience)
			patience = (int)left;
	}
	return patience;
}
