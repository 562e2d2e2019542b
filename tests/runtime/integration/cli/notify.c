/* A program that talks to $NOTIFY_SOCKET: each argument is sent as a datagram. "BARRIER=1" goes with a descriptor, and
 * "barrier\n" is printed when the other side has closed it. "sleep" sleeps for half a minute, "wait" until standard input
 * ends. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int barrier(int sock)
{
	int ends[2];
	if (pipe(ends))
		return 1;
	struct iovec data = {"BARRIER=1", 9};
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} u;
	memset(&u, 0, sizeof u);
	struct msghdr msg = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = u.buf, .msg_controllen = sizeof u.buf};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &ends[1], sizeof(int));
	if (sendmsg(sock, &msg, 0) < 0)
		return 1;
	close(ends[1]);
	struct pollfd wait = {.fd = ends[0]};
	if (poll(&wait, 1, 20000) != 1)
		return 1;
	puts("barrier");
	fflush(stdout);
	return 0;
}

int main(int argc, char **argv)
{
	const char *path = getenv("NOTIFY_SOCKET");
	if (!path) {
		puts("no NOTIFY_SOCKET");
		return 3;
	}
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	strncpy(to.sun_path, path, sizeof to.sun_path - 1);
	int sock = socket(AF_UNIX, SOCK_DGRAM, 0);
	if (connect(sock, (struct sockaddr *)&to, sizeof to)) {
		perror("connect");
		return 4;
	}
	for (int i = 1; i < argc; i++) {
		char c;
		if (!strcmp(argv[i], "BARRIER=1")) {
			if (barrier(sock))
				return 5;
		} else if (!strcmp(argv[i], "sleep"))
			sleep(30);
		else if (!strcmp(argv[i], "wait"))
			while (read(0, &c, 1) > 0)
				;
		else if (send(sock, argv[i], strlen(argv[i]), 0) < 0) {
			perror("send");
			return 6;
		}
	}
	return 0;
}
