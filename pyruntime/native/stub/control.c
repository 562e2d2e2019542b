/* The protocol with the parent: fixed-size reports to it, a byte and descriptors from it. */
#define _GNU_SOURCE
#include "stub.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

static int vfail(struct stub *s, int err, const char *call, const char *fmt, va_list args)
{
	s->err = err;
	s->call = call;
	vsnprintf(s->detail, sizeof s->detail, fmt, args);
	return -1;
}

int fail(struct stub *s, const char *call, const char *fmt, ...)
{
	int err = errno;
	va_list args;
	va_start(args, fmt);
	vfail(s, err, call, fmt, args);
	va_end(args);
	errno = err;
	return -1;
}

int fail_with(struct stub *s, int err, const char *call, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vfail(s, err, call, fmt, args);
	va_end(args);
	errno = err;
	return -1;
}

int send_report(struct stub *s, enum report_kind kind, int pid)
{
	struct report r = {.kind = kind, .index = s->index, .pid = pid};
	if (kind == REPORT_FAILED) {
		r.err = s->err;
		snprintf(r.call, sizeof r.call, "%s", s->call ? s->call : "");
		memcpy(r.detail, s->detail, sizeof r.detail);
	}
	ssize_t n;
	/* write(2), not send(2): the last reports are made under the container's seccomp filter. */
	do
		n = write(s->control, &r, sizeof r);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof r ? 0 : fail(s, "write", "report to the runtime");
}

/* Wait for the parent's answer: a byte 'g', then the numbers (16 bits each) of the slots whose descriptors it carries.
 * End of file means that the parent has died: init must not go on without it. */
int await_go(struct stub *s)
{
	unsigned char data[1 + 2 * MAX_HANDED];
	struct iovec iov = {data, sizeof data};
	union {
		char buf[CMSG_SPACE(MAX_HANDED * sizeof(int))];
		struct cmsghdr align;
	} u;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.buf, .msg_controllen = sizeof u.buf};
	ssize_t n;
	do
		n = recvmsg(s->control, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return fail(s, "recvmsg", "answer of the runtime");
	if (n == 0 || data[0] != 'g')
		_exit(ORPHANED);
	int count = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		int fds[MAX_HANDED];
		count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		if (count > MAX_HANDED || 2 * count > n - 1)
			return fail_with(s, EPROTO, "recvmsg", "more descriptors than slots");
		memcpy(fds, CMSG_DATA(c), (size_t)count * sizeof(int));
		for (int i = 0; i < count; i++)
			if (put_slot(s, data[1 + 2 * i] | data[2 + 2 * i] << 8, fds[i]))
				return -1;
	}
	if (2 * count != n - 1)
		return fail_with(s, EPROTO, "recvmsg", "%d descriptors for %d slots", count, (int)(n - 1) / 2);
	return 0;
}

int send_with_fd(int sock, const void *data, size_t size, int fd)
{
	struct iovec iov = {(void *)data, size};
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} u;
	memset(&u, 0, sizeof u);
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.buf, .msg_controllen = sizeof u.buf};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	ssize_t n;
	do
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	size_t sent = n < 0 ? 0 : (size_t)n;
	while (n >= 0 && sent < size) { /* a long text on a stream whose reader is slow */
		n = send(sock, (const char *)data + sent, size - sent, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			n = 0;
		sent += n < 0 ? 0 : (size_t)n;
	}
	return n < 0 ? -1 : 0;
}

int receive_fd(int sock)
{
	char byte;
	struct iovec iov = {&byte, 1};
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} u;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.buf, .msg_controllen = sizeof u.buf};
	ssize_t n;
	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	int fd = -1;
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof fd);
	else if (n >= 0)
		errno = EBADMSG;
	return fd;
}

int get_slot(struct stub *s, int64_t slot)
{
	if (slot < 0 || slot >= SLOTS || s->slot[slot] < 0)
		return fail_with(s, EBADF, "slot", "slot %lld is empty", (long long)slot);
	return s->slot[slot];
}

int put_slot(struct stub *s, int64_t slot, int fd)
{
	if (slot < 0 || slot >= SLOTS || s->slot[slot] >= 0) {
		close(fd);
		return fail_with(s, EBADF, "slot", "slot %lld cannot be filled", (long long)slot);
	}
	s->slot[slot] = fd;
	return 0;
}
