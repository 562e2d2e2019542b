/* containerd's connections. Of ttrpc (PROTOCOL.md of github.com/containerd/ttrpc) the monitor knows the frame only:
 *
 *     u32 length, u32 stream, u8 type, u8 flags, in the byte order of the network, then the payload
 *
 * A request is kept until it is answered, so that another server can answer it. */
#define _GNU_SOURCE
#include "shim.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAME 10
#define LARGEST (4u << 20) /* of a payload */
#define UNREAD (16u << 20) /* bytes of answers that a client may leave unread */
#define REQUESTS 4096      /* of all clients, that are not answered */
#define PAUSE 100          /* milliseconds, if a connection cannot be accepted for want of descriptors or memory */
enum { TYPE_REQUEST = 1, TYPE_RESPONSE = 2 };
enum { RESOURCE_EXHAUSTED = 8, UNAVAILABLE = 14 }; /* of google.rpc.Code */

struct client {
	int fd;
	uint64_t serial;
	struct buffer in, out;
	uint32_t skip; /* bytes of a payload that is too large */
};
static struct client *clients;
static size_t client_count;
static uint64_t last_client;
static int listener;
static long long accept_again; /* when; 0: now */

struct pending {
	struct pending *next;
	uint64_t number, client;
	uint32_t stream;
	bool sent;
	size_t length;
	unsigned char payload[];
};
static struct pending *first, **last = &first;
static size_t request_count;
static uint64_t last_request;

void clients_begin(int fd)
{
	listener = fd;
}

static struct client *client_of(uint64_t serial)
{
	for (size_t i = 0; i < client_count; i++)
		if (clients[i].serial == serial)
			return &clients[i];
	return NULL;
}

static struct pending *take_out(struct pending **place)
{
	struct pending *found = *place;
	*place = found->next;
	if (!*place)
		last = place;
	request_count--;
	return found;
}

/* An answer to one of its requests, if a server works on it, is for nobody. */
static void drop_client(struct client *client)
{
	for (struct pending **place = &first; *place;)
		if ((*place)->client == client->serial)
			free(take_out(place));
		else
			place = &(*place)->next;
	close(client->fd);
	buffer_free(&client->in);
	buffer_free(&client->out);
	*client = clients[--client_count];
}

/* False: the client is gone. */
static bool send_frame(struct client *client, uint32_t stream, const void *payload, size_t length)
{
	unsigned char frame[FRAME] = {0};
	uint32_t size = htonl((uint32_t)length), id = htonl(stream);
	memcpy(frame, &size, 4);
	memcpy(frame + 4, &id, 4);
	frame[8] = TYPE_RESPONSE;
	if (client->out.used <= UNREAD && buffer_put(&client->out, frame, FRAME) &&
	    buffer_put(&client->out, payload, length) && !buffer_send(&client->out, client->fd))
		return true;
	drop_client(client);
	return false;
}

/* A Response{1: Status{1: code, 2: message}}. */
static bool refuse(struct client *client, uint32_t stream, int code, const char *why)
{
	unsigned char response[128];
	size_t length = strnlen(why, 100);
	const unsigned char head[] = {10, (unsigned char)(length + 4), 8, (unsigned char)code,
				      18, (unsigned char)length};
	memcpy(response, head, sizeof head);
	memcpy(response + sizeof head, why, length);
	return send_frame(client, stream, response, sizeof head + length);
}

static void send_request(struct pending *request)
{
	link_send(REQUEST, request->sent, request->number, request->payload, request->length);
	request->sent = true;
}

/* False: the client is gone. */
static bool take_request(struct client *client, uint32_t stream, const unsigned char *payload, size_t length)
{
	struct pending *request = request_count < REQUESTS ? malloc(sizeof *request + length) : NULL;
	if (!request)
		return refuse(client, stream, RESOURCE_EXHAUSTED, "too many requests wait for an answer");
	*request =
	    (struct pending){.number = ++last_request, .client = client->serial, .stream = stream, .length = length};
	if (length)
		memcpy(request->payload, payload, length);
	*last = request;
	last = &request->next;
	request_count++;
	if (link_up())
		send_request(request);
	else
		link_wanted();
	return true;
}

/* Take the complete frames. False: the client is gone. */
static bool take_frames(struct client *client)
{
	size_t at = 0;
	struct buffer *in = &client->in;
	for (;;) {
		if (client->skip) {
			size_t some = in->used - at < client->skip ? in->used - at : client->skip;
			client->skip -= (uint32_t)some;
			at += some;
		}
		if (in->used - at < FRAME)
			break;
		uint32_t length, stream;
		memcpy(&length, in->data + at, 4);
		memcpy(&stream, in->data + at + 4, 4);
		length = ntohl(length), stream = ntohl(stream);
		bool request = in->data[at + 8] == TYPE_REQUEST;
		if (length > LARGEST) {
			client->skip = length;
			at += FRAME;
			if (request && !refuse(client, stream, RESOURCE_EXHAUSTED, "the message is longer than 4 MiB"))
				return false;
			continue;
		}
		if (in->used - at < FRAME + length)
			break;
		if (in->data[at + 8] == TYPE_QUIT)
			quit(false);
		/* Other types belong to streams, which no method here has. */
		if (request && !take_request(client, stream, in->data + at + FRAME, length))
			return false;
		at += FRAME + length;
	}
	buffer_take(in, at);
	return true;
}

/* False: the client is gone. */
static bool read_client(struct client *client)
{
	if (!buffer_room(&client->in, 16384)) {
		drop_client(client);
		return false;
	}
	ssize_t count = recv(client->fd, client->in.data + client->in.used, 16384, MSG_DONTWAIT);
	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (count <= 0) {
		drop_client(client);
		return false;
	}
	client->in.used += (size_t)count;
	return take_frames(client);
}

/* False: no connection is waiting. */
static bool accept_client(void)
{
	struct ucred peer;
	socklen_t size = sizeof peer;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		/* The connection still waits, and poll(2) would return at once. */
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			accept_again = milliseconds() + PAUSE;
		return false;
	}
	struct client *more = realloc(clients, (client_count + 1) * sizeof *clients);
	if (more)
		clients = more;
	if (!more || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) || peer.uid != geteuid()) {
		close(fd);
		return true;
	}
	clients[client_count++] = (struct client){.fd = fd, .serial = ++last_client};
	return true;
}

size_t clients_count(void)
{
	return client_count + 1;
}

int clients_patience(void)
{
	long long left = accept_again - milliseconds();
	return !accept_again ? -1 : left > 0 ? (int)left : 0;
}

size_t clients_poll(struct pollfd *entries, size_t room)
{
	size_t count = 0;
	if (accept_again && milliseconds() >= accept_again)
		accept_again = 0;
	entries[count++] = (struct pollfd){.fd = accept_again ? -1 : listener, .events = POLLIN};
	for (size_t i = 0; i < client_count && count < room; i++)
		entries[count++] = (struct pollfd){.fd = clients[i].fd,
						   .events = (short)(POLLIN | (clients[i].out.used ? POLLOUT : 0))};
	return count;
}

void clients_turn(const struct pollfd *entries, size_t count)
{
	/* From the last to the first: a client that goes is replaced by the last one. */
	for (size_t i = count; i-- > 1;) {
		struct client *client = &clients[i - 1];
		if (i - 1 >= client_count || client->fd != entries[i].fd)
			continue;
		if (entries[i].revents & POLLOUT && buffer_send(&client->out, client->fd)) {
			drop_client(client);
			continue;
		}
		if (entries[i].revents & (POLLIN | POLLHUP | POLLERR))
			read_client(client);
	}
	if (entries[0].revents)
		while (accept_client())
			;
}

void answer(uint64_t number, const void *response, size_t length)
{
	for (struct pending **place = &first; *place; place = &(*place)->next)
		if ((*place)->number == number) {
			struct pending *request = take_out(place);
			struct client *client = client_of(request->client);
			if (client)
				send_frame(client, request->stream, response, length);
			free(request);
			return;
		}
}

void refuse_requests(const char *why)
{
	while (first) {
		struct pending *request = take_out(&first);
		struct client *client = client_of(request->client);
		if (client)
			refuse(client, request->stream, UNAVAILABLE, why);
		free(request);
	}
}

void repeat_requests(void)
{
	for (struct pending *request = first; request; request = request->next)
		send_request(request);
}

bool clients_flushed(void)
{
	for (size_t i = 0; i < client_count; i++)
		if (clients[i].out.used)
			return false;
	return true;
}
