/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* /dev/kaus. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kaus.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
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

int kr_kdev_move(int fd, int to)
{
	int saved_errno = errno;
	int err = 0;

	if (dup3(fd, to, O_CLOEXEC) < 0)
		err = -errno;
	else
		close(fd);
	errno = saved_errno;
	return err;
}

int kr_kdev_replace(int fd, int watch)
{
	int saved_errno = errno;
	int other = watch >= 0 ? watch : eventfd(0, EFD_CLOEXEC);
	int err = 0;

	if (other < 0 || dup3(other, fd, O_CLOEXEC) < 0)
		err = -errno;
	if (other >= 0 && other != watch)
		close(other);
	errno = saved_errno;
	return err;
}

int kr_kdev_watch(void)
{
	int saved_errno = errno;
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	int err = 0;

	/* It may be there before we may open it, which is a change as well. */
	if (fd < 0) {
		err = -errno;
	} else if (inotify_add_watch(fd, "/dev",
				     IN_CREATE | IN_ATTRIB | IN_MOVED_TO) < 0) {
		err = -errno;
		close(fd);
	}
	errno = saved_errno;
	return err ? err : fd;
}

bool kr_kdev_watch_has_come(int watch)
{
	char buf[2048] __attribute__((aligned(8)));
	int saved_errno = errno;
	bool come = false;
	ssize_t len;

	while ((len = read(watch, buf, sizeof(buf))) > 0) {
		const char *at = buf;

		while (at < buf + len) {
			struct inotify_event event;

			memcpy(&event, at, sizeof(event));
			at += sizeof(event);
			if ((event.mask & IN_Q_OVERFLOW) ||
			    (event.len && !strcmp(at, "kaus")))
				come = true;
			at += event.len;
		}
	}
	errno = saved_errno;
	return come;
}
