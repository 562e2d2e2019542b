/* pocker's monitor: the parent process of a running container. See monitor.c. */
#ifndef MONITOR_H
#define MONITOR_H
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define CHUNK 16384 /* bytes of output in a packet */
#define CLIENTS 64
#define PATIENCE 2000 /* milliseconds within which a client must read something */
#define EXIT_SIZE 192 /* bytes of the file "exit" at most */

/* The first byte of each packet on the attach socket (SOCK_SEQPACKET); pyruntime/pocker/containers/attach.py has the
 * same. */
enum packet {
	PACKET_INPUT = 'i',  /* client: bytes for the program's standard input */
	PACKET_END = 'e',    /* client: the input has ended */
	PACKET_RESIZE = 'r', /* client: rows and columns, two bytes each */
	PACKET_DETACH = 'd', /* client: it disconnects, and the input stays open */
	PACKET_HOLD = 'h',   /* client: the reader of its output is slow, and the program must wait for it */
	PACKET_OUT = '1',    /* monitor: bytes of standard output, or of the terminal */
	PACKET_ERR = '2',    /* monitor: bytes of standard error */
	PACKET_EXIT = 'x',   /* monitor: the program has exited with this status (one byte); second byte 1: the client
				cleans up after the run */
};

/* log.c */
enum log_stream { LOG_OUT, LOG_ERR };
struct log_state {
	bool half; /* the last that the log has of this stream is the beginning of a line */
	enum { LOST_NOTHING, LOST_LINES, LOST_WITHIN } lost; /* since then, on a full disk; within: up to half a line */
};
struct log {
	int dir;         /* the container's directory */
	int fd;          /* -1: no log is wanted */
	long long size;  /* bytes in the file */
	long long limit; /* rotate beyond; 0: never */
	int files;       /* the number of files, including the current one */
	struct log_state state[LOG_ERR + 1];
};
void log_open(struct log *log);
void log_write(struct log *log, enum log_stream stream, const unsigned char *data, size_t length);
void rfc3339(char *text, size_t size);

/* clients.c */
struct client {
	int fd;          /* -1: free */
	size_t pending;  /* bytes of `packet` that are not sent yet */
	long long since; /* since when they are pending, or when the client last sent PACKET_HOLD */
	unsigned char *packet;
};
extern struct client clients[CLIENTS];
void client_add(int fd);
void client_drop(struct client *client, bool detached);
void clients_send(enum packet kind, const unsigned char *data, size_t length);
void client_flush(struct client *client);
bool clients_pending(void);
long long clients_patience(long long now);
void clients_drop_stuck(long long now);
void clients_make_room(void);

/* monitor.c */
void client_gone(int fd, bool detached);
long long milliseconds(void);

#endif
