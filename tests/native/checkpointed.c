/* The program of a container that is checkpointed and restored (tests/runtime/integration/checkpoint/):
 *
 *   checkpointed talk FILE   sends itself numbers over a TCP connection; FILE has the last that arrived
 *   checkpointed lock FILE   holds a lock of FILE.lock, and counts in FILE */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

static int note(const char *path, unsigned number)
{
	char text[16];
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644), size = snprintf(text, sizeof text, "%u\n", number);
	if (fd < 0 || write(fd, text, (size_t)size) != size)
		return -1;
	return close(fd);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	int ends[2] = {-1, -1};
	if (!strcmp(argv[1], "lock")) {
		char path[256];
		snprintf(path, sizeof path, "%s.lock", argv[2]);
		int fd = open(path, O_RDWR | O_CREAT, 0644);
		if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB))
			return 1;
	} else {
		struct sockaddr_in at = {
		    .sin_family = AF_INET, .sin_port = htons(5000), .sin_addr.s_addr = htonl(0x7f000001)};
		int server = socket(AF_INET, SOCK_STREAM, 0);
		ends[0] = socket(AF_INET, SOCK_STREAM, 0);
		if (bind(server, (struct sockaddr *)&at, sizeof at) || listen(server, 1) ||
		    connect(ends[0], (struct sockaddr *)&at, sizeof at) || (ends[1] = accept(server, NULL, NULL)) < 0)
			return 1;
	}
	for (unsigned number = 1;; number++) {
		unsigned arrived = number;
		if (ends[0] >= 0 && (write(ends[0], &number, sizeof number) != sizeof number ||
				     read(ends[1], &arrived, sizeof arrived) != sizeof arrived))
			return 1;
		if (arrived != number || note(argv[2], arrived))
			return 1;
		usleep(20000);
	}
}
