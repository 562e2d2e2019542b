/* Bytes that wait to be sent, or for the rest of their packet. */
#define _GNU_SOURCE
#include "shim.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define KEPT 65536 /* a larger buffer is given back when it is empty */

bool buffer_room(struct buffer *buffer, size_t length)
{
	size_t wanted = buffer->used + length;
	if (wanted <= buffer->size)
		return true;
	size_t size = wanted < 4096 ? 4096 : wanted + wanted / 2;
	unsigned char *data = realloc(buffer->data, size);
	if (!data)
		return false;
	buffer->data = data;
	buffer->size = size;
	return true;
}

bool buffer_put(struct buffer *buffer, const void *data, size_t length)
{
	if (!buffer_room(buffer, length))
		return false;
	if (length)
		memcpy(buffer->data + buffer->used, data, length);
	buffer->used += length;
	return true;
}

void buffer_take(struct buffer *buffer, size_t length)
{
	buffer->used -= length;
	if (buffer->used)
		memmove(buffer->data, buffer->data + length, buffer->used);
	else if (buffer->size > KEPT)
		buffer_free(buffer);
}

void buffer_free(struct buffer *buffer)
{
	free(buffer->data);
	*buffer = (struct buffer){0};
}

int buffer_send(struct buffer *buffer, int fd)
{
	size_t sent = 0;
	while (sent < buffer->used) {
		ssize_t count = send(fd, buffer->data + sent, buffer->used - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0 && errno == EAGAIN)
			break;
		if (count < 0)
			return -1;
		sent += (size_t)count;
	}
	if (sent)
		buffer_take(buffer, sent);
	return 0;
}
