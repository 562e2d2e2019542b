/* The monitor of a running container of pocker, from the container's start to its end.
 *
 * The Python process that created the container (pyruntime/pocker/containers/start.py) executes this program, so that
 * init stays its child. While the container runs, no decision is needed: the monitor copies output to the log and to
 * attached clients, and input and window sizes to the program. For a decision (the program has ended, a health check is
 * due) it runs pocker again: as a child for a health check, by execve(2) at the end.
 *
 *     pocker-monitor KEY=VALUE... -- COMMAND ARGUMENT...
 *
 * dir=FD       the container's directory (log and exit are written there)
 * listen=FD    the attach socket
 * init=PID     the container's init process, our child
 * out=FD err=FD in=FD   our ends of its pipes; tty=FD instead of them: the master of its terminal
 * oom=FD       a file of its cgroup in which the kernel counts OOM kills (a line "oom_kill N"); absent: nothing counts
 * client=FD    the first client: the command in the foreground
 * owner=1      that client cleans up after the end, if it is still connected then
 * once=1       the input ends when the first client disconnects
 * log-files=N log-limit=BYTES   keep a log of N files, and rotate it beyond BYTES (0: never); absent: no log is kept
 * health=MS    the time from the start, and from the end of each health check, to the next check
 * begin=MS soon=MS   until BEGIN after the start, or until a check has passed, SOON is that time
 * after=MS     wait, then execute COMMAND, and nothing else
 *
 * In COMMAND the word % stands for its purpose: finish, health or restart. */
#define _GNU_SOURCE
#include "monitor.h"
#include "../arguments/arguments.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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

/* clang-format off */
enum option { DIR, LISTEN, INIT, OUT, ERR, IN, TTY, OOM, CLIENT, OWNER, ONCE, HEALTH, BEGIN, SOON, AFTER, LOG_FILES,
	      LOG_LIMIT, OPTIONS };
static const char *const names[OPTIONS] = {"dir", "listen", "init", "out", "err", "in", "tty", "oom", "client", "owner",
					   "once", "health", "begin", "soon", "after", "log-files", "log-limit"};
/* clang-format on */
static int option[LOG_LIMIT]; /* -1: not given */
static struct log output_log = {.fd = -1};
static char **command;
static pid_t health_child;
static long long health_due, started; /* milliseconds of CLOCK_MONOTONIC; 0: no check is due */
static bool ended;
static int status;
static int exit_file = -1;

static unsigned char input[CHUNK]; /* from a client, for the program */
static size_t input_length;

static bool parse(char **argv)
{
	long long values[OPTIONS];
	command = parse_arguments(argv, names, values, OPTIONS);
	if (!command || !*command)
		return false;
	output_log.limit = values[LOG_LIMIT]; /* bytes: more than an int may hold */
	for (int i = 0; i < LOG_LIMIT; i++) {
		if (values[i] > INT_MAX)
			return false;
		option[i] = (int)values[i];
	}
	output_log.files = option[LOG_FILES];
	return option[AFTER] >= 0 || (option[DIR] >= 0 && option[INIT] > 0);
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

/* The program may fill the disk before it ends: the space for its exit status is reserved before. */
static void reserve_exit(void)
{
	/* Not O_TRUNC: the process that started the program has reserved the space, before the program could fill the
	 * disk. */
	exit_file = openat(option[DIR], "exit.new", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (exit_file >= 0)
		posix_fallocate(exit_file, 0,
				EXIT_SIZE); /* where this fails, the file is written without a reservation */
}

/* Whether the OOM killer has killed a process of the container. Asked here and not by who cleans up: we keep the
 * cgroup, which systemd removes once we have ended (pyruntime/pocker/containers/scope.py). */
static bool oom_killed(void)
{
	char text[512];
	ssize_t length = option[OOM] < 0 ? 0 : pread(option[OOM], text, sizeof text - 1, 0);
	text[length > 0 ? length : 0] = 0;
	const char *line = strstr(text, "\noom_kill ");
	return line && atoi(line + sizeof "\noom_kill " - 1) > 0;
}

static void note_exit(int wait_status)
{
	char text[EXIT_SIZE], stamp[64];
	status = WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
	ended = true;
	rfc3339(stamp, sizeof stamp);
	int length = snprintf(text, sizeof text, "{\"status\":%d,\"finished\":\"%s\"%s}", status, stamp,
			      oom_killed() ? ",\"oom\":true" : "");
	/* If the file cannot be written, `finish` finds no file, and reports that. */
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

/* Read output once. False: there is no more output for now. */
static bool pump(enum option which)
{
	unsigned char data[CHUNK];
	if (option[which] < 0)
		return false;
	ssize_t count = read(option[which], data, sizeof data);
	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return errno == EINTR;
	if (count <= 0) { /* EIO: the last program that had the terminal open has closed it; another may open it while
			     init lives */
		if (which != TTY || ended)
			close_option(which);
		return false;
	}
	log_write(&output_log, which == ERR ? LOG_ERR : LOG_OUT, data, (size_t)count);
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

/* Read a packet of a client. Called only while no input is pending for the program. */
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
	health_due = 0; /* until this check has ended: it has its own timeout */
	health_child = fork();
	if (health_child < 0)
		plan_health(); /* no more processes can be created now: try again later */
	else if (!health_child)
		call("health");
}

/* What to wait for. poll(2) refuses more entries than RLIMIT_NOFILE, even unused ones: only a descriptor that is
 * watched has one. */
struct watch {
	struct pollfd fds[5 + CLIENTS];
	int count;
};

/* The entry's number; -1 for no descriptor. */
static int watch_for(struct watch *w, int fd, short events)
{
	if (fd < 0)
		return -1;
	w->fds[w->count] = (struct pollfd){.fd = fd, .events = events};
	return w->count++;
}

static short seen(const struct watch *w, int entry)
{
	return entry < 0 ? 0 : w->fds[entry].revents;
}

/* Run until the program has ended and its output has been delivered. */
static void monitor(int signals)
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
		struct watch w = {.count = 0};
		int ours = watch_for(&w, signals, POLLIN), knock = watch_for(&w, ended ? -1 : option[LISTEN], POLLIN);
		short events = input_length ? POLLOUT : 0;
		int out = watch_for(&w, waiting ? -1 : option[OUT], POLLIN);
		int err = watch_for(&w, waiting ? -1 : option[ERR], POLLIN);
		int target = option[TTY] >= 0 ? option[TTY] : input_length ? option[IN] : -1;
		if (option[TTY] >= 0 && !waiting)
			events |= POLLIN;
		int program = watch_for(&w, events ? target : -1, events), client[CLIENTS];
		for (int i = 0; i < CLIENTS; i++)
			client[i] =
			    watch_for(&w, clients[i].fd,
				      (short)((clients[i].pending ? POLLOUT : 0) | (input_length ? 0 : POLLIN)));
		int patience = (int)clients_patience(milliseconds());
		if (health_due && !ended) {
			long long left = health_due - milliseconds();
			left = left > 0 ? left : 0;
			patience = patience < 0 || left < patience ? (int)left : patience;
		}
		if (poll(w.fds, (nfds_t)w.count, patience) < 0)
			continue;
		if (health_due && !ended && milliseconds() >= health_due)
			check_health();
		if (seen(&w, ours))
			reap(signals);
		if (seen(&w, knock)) {
			int fd = accept4(option[LISTEN], NULL, NULL, SOCK_CLOEXEC);
			if (fd >= 0)
				client_add(fd);
		}
		for (int i = 0; i < CLIENTS; i++) {
			if (client[i] < 0 || clients[i].fd != w.fds[client[i]].fd)
				continue;
			if (clients[i].pending && seen(&w, client[i]) & (POLLOUT | POLLERR | POLLHUP))
				client_flush(&clients[i]);
			if (clients[i].fd >= 0 && !input_length && seen(&w, client[i]) & (POLLIN | POLLERR | POLLHUP))
				hear(&clients[i]);
		}
		if (input_length && seen(&w, program))
			feed();
		if (seen(&w, out) && !clients_pending())
			pump(OUT);
		clients_drop_stuck(milliseconds());
		if (seen(&w, err) && !clients_pending())
			pump(ERR);
		if (seen(&w, program) & (POLLIN | POLLHUP) && !clients_pending() && !pump(TTY) && option[TTY] >= 0 &&
		    seen(&w, program) & POLLHUP) {
			/* No process has the terminal open, so poll(2) reports it as ready all the time. The program
			 * will end, or open it.
			 */
			struct timespec moment = {.tv_nsec = 20 * 1000 * 1000};
			nanosleep(&moment, NULL);
		}
	}
}

/* Whether the first client cleans up after the run: a client that has not read all of its packets may be stopped, and
 * the cleanup must not wait for it. */
static bool client_is_owner(void)
{
	int unread = 0;
	return option[OWNER] > 0 && option[CLIENT] >= 0 && !ioctl(option[CLIENT], SIOCOUTQ, &unread) && !unread;
}

int main(int argc __attribute__((unused)), char **argv)
{
	if (!parse(argv))
		return refuse_arguments("pocker");
	prctl(PR_SET_NAME, "pocker-monitor");
	if (option[AFTER] >= 0) {
		struct timespec time = {.tv_sec = option[AFTER] / 1000, .tv_nsec = option[AFTER] % 1000 * 1000000};
		while (nanosleep(&time, &time) && errno == EINTR)
			;
		call("restart");
	}
	for (int i = 0; i < CLIENTS; i++)
		clients[i].fd = -1;
	for (int i = 0; i < LOG_LIMIT; i++)
		if (option[i] >= 0 && (i == DIR || i == LISTEN || i == OOM || i == CLIENT))
			fcntl(option[i], F_SETFD, FD_CLOEXEC);
	for (enum option i = OUT; i <= TTY; i++)
		if (option[i] >= 0) {
			fcntl(option[i], F_SETFD, FD_CLOEXEC);
			fcntl(option[i], F_SETFL, fcntl(option[i], F_GETFL) | O_NONBLOCK);
		}
	/* Signals that end a session, or a terminal's programs, must not end us: the monitor exits with the container.
	 */
	for (int sig = 1; sig < 32; sig++)
		if (sig != SIGCHLD)
			signal(sig, SIG_IGN);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_SETMASK, &set, NULL);
	int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		call("finish"); /* init's end could not be noticed: end the run instead */
	output_log.dir = option[DIR];
	if (output_log.files > 0)
		log_open(&output_log);
	if (option[CLIENT] >= 0)
		client_add(option[CLIENT]);
	reserve_exit();

	reap(signals); /* init may have ended before there was a signalfd */
	monitor(signals);
	unsigned char last[2] = {(unsigned char)status, client_is_owner()};
	clients_send(PACKET_EXIT, last, sizeof last);
	if (last[1] && option[CLIENT] >= 0)
		_exit(0); /* the client has been notified, and cleans up */
	call("finish");
}
