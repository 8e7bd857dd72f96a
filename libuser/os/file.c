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

uint64_t kr_vm_resident(void)
{
	int saved_errno = errno;
	char text[128], *end = text;
	ssize_t n = -1;
	int fd;

	fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	errno = saved_errno;
	if (n <= 0)
		return 0;
	text[n] = 0;
	/* The size of all addresses first, in pages too. */
	strtoull(text, &end, 10);
	return strtoull(end, NULL, 10) * KR_PAGE_SIZE;
}

int kr_proc_status(unsigned int *ret_threads, uint64_t *ret_caught)
{
	int saved_errno = errno;
	char text[4096];
	uint64_t threads;
	ssize_t n = -1;
	int fd;

	fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	errno = saved_errno;
	if (n <= 0)
		return -EIO;
	text[n] = 0;
	if (!field(text, "\nThreads:", 10, &threads) ||
	    !field(text, "\nSigCgt:", 16, ret_caught))
		return -EIO;
	*ret_threads = (unsigned int)threads;
	return 0;
}
