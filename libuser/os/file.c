/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Files. */
#include <errno.h>
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
