/* containerd-shim-pyruntime-v2: the command that containerd runs, and the monitor of each container.
 *
 *     containerd ──ttrpc──▶ monitor (this program, one for each container) ──link──▶ server (Python, of a namespace)
 *
 * The monitor decides nothing. It is the parent of the container's processes and holds what must survive a server that
 * is killed: containerd's connections and its requests that are not answered yet, the exits of the processes, events
 * that containerd has not confirmed, the ends of FIFOs, and the masters of terminals. When the link breaks, the monitor
 * finds or starts another server and tells it all of that. See docs/decisions/0023-the-shim.md. */
#pragma once
#include "../front/front.h"
#include <poll.h>
#include <stdint.h>

struct options {
	const char *namespace, *address, *id, *bundle;
	/* parameters.c */
	char sockets[44];  /* directory: containerd allows for 42 bytes */
	char cgroup[1024]; /* of the monitor; "": as containerd's */
	char server[256];  /* whose server: "" the namespace's, else that of a pod or a container */
	bool own_server, of_pod;
};

/* --- bytes that wait to be sent, or to be complete ------------------------------------------------------- */

struct buffer {
	unsigned char *data;
	size_t used, size;
};
bool buffer_put(struct buffer *buffer, const void *data, size_t length); /* false: no memory */
bool buffer_room(struct buffer *buffer, size_t length);                  /* for `length` more bytes */
void buffer_take(struct buffer *buffer, size_t length);                  /* remove the first bytes */
void buffer_free(struct buffer *buffer);
int buffer_send(struct buffer *buffer, int fd); /* what can be sent now; -1: the connection is broken */

/* --- the link to the server ------------------------------------------------------------------------------ */

/* pyruntime/shim/link.py has the same. A packet is this head and its payload, in the byte order of the host; its
 * descriptors are sent with its first byte.
 *
 * PROTOCOL is the version of all that. It is part of the name of the server's socket: after an upgrade, a new monitor
 * does not meet the server of the old version, but starts one of its own. An old monitor meets a new server when the
 * old one has ended: servers serve the monitors of earlier versions. */

#define PROTOCOL 1
#define TEXT(number) TEXT_OF(number)
#define TEXT_OF(number) #number
#define SERVER_SUFFIX "." TEXT(PROTOCOL) ".server"

struct head {
	uint32_t length;
	uint8_t kind, fds;
	uint16_t flags;
	uint64_t number;
};

enum kind {
	/* monitor to server */
	HELLO = 'H',   /* number: our pid; flags: PROTOCOL; payload: id and bundle, each with a NUL */
	EXITED = 'X',  /* a struct exit */
	EVENT = 'E',   /* number: its sequence; an event that is not confirmed yet. Server to monitor: keep it */
	READY = 'R',   /* the end of what a new server is told */
	REQUEST = 'Q', /* number: the request; flags: 1 if another server has had it; payload: a ttrpc Request */
	SPAWNED = 'S', /* number: that of SPAWN; payload (int32_t): a pid, or a negative errno; less 4096 * (1 + N) if
			  it is that of stream N */
	CLOSED = 'C',  /* number: the key of RELEASE */
	/* server to monitor */
	SPAWN = 's',       /* flags: the number of targets, and ON_TERMINAL; fds: the program, and one for each target;
			      payload: a key (uint64_t), targets (uint16_t), the paths of three FIFOs, and the words of
			      the command line, each with a NUL. A FIFO is opened at both ends; the process gets its end
			      as descriptor 0, 1 or 2, unless ON_TERMINAL */
	OPEN = 'o',        /* number: a key; payload: as in SPAWN, three paths: open what can be opened already */
	RESPONSE = 'q',    /* number: the request; payload: a ttrpc Response; flags 1: end after it; 2: end once the
			      clients have left after it */
	FORGET = 'f',      /* number: the exit to forget */
	BIND = 'b',        /* number: an exit; payload: the key of its process (uint64_t): a server has dealt with it */
	CONFIRMED = 'd',   /* number: the event, which containerd has */
	HOLD = 'h',        /* number: the key of a process; fds: hold them until RELEASE */
	TERMINAL = 't',    /* number: key; fds: the master, and where its output goes, unless SPAWN has opened that */
	RESIZE = 'w',      /* number: key; payload: struct winsize */
	CLOSE_STDIN = 'c', /* number: key */
	RELEASE = 'r', /* number: key; close everything that is held, once the terminal's output is copied; flags 1: at
			  once, and without an answer; 2: so too, but for FIFOs, which another SPAWN takes over */
};

#define ON_TERMINAL 0x8000
#define STARTING 1         /* in a key: of what is held until the process has been started */
#define HELLO_LARGEST 8000 /* characters in the ID and the bundle's path */

void link_begin(const struct options *options, const char *server);
void link_send(enum kind kind, uint16_t flags, uint64_t number, const void *data, size_t length);
void link_poll(struct pollfd *entry);
void link_turn(short events);
int link_patience(void); /* milliseconds until the next attempt to connect; -1: none is needed */
bool link_up(void);
void link_wanted(void); /* a request has come: connect now */

/* --- containerd's side: ttrpc ---------------------------------------------------------------------------- */

#define TYPE_QUIT 'q' /* not of ttrpc: the type of the frame by which `delete` ends a monitor that is left over */

void clients_begin(int listener);
size_t clients_poll(struct pollfd *entries, size_t room); /* how many entries were filled */
void clients_turn(const struct pollfd *entries, size_t count);
size_t clients_count(void);
int clients_patience(void); /* milliseconds until connections are accepted again; -1: they are */
void answer(uint64_t request, const void *response, size_t length);
void refuse_requests(const char *why); /* answer all requests with "unavailable" */
void repeat_requests(void);            /* send the requests that are not answered to a new server */
bool clients_flushed(void);

/* --- processes ------------------------------------------------------------------------------------------- */

#define NO_PROGRAM 0x10000 /* the process was forked, and has ended before it executed a program */

struct exit {
	uint64_t serial, key; /* key: of the server's process, 0 until BIND */
	int64_t time;         /* nanoseconds since 1970 */
	int32_t pid, status;  /* as of waitpid(2), 16 bits, and NO_PROGRAM */
};
void open_ahead(uint64_t key, unsigned char *payload, size_t length);
void spawn(uint64_t number, uint16_t flags, const int *fds, size_t fd_count, unsigned char *payload, size_t length);
void reap(void);
void forget_exit(uint64_t serial);
void bind_exit(uint64_t serial, uint64_t key);
bool has_exited(uint64_t key);
void tell_exits(void);

/* --- streams --------------------------------------------------------------------------------------------- */

void hold(uint64_t key, int fd);
int open_stream(uint64_t key, int number, const char *path); /* 0 or an errno; again: if it is not open yet */
int held_stream(uint64_t key, int number);                   /* the process's end; -1: none */
void terminal_add(uint64_t key, int master, int out);
void terminal_resize(uint64_t key, const void *size, size_t length);
void close_stdin(uint64_t key);
void release(uint64_t key);
void abandon(uint64_t key, bool fifos); /* release the process's streams at once, without CLOSED */
size_t streams_poll(struct pollfd *entries, size_t room);
void streams_turn(const struct pollfd *entries, size_t count);
size_t streams_count(void);
int streams_patience(void);

/* --- the rest -------------------------------------------------------------------------------------------- */

void keep_event(uint64_t number, const void *data, size_t length);
void drop_event(uint64_t number);
void tell_events(void);

int monitor(const struct options *options, const char *path, int listener);
long long milliseconds(void);
void quit(bool patiently); /* once the answers are sent; patiently: once the clients have left */

/* parameters.c: read standard input of `start`; returns what is wrong, or NULL */
const char *read_parameters(struct options *options);
bool read_all(int fd, const unsigned char **data, size_t *length);

/* info.c: what -v and -info print; the exit status */
int print_version(void);
int print_info(void);

/* main.c: the head of a protobuf field that has a length, 11 bytes at most; returns its size */
size_t put_length(unsigned char *out, int field, uint64_t length);

/* cgroup.c */
bool enter_cgroup(const char *path); /* an existing one, in every hierarchy that has it */
void leave_cgroup(void);

/* address.c */
/* The path of the socket that belongs to a namespace of one containerd and to an ID, "" for the server's. */
bool socket_path(char path[108], const struct options *options, const char *id, const char *suffix);
int listen_at(const char *path, int backlog); /* EADDRINUSE: a file is there */
int connect_to(const char *path);
