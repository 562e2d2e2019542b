/* The smallest program worth a container: it says where it runs. */
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct utsname name;
	if (uname(&name))
		return 1;
	printf("hello from pid %d of %s, %d argument(s)%s%s\n", (int)getpid(), name.nodename, argc - 1,
	       argc > 1 ? ": " : "", argc > 1 ? argv[1] : "");
	return 0;
}
