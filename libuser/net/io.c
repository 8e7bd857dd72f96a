/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Descriptors: reading, writing, deadlines.
 *
 * The system calls are made in the goroutine's own code, outside of the
 * runtime, and only waiting enters it. So one that sleeps in the kernel, on a
 * regular file, hands its P on like any other.
 */
#include "net/io.h"

#include <kaus/net.h>

#include "sched/sched.h"

int64_t kr_io_on(struct kr_pollfd *pd, enum kr_poll_dir dir,
		 uint64_t deadline_ns, kr_try_fn try, void *arg)
{
	int64_t n;

	for (;;) {
		uint32_t seen = kr_pollfd_seen(pd, dir);

		n = try(pd, arg);
		if (n == -EINTR)
			continue;
		if (likely(n != -EAGAIN) || !pd->pollable)
			return n;
		n = kr_pollfd_wait(pd, dir, seen, deadline_ns);
		if (n)
			return n;
	}
}

int64_t kr_io(int64_t handle, enum kr_poll_dir dir, kr_try_fn try, void *arg)
{
	struct kr_pollfd *pd = kr_pollfd_get(handle);
	int64_t n;

	if (!pd)
		return -EBADF;
	n = kr_io_on(pd, dir, KAUS_NO_DEADLINE, try, arg);
	kr_pollfd_put(pd);
	return n;
}

KR_API kaus_fd_t kaus_fd_open(int fd)
{
	int64_t handle;
	int err = kr_pollfd_open(fd, false, &handle);

	return err ? err : handle;
}

KR_API int kaus_fd_close(kaus_fd_t fd)
{
	return kr_pollfd_close(fd);
}

KR_API int kaus_fd_num(kaus_fd_t fd)
{
	struct kr_pollfd *pd = kr_pollfd_get(fd);
	int num;

	if (!pd)
		return -EBADF;
	kr_pollfd_show(pd);
	num = pd->fd;
	kr_pollfd_put(pd);
	return num;
}

KR_API int kaus_fd_set_deadline(kaus_fd_t fd, int dirs, uint64_t deadline_ns)
{
	struct kr_pollfd *pd;

	if (!dirs || (dirs & ~(KAUS_FD_READ | KAUS_FD_WRITE)))
		return -EINVAL;
	pd = kr_pollfd_get(fd);
	if (!pd)
		return -EBADF;
	if (dirs & KAUS_FD_READ)
		kr_pollfd_set_deadline(pd, KR_POLL_IN, deadline_ns);
	if (dirs & KAUS_FD_WRITE)
		kr_pollfd_set_deadline(pd, KR_POLL_OUT, deadline_ns);
	kr_pollfd_put(pd);
	return 0;
}

static int64_t try_poll(struct kr_pollfd *pd, void *arg)
{
	return kr_fd_poll(pd->fd, *(const enum kr_poll_dir *)arg ==
				  KR_POLL_OUT);
}

KR_API int kaus_fd_wait(kaus_fd_t fd, int dir)
{
	enum kr_poll_dir poll_dir;

	if (dir != KAUS_FD_READ && dir != KAUS_FD_WRITE)
		return -EINVAL;
	poll_dir = dir == KAUS_FD_READ ? KR_POLL_IN : KR_POLL_OUT;
	return (int)kr_io(fd, poll_dir, try_poll, &poll_dir);
}

struct vec {
	const struct iovec *iov;
	int nr;
};

static int64_t try_read(struct kr_pollfd *pd, void *arg)
{
	const struct iovec *iov = arg;
	uint32_t seen;
	int64_t n;

	if (!pd->is_socket)
		return kr_fd_readv(pd->fd, iov, 1);
	seen = kr_pollfd_seen(pd, KR_POLL_IN);
	if (iov->iov_len && kr_pollfd_is_drained(pd, seen))
		return -EAGAIN;
	n = kr_sock_recvfrom(pd->fd, iov->iov_base, iov->iov_len, 0, NULL,
			     NULL);
	if (n > 0 && (size_t)n < iov->iov_len)
		kr_pollfd_note_drained(pd, seen);
	return n;
}

static int64_t try_readv(struct kr_pollfd *pd, void *arg)
{
	const struct vec *v = arg;

	return kr_fd_readv(pd->fd, v->iov, v->nr);
}

KR_API ssize_t kaus_fd_read(kaus_fd_t fd, void *buf, size_t len)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };

	return kr_io(fd, KR_POLL_IN, try_read, &iov);
}

KR_API ssize_t kaus_fd_readv(kaus_fd_t fd, const struct iovec *iov, int nr_iov)
{
	struct vec v = { iov, nr_iov };

	return kr_io(fd, KR_POLL_IN, try_readv, &v);
}

/*
 * All of it, with one reference: closed in between it ends with -ECANCELED, as
 * if it had waited. Return: 0 (also at the end of the file) or an error.
 */
static int io_all(kaus_fd_t fd, enum kr_poll_dir dir, kr_try_fn try,
		  struct iovec iov, size_t *done)
{
	struct kr_pollfd *pd = kr_pollfd_get(fd);
	int64_t n = 1;

	*done = 0;
	if (!pd)
		return -EBADF;
	while (iov.iov_len && n > 0) {
		n = kr_io_on(pd, dir, KAUS_NO_DEADLINE, try, &iov);
		if (n > 0) {
			*done += (size_t)n;
			iov.iov_base = (char *)iov.iov_base + n;
			iov.iov_len -= (size_t)n;
		}
		if (iov.iov_len && n > 0 && kr_pollfd_is_closing(pd))
			n = -ECANCELED;
	}
	kr_pollfd_put(pd);
	return n < 0 ? (int)n : 0;
}

KR_API ssize_t kaus_fd_read_full(kaus_fd_t fd, void *buf, size_t len)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	size_t done;
	int err = io_all(fd, KR_POLL_IN, try_read, iov, &done);

	return err && !done ? err : (ssize_t)done;
}

static int64_t try_write(struct kr_pollfd *pd, void *arg)
{
	const struct iovec *iov = arg;

	if (pd->is_socket)
		return kr_sock_sendto(pd->fd, iov->iov_base, iov->iov_len, 0,
				      NULL, 0);
	return kr_fd_writev(pd->fd, iov, 1);
}

static int64_t try_writev(struct kr_pollfd *pd, void *arg)
{
	const struct vec *v = arg;
	struct msghdr msg = { .msg_iovlen = (size_t)v->nr };

	if (!pd->is_socket)
		return kr_fd_writev(pd->fd, v->iov, v->nr);
	msg.msg_iov = (struct iovec *)(uintptr_t)v->iov;
	return kr_sock_sendmsg(pd->fd, &msg, 0);
}

KR_API ssize_t kaus_fd_write(kaus_fd_t fd, const void *buf, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)buf, len };

	return kr_io(fd, KR_POLL_OUT, try_write, &iov);
}

KR_API ssize_t kaus_fd_writev(kaus_fd_t fd, const struct iovec *iov, int nr_iov)
{
	struct vec v = { iov, nr_iov };

	if (nr_iov < 0)
		return -EINVAL;
	return kr_io(fd, KR_POLL_OUT, try_writev, &v);
}

KR_API int kaus_fd_write_all(kaus_fd_t fd, const void *buf, size_t len,
			     size_t *ret_done)
{
	struct iovec iov = { (void *)(uintptr_t)buf, len };
	size_t done;
	int err = io_all(fd, KR_POLL_OUT, try_write, iov, &done);

	if (ret_done)
		*ret_done = done;
	return err;
}

struct sendfile {
	int file;
	int64_t *offset;
	size_t len;
};

static int64_t try_sendfile(struct kr_pollfd *pd, void *arg)
{
	const struct sendfile *s = arg;

	return kr_fd_sendfile(pd->fd, s->file, s->offset, s->len);
}

KR_API ssize_t kaus_fd_sendfile(kaus_fd_t fd, int file, int64_t *offset,
				size_t len)
{
	struct sendfile s = { file, offset, len };

	return kr_io(fd, KR_POLL_OUT, try_sendfile, &s);
}

KR_API int kaus_fd_pipe(kaus_fd_t ret_fds[2])
{
	kaus_fd_t ends[2];
	int fds[2];
	int err = kr_fd_pipe(fds);

	if (err)
		return err;
	ends[0] = kaus_fd_open(fds[0]);
	if (ends[0] < 0) {
		err = (int)ends[0];
		goto close_both;
	}
	ends[1] = kaus_fd_open(fds[1]);
	if (ends[1] < 0) {
		kaus_fd_close(ends[0]);
		kr_fd_close(fds[1]);
		return (int)ends[1];
	}
	ret_fds[0] = ends[0];
	ret_fds[1] = ends[1];
	return 0;

close_both:
	kr_fd_close(fds[0]);
	kr_fd_close(fds[1]);
	return err;
}
