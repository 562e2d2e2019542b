/* The loop of a monitor. */
#define _GNU_SOURCE
#include "shim.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

static bool quitting, until_clients_leave;

long long milliseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

void quit(bool patiently)
{
	quitting = true;
	until_clients_leave = patiently;
}

static int shorter(int one, int other)
{
	return one < 0 || (other >= 0 && other < one) ? other : one;
}

/* Signals are for the container: only SIGKILL ends a monitor. */
static int block_signals(void)
{
	sigset_t child;
	for (int sig = 1; sig < 65; sig++)
		if (sig != SIGCHLD)
			signal(sig, SIG_IGN);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_SETMASK, &child, NULL);
	return signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

int monitor(const struct options *options, const char *path, int listener)
{
	char server[108];
	struct pollfd *entries = NULL;
	size_t room = 0;
	int signals = block_signals();
	if (signals < 0 || !socket_path(server, options, options->server, SERVER_SUFFIX))
		return 1;
	clients_begin(listener);
	link_begin(options, server);
	long long end = 0;
	for (;;) {
		size_t needed = 2 + clients_count() + streams_count();
		if (needed > room) {
			struct pollfd *more = realloc(entries, needed * sizeof *entries);
			if (!more)
				return 1;
			entries = more;
			room = needed;
		}
		entries[0] = (struct pollfd){.fd = signals, .events = POLLIN};
		link_poll(&entries[1]);
		size_t of_clients = clients_poll(entries + 2, room - 2);
		size_t of_streams = streams_poll(entries + 2 + of_clients, room - 2 - of_clients);
		int patience = shorter(shorter(link_patience(), streams_patience()), clients_patience());
		if (quitting) {
			end = end ? end
				  : milliseconds() + 2000; /* for a client that does not read its answer, or stays */
			bool done =
			    until_clients_leave ? clients_count() == 1 : clients_flushed(); /* 1: the listener */
			if (done || milliseconds() > end)
				break;
			patience = shorter(patience, 100);
		}
		if (poll(entries, (nfds_t)(2 + of_clients + of_streams), patience) < 0 && errno != EINTR)
			return 1;
		if (entries[0].revents) {
			struct signalfd_siginfo info;
			while (read(signals, &info, sizeof info) == sizeof info)
				;
			reap();
		}
		link_turn(entries[1].revents);
		streams_turn(entries + 2 + of_clients, of_streams);
		clients_turn(entries + 2, of_clients);
	}
	unlink(path);
	return 0;
}
