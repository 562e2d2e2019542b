/* An echo server that counts: each line of a connection comes back with its number. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile sig_atomic_t ended;

static void end(int number)
{
	(void)number;
	ended = 1;
}

static void echo(FILE *in, FILE *out)
{
	char line[1024];

	for (unsigned long number = 1; fgets(line, sizeof line, in); number++)
		fprintf(out, "%lu %s", number, line);
	fflush(out);
}

static int check(void)
{
	FILE *in = tmpfile(), *out = tmpfile();
	char line[16] = "";

	if (!in || !out || fputs("a\nb\n", in) < 0)
		return 1;
	rewind(in);
	echo(in, out);
	rewind(out);
	return !(fgets(line, sizeof line, out) && !strcmp(line, "1 a\n") && fgets(line, sizeof line, out) &&
		 !strcmp(line, "2 b\n"));
}

int main(int count, char **words)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	struct sigaction action = {.sa_handler = end};
	int server = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	if (count != 2)
		return fputs("usage: echod PORT\n", stderr), 2;
	if (!strcmp(words[1], "--check"))
		return check();
	address.sin_port = htons((unsigned short)atoi(words[1]));
	setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	sigaction(SIGTERM, &action, NULL);
	if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 16))
		return perror("echod"), 1;
	while (!ended) {
		int connection = accept(server, NULL, NULL);
		FILE *in = connection < 0 ? NULL : fdopen(connection, "r");
		FILE *out = in ? fdopen(dup(connection), "w") : NULL;

		if (out)
			echo(in, out);
		if (out)
			fclose(out);
		if (in)
			fclose(in);
	}
	puts("closed");
	return 0;
}
