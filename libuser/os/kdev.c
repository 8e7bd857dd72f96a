/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* /dev/kaus. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kaus.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "os/os.h"

int kr_kdev_open(void)
{
	int saved_errno = errno;
	int fd = open("/dev/kaus", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		fd = -errno;
		errno = saved_errno;
	}
	return fd;
}

void kr_kdev_close(int fd)
{
	int saved_errno = errno;

	close(fd);
	errno = saved_errno;
}

int kr_kdev_ioctl(int fd, unsigned int cmd, void *arg)
{
	int saved_errno = errno;
	int err = ioctl(fd, cmd, arg);

	if (err < 0) {
		err = -errno;
		errno = saved_errno;
	}
	return err;
}
