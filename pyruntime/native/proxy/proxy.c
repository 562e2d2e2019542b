/* Listens on the published ports of one container and forwards to the container: connections from loopback addresses,
 * and IPv6 for a container without an IPv6 address. nftables rules forward everything else without this process
 * (pyruntime/networks/nftables.py).
 *
 *     pocker-proxy init=PIDFD [netns=FD] -- PROTOCOL,FD,ADDRESS,PORT...
 *
 * It exits with the process behind PIDFD, the container's init. With netns= it enters that network namespace and
 * connects to ADDRESS there: this is how rootless containers are reached. It needs no privilege: the sockets are bound
 * already. */
#define _GNU_SOURCE
#include "proxy.h"
#include "../arguments/arguments.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define NOBODY 65534
#define EVENTS 64

int epoll;
unsigned char buffer[65536]; /* the maximum size of a datagram */

bool watch(int how, int fd, uint32_t events, void *about)
{
	struct epoll_event event = {.events = events, .data.ptr = about};
	return !epoll_ctl(epoll, how, fd, &event);
}

/* Too many descriptors are open, and the listener stays ready: wait a moment for some to be closed. */
bool out_of_descriptors(void)
{
	if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
		return false;
	struct timespec moment = {.tv_nsec = 20 * 1000 * 1000};
	nanosleep(&moment, NULL);
	return true;
}

/* A socket that is connected to the container, or about to be; -1 on failure. */
int connect_to(const struct port *port, int type)
{
	int fd = socket(port->target.any.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, port->protocol);
	if (fd < 0)
		return -1;
	if (connect(fd, &port->target.any, port->length) && errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool parse(char *word, struct port *port)
{
	char *save, *protocol = strtok_r(word, ",", &save), *fd = strtok_r(NULL, ",", &save);
	char *address = strtok_r(NULL, ",", &save), *number = strtok_r(NULL, ",", &save);
	if (!number)
		return false;
	port->kind = strcmp(protocol, "udp") ? LISTENER : PORT;
	port->protocol = !strcmp(protocol, "udp") ? IPPROTO_UDP : strcmp(protocol, "sctp") ? IPPROTO_TCP : IPPROTO_SCTP;
	long long host = parse_number(fd), inside = parse_number(number);
	if (host < 3 || host > INT_MAX || inside < 1 || inside > 65535)
		return false;
	port->fd = (int)host;
	if (inet_pton(AF_INET, address, &port->target.v4.sin_addr) == 1) {
		port->target.v4.sin_family = AF_INET;
		port->target.v4.sin_port = htons((uint16_t)inside);
		port->length = sizeof port->target.v4;
	} else if (inet_pton(AF_INET6, address, &port->target.v6.sin6_addr) == 1) {
		port->target.v6.sin6_family = AF_INET6;
		port->target.v6.sin6_port = htons((uint16_t)inside);
		port->length = sizeof port->target.v6;
	} else {
		return false;
	}
	return !fcntl(port->fd, F_SETFL, O_RDWR | O_NONBLOCK);
}

/* Strangers connect to us, so drop privileges that are not needed. A user who is not root has none. */
static bool become_nobody(void)
{
	struct rlimit files;
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files); /* fewer connections at a time if it fails */
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || chdir("/"))
		return false;
	if (geteuid())
		return true;
	/* EINVAL, EPERM: a user namespace that maps no other user; its root has few privileges on the host */
	if ((setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY)) &&
	    errno != EINVAL && errno != EPERM)
		return false;
	return !prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

int main(int argc, char **argv)
{
	static enum kind init = INIT;
	enum { INIT_PIDFD, NETNS, OPTIONS };
	static const char *const names[OPTIONS] = {"init", "netns"};
	long long option[OPTIONS];
	char **words = parse_arguments(argv, names, option, OPTIONS);
	struct port *ports = calloc((size_t)argc, sizeof *ports);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!words || option[INIT_PIDFD] < 3 || !ports || epoll < 0 ||
	    !watch(EPOLL_CTL_ADD, (int)option[INIT_PIDFD], EPOLLIN, &init))
		return refuse_arguments("pocker");
	prctl(PR_SET_NAME, "pocker-proxy");
	for (int sig = 1; sig < 32; sig++)
		if (sig != SIGTERM)
			signal(sig, SIG_IGN);
	if ((option[NETNS] >= 0 && setns((int)option[NETNS], CLONE_NEWNET)) || !become_nobody())
		return 1;
	for (struct port *port = ports; *words; port++, words++)
		if (!parse(*words, port) || (port->kind == PORT && !port_open(port)) ||
		    !watch(EPOLL_CTL_ADD, port->fd, EPOLLIN, port))
			return 1;
	for (;;) {
		struct epoll_event events[EVENTS];
		int count = epoll_wait(epoll, events, EVENTS, 10 * 1000);
		for (int i = 0; i < count; i++) {
			void *about = events[i].data.ptr;
			switch (*(enum kind *)about) {
			case INIT:
				return 0;
			case LISTENER:
				accept_from(about);
				break;
			case PORT:
				datagram_from(about);
				break;
			case END:
				end_ready(about, events[i].events);
				break;
			case SESSION:
				answer_from(about);
				break;
			}
		}
		bury(); /* not earlier: a later event of the same batch may refer to a connection that has ended */
		sessions_expire();
	}
}
