/* The link to the server: found, or started under a lock that ends with its holder. */
#define _GNU_SOURCE
#include "shim.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FDS 253
#define LARGEST (64u << 20) /* of a packet */
#define PATIENCE 15000      /* milliseconds in which servers end at once, until requests are refused */

static const struct options *options;
static const char *server_path;
static int link_fd = -1;
static struct buffer in, out;
static int queue[2 * FDS]; /* descriptors that have come before their packets */
static size_t queued;
static bool heard; /* whether this server has sent anything */
static int failures;
static long long failing; /* since when */
static long long due;     /* when to connect again, 0: now */

void link_begin(const struct options *given, const char *path)
{
	options = given;
	server_path = path;
}

bool link_up(void)
{
	return link_fd >= 0;
}

void link_wanted(void)
{
	if (failures < 3)
		due = 0;
}

/* --- finding a server ------------------------------------------------------------------------------------ */

static void become_server(int listener)
{
	char log[4352];
	char *words[] = {(char *)"containerd-shim-pyruntime-v2",
			 (char *)"serve",
			 (char *)server_path,
			 (char *)options->namespace,
			 (char *)options->address,
			 (char *)(options->own_server ? "2" : "60"), /* seconds without a monitor */
			 NULL};
	sigset_t none;
	sigemptyset(&none);
	for (int sig = 1; sig < 65; sig++)
		signal(sig, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	leave_cgroup();
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), errors = null;
	if (join(log, sizeof log, (const char *[]){options->bundle, "/log", NULL})) {
		int fifo = open(log, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
		if (fifo >= 0)
			errors = fifo;
	}
	/* First moved: `null` may be 3. */
	listener = fcntl(listener, F_DUPFD_CLOEXEC, 10);
	errors = fcntl(errors, F_DUPFD_CLOEXEC, 10);
	if (listener < 0 || errors < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(errors, 2) < 0 ||
	    dup2(listener, 3) < 0)
		_exit(1);
	_exit(hand_over(words, NULL));
}

/* The server is a child of init(1): it outlives us. */
static bool start_server(int listener)
{
	pid_t pid = fork();
	if (!pid) {
		pid_t server = fork();
		if (!server)
			become_server(listener);
		_exit(server < 0);
	}
	int status = 1;
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid > 0 && status == 0;
}

/* The lock of those who start or end a server; -1 with errno. A server that ends removes the file. */
static int take_lock(void)
{
	char path[128];
	if (!join(path, sizeof path, (const char *[]){server_path, ".lock", NULL}))
		return -1;
	for (;;) {
		struct stat ours, there;
		int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (lock < 0)
			return -1;
		while (flock(lock, LOCK_EX) && errno == EINTR)
			;
		if (!fstat(lock, &ours) && !stat(path, &there) && ours.st_dev == there.st_dev &&
		    ours.st_ino == there.st_ino)
			return lock;
		close(lock);
	}
}

static int find_or_start(void)
{
	int fd = connect_to(server_path);
	if (fd >= 0)
		return fd;
	int lock = take_lock();
	if (lock < 0)
		return -1;
	fd = connect_to(server_path); /* another monitor may have been faster */
	if (fd < 0) {
		unlink(server_path);
		int listener = listen_at(server_path, 4096);
		/* The kernel queues connections while Python still starts. */
		if (listener >= 0 && start_server(listener))
			fd = connect_to(server_path);
		if (listener >= 0)
			close(listener);
	}
	close(lock);
	return fd;
}

static void link_down(void)
{
	close(link_fd);
	link_fd = -1;
	buffer_free(&in);
	buffer_free(&out);
	while (queued)
		close(queue[--queued]);
	failures = heard ? 0 : failures + 1;
	if (failures <= 1)
		failing = milliseconds();
	/* At once, if the server had worked: others wait, too. Then 50, 100, 200 ... 1600 ms. */
	due = failures ? milliseconds() + (25LL << (failures < 6 ? failures : 6)) : 0;
	if (failures && milliseconds() - failing > PATIENCE)
		refuse_requests("the server of pyruntime's shim ends at once: see containerd's log");
}

static void connect_link(void)
{
	char hello[HELLO_LARGEST + 2];
	heard = false;
	link_fd = find_or_start();
	if (link_fd < 0) {
		link_fd = open("/dev/null", O_RDWR | O_CLOEXEC); /* for link_down */
		link_down();
		return;
	}
	fcntl(link_fd, F_SETFL, fcntl(link_fd, F_GETFL) | O_NONBLOCK);
	/* `start` has checked that there is room. */
	const char *end = stpcpy(stpcpy(hello, options->id) + 1, options->bundle) + 1;
	link_send(HELLO, PROTOCOL, (uint64_t)getpid(), hello, (size_t)(end - hello));
	tell_exits();
	tell_events();
	repeat_requests();
	link_send(READY, 0, 0, NULL, 0);
}

int link_patience(void)
{
	if (link_fd >= 0)
		return -1;
	long long left = due - milliseconds();
	return left > 0 ? (int)left : 0;
}

/* --- packets --------------------------------------------------------------------------------------------- */

/* The server has ended. What it has sent before is still read: the end of the stream comes last. */
static void break_link(void)
{
	buffer_free(&out);
	shutdown(link_fd, SHUT_WR);
}

void link_send(enum kind kind, uint16_t flags, uint64_t number, const void *data, size_t length)
{
	struct head head = {.length = (uint32_t)length, .kind = (uint8_t)kind, .flags = flags, .number = number};
	if (link_fd < 0)
		return; /* a new server is told everything */
	if (!buffer_put(&out, &head, sizeof head) || !buffer_put(&out, data, length) || buffer_send(&out, link_fd))
		break_link();
}

static uint64_t number_in(const unsigned char *payload, size_t length)
{
	uint64_t number = 0;
	if (length == sizeof number)
		memcpy(&number, payload, sizeof number);
	return number;
}

static void take_packet(const struct head *head, unsigned char *payload, const int *fds)
{
	bool used = false; /* whether the descriptors are somebody's now */
	switch (head->kind) {
	case SPAWN:
		spawn(head->number, head->flags, fds, head->fds, payload, head->length);
		break;
	case OPEN:
		open_ahead(head->number, payload, head->length);
		break;
	case RESPONSE:
		answer(head->number, payload, head->length);
		if (head->flags)
			quit(head->flags & 2);
		break;
	case FORGET:
		forget_exit(head->number);
		break;
	case BIND:
		bind_exit(head->number, number_in(payload, head->length));
		break;
	case EVENT:
		keep_event(head->number, payload, head->length);
		break;
	case CONFIRMED:
		drop_event(head->number);
		break;
	case HOLD:
		used = true;
		for (int i = 0; i < head->fds; i++)
			hold(head->number, fds[i]);
		break;
	case TERMINAL:
		used = head->fds == 1 || head->fds == 2;
		if (used)
			terminal_add(head->number, fds[0], head->fds == 2 ? fds[1] : -1);
		break;
	case RESIZE:
		terminal_resize(head->number, payload, head->length);
		break;
	case CLOSE_STDIN:
		close_stdin(head->number);
		break;
	case RELEASE:
		if (head->flags)
			abandon(head->number, head->flags & 1);
		else
			release(head->number);
		break;
	}
	for (int i = 0; i < head->fds && !used; i++)
		close(fds[i]);
}

static bool take_packets(void)
{
	size_t at = 0;
	struct head head;
	while (in.used - at >= sizeof head) {
		memcpy(&head, in.data + at, sizeof head);
		if (head.length > LARGEST || head.fds > FDS)
			return false;
		if (in.used - at < sizeof head + head.length)
			break;
		if (head.fds > queued)
			return false;
		take_packet(&head, in.data + at + sizeof head, queue);
		queued -= head.fds;
		memmove(queue, queue + head.fds, queued * sizeof *queue);
		at += sizeof head + head.length;
	}
	buffer_take(&in, at);
	return true;
}

static ssize_t receive(void)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(FDS * sizeof(int))];
	if (!buffer_room(&in, 16384))
		return 0;
	struct iovec part = {.iov_base = in.data + in.used, .iov_len = 16384};
	struct msghdr message = {
	    .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	ssize_t count = recvmsg(link_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (count < 0)
		return errno == EAGAIN || errno == EINTR ? 1 : 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t given = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < given; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (queued < sizeof queue / sizeof *queue)
				queue[queued++] = fd;
			else
				close(fd); /* its packet is refused */
		}
	}
	if (count == 0)
		return 0;
	in.used += (size_t)count;
	heard = true;
	failures = 0;
	return take_packets() ? 1 : 0;
}

void link_poll(struct pollfd *entry)
{
	*entry = (struct pollfd){.fd = link_fd, .events = (short)(POLLIN | (out.used ? POLLOUT : 0))};
}

void link_turn(short events)
{
	if (link_fd < 0) {
		if (!link_patience())
			connect_link();
		return;
	}
	if (events & POLLOUT && buffer_send(&out, link_fd))
		break_link();
	if (events & (POLLIN | POLLHUP | POLLERR) && !receive())
		link_down();
}
