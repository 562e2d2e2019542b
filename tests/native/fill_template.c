/* Writes the launch plan that the front puts together from a template (a file) and a command line:
 *
 *     fill_template TEMPLATE pyruntime exec ...    exit status 3: the front would hand over */
#include "front.h"
#include <fcntl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static _Alignas(8) unsigned char data[PLAN_LARGEST];
	struct request request;
	struct front front = {.request = &request};
	struct plan plan;
	struct blob made;
	union step step;
	const struct record *r;
	const char *why;
	int fd = argc > 2 ? open(argv[1], O_RDONLY) : -1;
	ssize_t size = fd < 0 ? -1 : read(fd, data, sizeof data);
	if (size < 0 || plan_verify(data, (size_t)size, &plan, &why))
		return 2;
	if (read_request(argv + 2, &request))
		return 3;
	for (uint32_t offset = 0; (r = plan_next(&plan, &offset, &step));) {
		int result = r->op == OP_process ? do_process(&front, &step.process)
			     : r->op == OP_copy  ? do_copy(&front, &step.copy)
			     : r->op == OP_fill  ? do_fill(&front, &step.fill)
						 : 0;
		if (result)
			return 3;
		if (r->op == OP_launch)
			return !filled_plan(step.launch.header, &made) ||
			       write(1, made.data, made.size) != (ssize_t)made.size;
	}
	return 2;
}
