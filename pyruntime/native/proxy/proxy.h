/* Declarations that the parts of pocker-proxy share. */
#ifndef POCKER_PROXY_H
#define POCKER_PROXY_H
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* The kind of object that an epoll event refers to: the first member of each such object. */
enum kind { INIT, LISTENER, PORT, END, SESSION };

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* A published port: a socket of the host (LISTENER: connections, PORT: datagrams), and the address that it forwards to.
 */
struct port {
	enum kind kind;
	int fd, protocol;
	union address target;
	socklen_t length;
};

extern int epoll;
extern unsigned char buffer[65536];

bool watch(int how, int fd, uint32_t events, void *about);
bool out_of_descriptors(void);
int connect_to(const struct port *port, int type);

void accept_from(const struct port *port);
void end_ready(void *end, uint32_t events);
void bury(void);

bool port_open(const struct port *port);
void datagram_from(const struct port *port);
void answer_from(void *session);
void sessions_expire(void);

#endif
