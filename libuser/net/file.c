/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Files: reading and writing at an offset, and to the disk.
 *
 * What can be done at once, from or to the page cache, is one system call of the
 * goroutine's own. What would have to wait for a device goes to the ring
 * (sched/filecall.c), and if there is none to the kernel, where the goroutine
 * sleeps and hands its P on like any other.
 */
#include <errno.h>
#include <kaus/net.h>

#include "net/io.h"
#include "sched/filecall.h"
#include "sched/sched.h"

/* What the kernel moves in one call: MAX_RW_COUNT. */
#define IO_MAX		0x7ffff000UL

static ssize_t make_call(const struct kr_uring_call *c, bool nowait)
{
	ssize_t n;

	do {
		switch (c->op) {
		case KR_URING_READ:
			n = kr_fd_pread(c->fd, &c->iov, c->offset, nowait);
			break;
		case KR_URING_WRITE:
			n = kr_fd_pwrite(c->fd, &c->iov, c->offset, nowait);
			break;
		default:
			n = kr_fd_sync(c->fd);
			break;
		}
	} while (n == -EINTR);
	return n;
}

/* As far as the kernel gets in one go. */
static ssize_t io_some(const struct kr_pollfd *pd,
		       const struct kr_uring_call *c)
{
	ssize_t n = -EAGAIN;

	/* Without the cache it always waits, even if it is asked not to. */
	if (!pd->is_direct && c->op != KR_URING_SYNC) {
		n = make_call(c, true);
		/* What is not on a device, or knows no other way to write. */
		if (n == -EOPNOTSUPP || n == -ENOSYS)
			return make_call(c, false);
	}
	if (n == -EAGAIN)
		n = kr_filecall(c);
	return n == -EAGAIN ? make_call(c, false) : n;
}

static ssize_t io(kaus_fd_t fd, enum kr_uring_op op, const void *buf,
		  size_t len, int64_t offset)
{
	struct kr_pollfd *pd = kr_pollfd_get(fd);
	struct kr_uring_call c = {
		.op = op,
		.iov = { (void *)(uintptr_t)buf, len },
		.offset = (uint64_t)offset,
	};
	ssize_t n, done = 0;

	if (!pd)
		return -EBADF;
	c.fd = pd->fd;
	if (offset < 0) {
		n = -EINVAL;
	} else if (pd->pollable) {
		n = make_call(&c, false);
	} else {
		/* A part may be in the cache. At most what fits an int. */
		if (c.iov.iov_len > IO_MAX)
			c.iov.iov_len = IO_MAX;
		do {
			n = io_some(pd, &c);
			if (n <= 0)
				break;
			done += n;
			c.iov.iov_base = (char *)c.iov.iov_base + n;
			c.iov.iov_len -= (size_t)n;
			c.offset += (uint64_t)n;
		} while (c.iov.iov_len);
	}
	kr_pollfd_put(pd);
	return done ? done : n;
}

KR_API ssize_t kaus_fd_pread(kaus_fd_t fd, void *buf, size_t len,
			     int64_t offset)
{
	return io(fd, KR_URING_READ, buf, len, offset);
}

KR_API ssize_t kaus_fd_pwrite(kaus_fd_t fd, const void *buf, size_t len,
			      int64_t offset)
{
	return io(fd, KR_URING_WRITE, buf, len, offset);
}

KR_API int kaus_fd_sync(kaus_fd_t fd)
{
	return (int)io(fd, KR_URING_SYNC, NULL, 0, 0);
}
