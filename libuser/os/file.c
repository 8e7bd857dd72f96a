/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Files. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/os.h"

int kr_file_write_all(int fd, const char *buf, size_t len)
{
	int saved_errno = errno;
	int err = 0;

	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			err = -errno;
			break;
		}
		buf += n;
		len -= (size_t)n;
	}
	errno = saved_errno;
	return err;
}

static bool field(const char *text, const char *name, int base,
		  uint64_t *ret_value)
{
	const char *at = strstr(text, name);

	if (!at)
		return false;
	*ret_value = strtoull(at + strlen(name), NULL, base);
	return true;
}

/* The beginning of a file of the kernel's, with a 0 behind it. */
static bool read_text(const char *path, char *text, size_t size)
{
	int saved_errno = errno;
	ssize_t n = -1;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, size - 1);
		close(fd);
	}
	errno = saved_errno;
	if (n <= 0)
		return false;
	text[n] = 0;
	return true;
}

uint64_t kr_proc_resident(void)
{
	char text[128], *end;

	if (!read_text("/proc/self/statm", text, sizeof(text)))
		return 0;
	/* The size of all addresses first, in pages too. */
	strtoull(text, &end, 10);
	return strtoull(end, NULL, 10) * KR_PAGE_SIZE;
}

int kr_proc_status(unsigned int *ret_threads, uint64_t *ret_caught)
{
	char text[4096];
	uint64_t threads;

	if (!read_text("/proc/self/status", text, sizeof(text)))
		return -EIO;
	if (!field(text, "\nThreads:", 10, &threads) ||
	    !field(text, "\nSigCgt:", 16, ret_caught))
		return -EIO;
	*ret_threads = (unsigned int)threads;
	return 0;
}
