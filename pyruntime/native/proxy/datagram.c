/* Datagrams: each client has its own socket to the container, so that answers find their way back; the socket is closed
 * after a time without datagrams. Answers are sent from the address that the client wrote to. */
#define _GNU_SOURCE
#include "proxy.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define IDLE 60 /* seconds */
#define SESSIONS 1024
#define BUCKETS 256

struct session {
	enum kind kind;
	int fd;
	const struct port *port;
	union address client;
	union {
		struct in_pktinfo v4;
		struct in6_pktinfo v6;
	} local;
	bool v6;
	time_t used;
	struct session *next; /* of the same bucket */
};

static struct session *buckets[BUCKETS];
static int count;

static time_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
	return time.tv_sec;
}

bool port_open(const struct port *port)
{
	int one = 1;
	union address own;
	socklen_t size = sizeof own;
	if (getsockname(port->fd, &own.any, &size))
		return false;
	if (own.any.sa_family == AF_INET6)
		return !setsockopt(port->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof one);
	return !setsockopt(port->fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof one);
}

static struct session **bucket_of(const struct port *port, const union address *client)
{
	uint32_t hash = 2166136261u ^ (uint32_t)port->fd; /* FNV-1a */
	const unsigned char *byte = (const unsigned char *)client;
	for (size_t i = 0; i < sizeof *client; i++)
		hash = (hash ^ byte[i]) * 16777619u;
	return &buckets[hash % BUCKETS];
}

static void forget(struct session **link)
{
	struct session *session = *link;
	*link = session->next;
	close(session->fd);
	free(session); /* must not be called while an event of the current batch may refer to the session */
	count--;
}

static void expire(time_t before)
{
	for (int i = 0; i < BUCKETS; i++)
		for (struct session **link = &buckets[i]; *link;)
			if ((*link)->used <= before)
				forget(link);
			else
				link = &(*link)->next;
}

void sessions_expire(void)
{
	static time_t checked;
	time_t time = now();
	if (time - checked < 10 && count < SESSIONS)
		return;
	checked = time;
	expire(time - IDLE);
	for (time_t idle = IDLE / 2; count >= SESSIONS && idle > 0; idle /= 2)
		expire(time - idle);
}

static struct session *session_of(const struct port *port, const union address *client)
{
	struct session **bucket = bucket_of(port, client);
	for (struct session *session = *bucket; session; session = session->next)
		if (session->port == port && !memcmp(&session->client, client, sizeof *client))
			return session;
	struct session *session = count < SESSIONS ? calloc(1, sizeof *session) : NULL;
	if (!session)
		return NULL; /* lost, as datagrams may be */
	session->kind = SESSION;
	session->port = port;
	session->client = *client;
	session->fd = connect_to(port, SOCK_DGRAM);
	if (session->fd < 0 || !watch(EPOLL_CTL_ADD, session->fd, EPOLLIN, session)) {
		if (session->fd >= 0)
			close(session->fd);
		free(session);
		return NULL;
	}
	session->next = *bucket;
	*bucket = session;
	count++;
	return session;
}

void datagram_from(const struct port *port)
{
	union address client;
	char control[256];
	memset(&client, 0, sizeof client);
	struct iovec data = {.iov_base = buffer, .iov_len = sizeof buffer};
	struct msghdr message = {.msg_name = &client,
				 .msg_namelen = sizeof client,
				 .msg_iov = &data,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof control};
	ssize_t length = recvmsg(port->fd, &message, 0);
	if (length < 0)
		return;
	struct session *session = session_of(port, &client);
	if (!session)
		return;
	session->used = now();
	for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
		if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_PKTINFO) {
			memcpy(&session->local.v4, CMSG_DATA(part), sizeof session->local.v4);
			session->local.v4.ipi_ifindex = 0; /* by any route */
			session->local.v4.ipi_spec_dst = session->local.v4.ipi_addr;
		} else if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_PKTINFO) {
			memcpy(&session->local.v6, CMSG_DATA(part), sizeof session->local.v6);
			if (!IN6_IS_ADDR_LINKLOCAL(&session->local.v6.ipi6_addr))
				session->local.v6.ipi6_ifindex = 0;
			session->v6 = true;
		}
	}
	while (send(session->fd, buffer, (size_t)length, MSG_NOSIGNAL) < 0 && (errno == EINTR || errno == ECONNREFUSED))
		; /* ECONNREFUSED: the error of the previous datagram, reported once */
}

void answer_from(void *about)
{
	struct session *session = about;
	ssize_t length = recv(session->fd, buffer, sizeof buffer, 0);
	if (length < 0)
		return;
	session->used = now();
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct in6_pktinfo))] = {0};
	struct iovec data = {.iov_base = buffer, .iov_len = (size_t)length};
	size_t size = session->v6 ? sizeof session->local.v6 : sizeof session->local.v4;
	struct msghdr message = {.msg_name = &session->client,
				 .msg_namelen = session->v6 ? sizeof session->client.v6 : sizeof session->client.v4,
				 .msg_iov = &data,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = CMSG_SPACE(size)};
	struct cmsghdr *part = CMSG_FIRSTHDR(&message);
	part->cmsg_level = session->v6 ? IPPROTO_IPV6 : IPPROTO_IP;
	part->cmsg_type = session->v6 ? IPV6_PKTINFO : IP_PKTINFO;
	part->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(part), &session->local, size);
	sendmsg(session->port->fd, &message, MSG_NOSIGNAL); /* a lost datagram is not sent again */
}
