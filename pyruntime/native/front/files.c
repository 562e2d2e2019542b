/* Small files and directories, without the C library's buffers. */
#define _GNU_SOURCE
#include "front.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct entry { /* struct linux_dirent64: getdents64(2) */
	uint64_t inode;
	int64_t offset;
	uint16_t size;
	uint8_t type;
	char name[];
};

int each_entry(int dir, int (*visit)(void *, const char *name, unsigned char type), void *context)
{
	_Alignas(struct entry) char buffer[8192];
	for (;;) {
		long size = syscall(SYS_getdents64, dir, buffer, sizeof buffer);
		if (size <= 0)
			return size ? HAND_OVER : 0;
		for (long at = 0; at < size;) {
			const struct entry *entry = (const struct entry *)(buffer + at);
			at += entry->size;
			if (!strcmp(entry->name, ".") || !strcmp(entry->name, ".."))
				continue;
			int result = visit(context, entry->name, entry->type);
			if (result)
				return result;
		}
	}
}

ssize_t read_file(int dir, const char *path, char *text, size_t size)
{
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t length = 0, more;
	while ((more = read(fd, text + length, size - 1 - (size_t)length)) > 0)
		length += more;
	int err = errno;
	close(fd);
	text[length] = 0;
	errno = err;
	return more < 0 ? -1 : length;
}

int write_file(const char *path, const char *data)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return HAND_OVER;
	ssize_t size = (ssize_t)strlen(data);
	bool written = write(fd, data, (size_t)size) == size;
	close(fd);
	return written ? 0 : HAND_OVER;
}

bool join(char *out, size_t size, const char *const *parts)
{
	size_t length = 0;
	for (; *parts; parts++) {
		size_t more = strlen(*parts);
		if (more >= size - length)
			return false;
		memcpy(out + length, *parts, more);
		length += more;
	}
	out[length] = 0;
	return true;
}

char *decimal(char digits[24], int64_t number)
{
	char *at = digits + 23;
	*at = 0;
	do
		*--at = (char)('0' + number % 10);
	while (number /= 10);
	return at;
}

int64_t number_of(const char *text)
{
	int64_t number = 0;
	size_t length = strspn(text, "0123456789");
	if (!length || length > 18)
		return -1;
	for (size_t i = 0; i < length; i++)
		number = number * 10 + (text[i] - '0');
	return number;
}
