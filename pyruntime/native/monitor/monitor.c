/* The process that stands over a running container of pocker, from its start to its end.
 *
 * It was pocker itself: the Python process that made the container (pyruntime/pocker/containers/start.py) executes this
 * program, and so init stays its child. While the container runs, nobody decides anything: output goes to the log and
 * to whoever is attached, input and sizes to the program. When something is to be decided (the program has ended, a
 * health check is due), it calls pocker again: for a health check as a child, at the end by becoming it.
 *
 *     pocker-monitor KEY=VALUE... -- COMMAND ARGUMENT...
 *
 * dir=FD       the container's directory (log and exit are written there)
 * listen=FD    the attach socket
 * init=PID     the container's init process, our child
 * out=FD err=FD in=FD   our ends of its pipes; tty=FD instead of them: the master of its terminal
 * client=FD    the first client: the command in the foreground
 * owner=1      that client sees to what is to be done at the end, if it is still there then
 * once=1       the end of the first client is the end of the input
 * log=BYTES,FILES   rotate the log; absent: no log is kept
 * health=MS    the time between the end of a health check and the next one; the first is due after it, too
 * begin=MS soon=MS   until so long after the start, or until a check was passed, the time is this one
 * after=MS     wait so long, then become COMMAND, and nothing else
 *
 * In COMMAND the word % stands for what it is called for: finish, health or restart. */
#define _GNU_SOURCE
#include "monitor.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum option { DIR, LISTEN, INIT, OUT, ERR, IN, TTY, CLIENT, OWNER, ONCE, HEALTH, BEGIN, SOON, AFTER, OPTIONS };
static const char *const names[OPTIONS] = {"dir",    "listen", "init", "out",    "err",   "in",   "tty",
					   "client", "owner",  "once", "health", "begin", "soon", "after"};
static int option[OPTIONS];
static struct log output_log = {.fd = -1};
static char **command;
static pid_t health_child;
static long long health_due, started; /* milliseconds of CLOCK_MONOTONIC; 0: no check is due */
static bool ended;
static int status;
static int exit_file = -1;

static unsigned char input[CHUNK]; /* of a client, for the program */
static size_t input_length;

static int number(const char *text)
{
	char *end;
	long value = strtol(text, &end, 10);
	return end == text || *end || value < 0 || value > 0x7fffffff ? -1 : (int)value;
}

static bool parse(int argc, char **argv)
{
	for (int i = 0; i < OPTIONS; i++)
		option[i] = -1;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--")) {
			command = argv + i + 1;
			return i + 1 < argc && (option[AFTER] >= 0 || (option[DIR] >= 0 && option[INIT] > 0));
		}
		char *value = strchr(argv[i], '=');
		if (!value)
			return false;
		*value++ = 0;
		if (!strcmp(argv[i], "log")) {
			if (sscanf(value, "%lld,%d", &output_log.limit, &output_log.files) != 2)
				return false;
			continue;
		}
		int found = 0;
		while (found < OPTIONS && strcmp(argv[i], names[found]))
			found++;
		if (found == OPTIONS || (option[found] = number(value)) < 0)
			return false;
	}
	return false;
}

static void call(const char *word)
{
	sigset_t none;
	sigemptyset(&none);
	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (char **entry = command; *entry; entry++)
		if (!strcmp(*entry, "%"))
			*entry = (char *)(size_t)word;
	execv(command[0], command);
	_exit(127);
}

/* The program may fill the disk before it ends: the place for its status is taken before. */
static void reserve_exit(void)
{
	/* Not O_TRUNC: who has started the program has taken the place, before the program could fill the disk. */
	exit_file = openat(option[DIR], "exit.new", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (exit_file >= 0)
		posix_fallocate(exit_file, 0, EXIT_SIZE); /* where it cannot be done, it is written as it comes */
}

static void note_exit(int wait_status)
{
	char text[EXIT_SIZE], stamp[64];
	status = WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
	ended = true;
	rfc3339(stamp, sizeof stamp);
	int length = snprintf(text, sizeof text, "{\"status\":%d,\"finished\":\"%s\"}", status, stamp);
	/* Where nothing can be written `finish` finds no file, and says so. */
	if (exit_file >= 0 && write(exit_file, text, (size_t)length) == length && !ftruncate(exit_file, length))
		renameat(option[DIR], "exit.new", option[DIR], "exit");
}

long long milliseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void plan_health(void)
{
	long long now = milliseconds();
	bool beginning = option[SOON] > 0 && now < started + option[BEGIN];
	health_due = option[HEALTH] > 0 ? now + (beginning ? option[SOON] : option[HEALTH]) : 0;
}

static void reap(int signals)
{
	struct signalfd_siginfo info;
	while (read(signals, &info, sizeof info) == sizeof info)
		;
	int wait_status;
	for (pid_t pid; (pid = waitpid(-1, &wait_status, WNOHANG)) > 0;) {
		if (pid == option[INIT]) {
			note_exit(wait_status);
			clients_make_room();
		} else if (pid == health_child) {
			health_child = 0;
			if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0)
				option[BEGIN] = 0;
			plan_health();
		}
	}
}

static void close_option(enum option which)
{
	if (option[which] >= 0)
		close(option[which]);
	option[which] = -1;
}

/* One read of output. False: there is nothing more for now. */
static bool pump(enum option which)
{
	unsigned char data[CHUNK];
	if (option[which] < 0)
		return false;
	ssize_t count = read(option[which], data, sizeof data);
	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return errno == EINTR;
	if (count <=
	    0) { /* EIO: the last program that had the terminal open is gone; another may open it while init lives */
		if (which != TTY || ended)
			close_option(which);
		return false;
	}
	log_write(&output_log, which == ERR ? "stderr" : "stdout", data, (size_t)count);
	clients_send(which == ERR ? PACKET_ERR : PACKET_OUT, data, (size_t)count);
	return true;
}

static void feed(void)
{
	int fd = option[TTY] >= 0 ? option[TTY] : option[IN];
	if (fd < 0) {
		input_length = 0;
		return;
	}
	ssize_t count = write(fd, input, input_length);
	if (count < 0 && errno != EAGAIN && errno != EINTR) {
		close_option(IN); /* the program has closed its input */
		input_length = 0;
	} else if (count > 0) {
		input_length -= (size_t)count;
		memmove(input, input + count, input_length);
	}
}

void client_gone(int fd, bool detached)
{
	if (fd != option[CLIENT])
		return;
	if (option[ONCE] > 0 && !detached)
		close_option(IN);
	option[CLIENT] = -1;
}

/* A packet of a client, which is read only while there is no input that waits for the program. */
static void hear(struct client *client)
{
	unsigned char packet[CHUNK + 1];
	ssize_t count = recv(client->fd, packet, sizeof packet, MSG_DONTWAIT);
	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (count <= 0 || packet[0] == PACKET_DETACH) {
		client_drop(client, count > 0);
		return;
	}
	switch (packet[0]) {
	case PACKET_INPUT:
		input_length = (size_t)count - 1;
		memcpy(input, packet + 1, input_length);
		feed();
		break;
	case PACKET_END:
		close_option(IN);
		break;
	case PACKET_HOLD:
		if (!ended)
			client->since = milliseconds();
		break;
	case PACKET_RESIZE:
		if (count == 5 && option[TTY] >= 0) {
			struct winsize size = {0};
			memcpy(&size.ws_row, packet + 1, 2);
			memcpy(&size.ws_col, packet + 3, 2);
			ioctl(option[TTY], TIOCSWINSZ, &size);
		}
		break;
	}
}

static void check_health(void)
{
	health_due = 0; /* until it has ended: it has its own time-out */
	health_child = fork();
	if (health_child < 0)
		plan_health(); /* no room for one more process: another time */
	else if (!health_child)
		call("health");
}

/* Until the program has ended and what it wrote has been passed on. */
static void stand_over(int signals)
{
	started = milliseconds();
	plan_health();
	for (;;) {
		bool waiting = clients_pending();
		if (ended && !waiting) {
			bool more = pump(TTY);
			more = (!clients_pending() && pump(OUT)) || more;
			more = (!clients_pending() && pump(ERR)) || more;
			if (!more && !clients_pending())
				return;
			continue;
		}
		struct pollfd fds[5 + CLIENTS];
		int count = 0;
		fds[count++] = (struct pollfd){.fd = signals, .events = POLLIN};
		fds[count++] = (struct pollfd){.fd = ended ? -1 : option[LISTEN], .events = POLLIN};
		short events = input_length ? POLLOUT : 0;
		fds[count++] = (struct pollfd){.fd = waiting ? -1 : option[OUT], .events = POLLIN};
		fds[count++] = (struct pollfd){.fd = waiting ? -1 : option[ERR], .events = POLLIN};
		int target = option[TTY] >= 0 ? option[TTY] : input_length ? option[IN] : -1;
		if (option[TTY] >= 0 && !waiting)
			events |= POLLIN;
		fds[count++] = (struct pollfd){.fd = events ? target : -1, .events = events};
		for (int i = 0; i < CLIENTS; i++)
			fds[count++] = (struct pollfd){
			    .fd = clients[i].fd,
			    .events = (short)((clients[i].pending ? POLLOUT : 0) | (input_length ? 0 : POLLIN))};
		int patience = (int)clients_patience(milliseconds());
		if (health_due && !ended) {
			long long left = health_due - milliseconds();
			left = left > 0 ? left : 0;
			patience = patience < 0 || left < patience ? (int)left : patience;
		}
		if (poll(fds, (nfds_t)count, patience) < 0)
			continue;
		if (health_due && !ended && milliseconds() >= health_due)
			check_health();
		if (fds[0].revents)
			reap(signals);
		if (fds[1].revents) {
			int fd = accept4(option[LISTEN], NULL, NULL, SOCK_CLOEXEC);
			if (fd >= 0)
				client_add(fd);
		}
		for (int i = 0; i < CLIENTS; i++) {
			if (clients[i].fd < 0 || clients[i].fd != fds[5 + i].fd)
				continue;
			if (clients[i].pending && fds[5 + i].revents & (POLLOUT | POLLERR | POLLHUP))
				client_flush(&clients[i]);
			if (clients[i].fd >= 0 && !input_length && fds[5 + i].revents & (POLLIN | POLLERR | POLLHUP))
				hear(&clients[i]);
		}
		if (input_length && fds[4].revents)
			feed();
		if (fds[2].revents && !clients_pending())
			pump(OUT);
		clients_drop_stuck(milliseconds());
		if (fds[3].revents && !clients_pending())
			pump(ERR);
		if (fds[4].revents & (POLLIN | POLLHUP) && !clients_pending() && !pump(TTY) && option[TTY] >= 0 &&
		    fds[4].revents & POLLHUP) {
			/* Nobody has the terminal open: it would be ready for ever. The program will end, or open it.
			 */
			struct timespec moment = {.tv_nsec = 20 * 1000 * 1000};
			nanosleep(&moment, NULL);
		}
	}
}

/* Whether the first client is to take away what belonged to the run: one that has not read yet what it was sent may be
 * stopped, and nobody waits for it. */
static bool client_is_owner(void)
{
	int unread = 0;
	return option[OWNER] > 0 && option[CLIENT] >= 0 && !ioctl(option[CLIENT], SIOCOUTQ, &unread) && !unread;
}

int main(int argc, char **argv)
{
	if (!parse(argc, argv)) {
		fputs("this program is a part of pocker and is run by it alone\n", stderr);
		return 2;
	}
	prctl(PR_SET_NAME, "pocker-monitor");
	if (option[AFTER] >= 0) {
		struct timespec time = {.tv_sec = option[AFTER] / 1000, .tv_nsec = option[AFTER] % 1000 * 1000000};
		while (nanosleep(&time, &time) && errno == EINTR)
			;
		call("restart");
	}
	for (int i = 0; i < CLIENTS; i++)
		clients[i].fd = -1;
	for (int i = 0; i < OPTIONS; i++)
		if (option[i] >= 0 && (i == DIR || i == LISTEN || i == CLIENT))
			fcntl(option[i], F_SETFD, FD_CLOEXEC);
	for (enum option i = OUT; i <= TTY; i++)
		if (option[i] >= 0) {
			fcntl(option[i], F_SETFD, FD_CLOEXEC);
			fcntl(option[i], F_SETFL, fcntl(option[i], F_GETFL) | O_NONBLOCK);
		}
	/* What ends a session or a terminal's programs is not for us: we end with the container. */
	for (int sig = 1; sig < 32; sig++)
		if (sig != SIGCHLD)
			signal(sig, SIG_IGN);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_SETMASK, &set, NULL);
	int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		call("finish"); /* the end of init could not be seen: the run is ended instead */
	output_log.dir = option[DIR];
	if (output_log.files > 0)
		log_open(&output_log);
	if (option[CLIENT] >= 0)
		client_add(option[CLIENT]);
	reserve_exit();

	reap(signals); /* init may have ended before there was a signalfd */
	stand_over(signals);
	unsigned char last[2] = {(unsigned char)status, client_is_owner()};
	clients_send(PACKET_EXIT, last, sizeof last);
	if (last[1] && option[CLIENT] >= 0)
		_exit(0); /* it is told, and does the rest */
	call("finish");
}
