/* Connections: bytes from one end are sent to the other end. An end that does not read makes the other end wait. When
 * an end has shut down its sending side, the other end gets end-of-file, and may still send. */
#define _GNU_SOURCE
#include "proxy.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct pair;

struct end {
	enum kind kind;
	int fd;
	struct pair *pair;
	unsigned char *pending; /* bytes that are not sent to this end yet */
	size_t sent, length;
	bool finished; /* it has shut down its sending side */
	uint32_t events;
};

struct pair {
	struct end end[2]; /* the client, and the container */
	bool connecting, dead;
	struct pair *next;
};

static struct pair *dead;

static struct end *other(struct end *end)
{
	return &end->pair->end[end == end->pair->end];
}

/* `reset`: the peer gets ECONNRESET instead of end-of-file. */
static void give_up(struct pair *pair, bool reset)
{
	if (pair->dead)
		return;
	for (int i = 0; i < 2; i++) {
		struct linger linger = {.l_onoff = 1, .l_linger = 0};
		if (reset)
			setsockopt(pair->end[i].fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
		close(pair->end[i].fd);
		free(pair->end[i].pending);
	}
	pair->dead = true;
	pair->next = dead;
	dead = pair;
}

void bury(void)
{
	while (dead) {
		struct pair *pair = dead;
		dead = pair->next;
		free(pair);
	}
}

static void want(struct end *end)
{
	bool connecting = end->pair->connecting;
	uint32_t events = end->pending || (connecting && end == &end->pair->end[1]) ? EPOLLOUT : 0;
	if (!connecting && !end->finished && !other(end)->pending)
		events |= EPOLLIN;
	if (events != end->events && !watch(EPOLL_CTL_MOD, end->fd, end->events = events, end))
		give_up(end->pair, true);
}

void accept_from(const struct port *port)
{
	int one = 1, fd = accept4(port->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		out_of_descriptors();
		return;
	}
	struct pair *pair = calloc(1, sizeof *pair);
	int far = pair ? connect_to(port, SOCK_STREAM) : -1;
	if (far < 0) {
		struct linger linger = {.l_onoff = 1, .l_linger = 0};
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
		close(fd);
		free(pair);
		return;
	}
	pair->connecting = true;
	for (int i = 0; i < 2; i++) {
		struct end *end = &pair->end[i];
		*end = (struct end){.kind = END, .fd = i ? far : fd, .pair = pair, .events = i ? EPOLLOUT : 0};
		setsockopt(end->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
		if (!watch(EPOLL_CTL_ADD, end->fd, end->events, end)) {
			give_up(pair, true);
			return;
		}
	}
}

/* Send pending bytes to an end. False: the end is closed. */
static bool flush(struct end *end)
{
	while (end->pending) {
		ssize_t count = send(end->fd, end->pending + end->sent, end->length - end->sent, MSG_NOSIGNAL);
		if (count < 0)
			return errno == EAGAIN || errno == EINTR;
		end->sent += (size_t)count;
		if (end->sent == end->length) {
			free(end->pending);
			end->pending = NULL;
		}
	}
	return true;
}

/* Read from an end once, and send to the other. False: the connection must be closed. */
static bool pass(struct end *from)
{
	struct end *to = other(from);
	ssize_t count = recv(from->fd, buffer, sizeof buffer, 0);
	if (count < 0)
		return errno == EAGAIN || errno == EINTR;
	if (!count) {
		from->finished = true;
		return true;
	}
	ssize_t sent = send(to->fd, buffer, (size_t)count, MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN && errno != EINTR)
		return false;
	sent = sent < 0 ? 0 : sent;
	if (sent == count)
		return true;
	to->pending = malloc((size_t)(count - sent));
	if (!to->pending)
		return false;
	memcpy(to->pending, buffer + sent, to->length = (size_t)(count - sent));
	to->sent = 0;
	return true;
}

void end_ready(void *about, uint32_t events)
{
	struct end *end = about;
	struct pair *pair = end->pair;
	if (pair->dead)
		return;
	if (pair->connecting) {
		int error = 0;
		socklen_t size = sizeof error;
		if (end == &pair->end[1])
			getsockopt(end->fd, SOL_SOCKET, SO_ERROR, &error, &size);
		if (error ||
		    end == &pair->end[0]) { /* the container does not listen on the port, or the client hung up */
			give_up(pair, true);
			return;
		}
		pair->connecting = false;
	}
	bool finished[2] = {pair->end[0].finished, pair->end[1].finished};
	if (!flush(end) || (events & EPOLLIN && !end->finished && !other(end)->pending && !pass(end)) ||
	    (events & EPOLLERR && !(events & EPOLLIN))) {
		give_up(pair, true);
		return;
	}
	for (int i = 0; i < 2; i++) {
		struct end *from = &pair->end[i], *to = other(from);
		/* Shut down the sending side: at once, or after the pending bytes. */
		if (from->finished && !to->pending && (!finished[i] || to == end))
			shutdown(to->fd, SHUT_WR);
	}
	if (pair->end[0].finished && pair->end[1].finished && !pair->end[0].pending && !pair->end[1].pending) {
		give_up(pair, false);
		return;
	}
	for (int i = 0; i < 2 && !pair->dead; i++)
		want(&pair->end[i]);
}
