/* The clients that read the output: each client gets every packet; a client that reads none for two seconds (it was
 * stopped, or a pager shows its first page) is dropped. Nothing is kept of a client that has disconnected. */
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
	close(fd); /* more clients than anyone needs */
}

void client_drop(struct client *client, bool detached)
{
	client_gone(client->fd, detached); /* before the descriptor's number can be used again */
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

/* To be called only while no client has a pending packet. */
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

/* Milliseconds until the first stuck client must be dropped; -1: no client is stuck. */
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

/* When the program has ended, all of its remaining output fits into the sockets: a pipe or a terminal holds no more
 * than this. Clients can read a socket's content after we have exited. */
void clients_make_room(void)
{
	int size = 4 << 20;
	for (struct client *client = clients; client < clients + CLIENTS; client++) {
		if (client->fd < 0)
			continue;
		if (setsockopt(client->fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size))
			setsockopt(client->fd, SOL_SOCKET, SO_SNDBUF, &size,
				   sizeof size); /* the limit for unprivileged users */
		if (client->pending)
			client_flush(client);
	}
}
