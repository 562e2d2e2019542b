/* Who watches the output: each client takes every packet, or is dropped after two seconds in which it took none (it was
 * stopped, or a pager shows its first page). A client that goes is forgotten. */
#define _GNU_SOURCE
#include "monitor.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct client clients[CLIENTS];

void client_add(int fd)
{
	for (struct client *client = clients; client < clients + CLIENTS; client++) {
		if (client->fd >= 0)
			continue;
		if (!client->packet && !(client->packet = malloc(CHUNK + 1)))
			break;
		client->fd = fd;
		client->pending = 0;
		return;
	}
	close(fd); /* more than anybody needs */
}

void client_drop(struct client *client, bool detached)
{
	client_gone(client->fd, detached); /* before its number can be another's */
	close(client->fd);
	client->fd = -1;
	client->pending = 0;
}

void client_flush(struct client *client)
{
	ssize_t sent = send(client->fd, client->packet, client->pending, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent >= 0)
		client->pending = 0;
	else if (errno != EAGAIN && errno != EINTR)
		client_drop(client, false);
}

/* Only to be called while nobody has a packet pending. */
void clients_send(enum packet kind, const unsigned char *data, size_t length)
{
	for (struct client *client = clients; client < clients + CLIENTS; client++) {
		if (client->fd < 0)
			continue;
		client->packet[0] = (unsigned char)kind;
		memcpy(client->packet + 1, data, length);
		client->pending = length + 1;
		client->since = milliseconds();
		client_flush(client);
	}
}

bool clients_pending(void)
{
	for (struct client *client = clients; client < clients + CLIENTS; client++)
		if (client->fd >= 0 && client->pending)
			return true;
	return false;
}

/* Milliseconds until the first client that is stuck is to be dropped; -1: none waits. */
long long clients_patience(long long now)
{
	long long least = -1;
	for (struct client *client = clients; client < clients + CLIENTS; client++) {
		if (client->fd < 0 || !client->pending)
			continue;
		long long left = client->since + PATIENCE - now;
		left = left > 0 ? left : 0;
		least = least < 0 || left < least ? left : least;
	}
	return least;
}

void clients_drop_stuck(long long now)
{
	for (struct client *client = clients; client < clients + CLIENTS; client++)
		if (client->fd >= 0 && client->pending && now - client->since >= PATIENCE)
			client_drop(client, false);
}

/* When the program has ended all that it wrote fits into the sockets: a pipe or a terminal holds no more than this.
 * What is in a socket can be read when we are gone. */
void clients_make_room(void)
{
	int size = 4 << 20;
	for (struct client *client = clients; client < clients + CLIENTS; client++) {
		if (client->fd < 0)
			continue;
		if (setsockopt(client->fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size))
			setsockopt(client->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size); /* as far as users may go */
		if (client->pending)
			client_flush(client);
	}
}
