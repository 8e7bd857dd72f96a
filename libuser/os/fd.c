/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Reading and writing of descriptors of any kind. */
#include <errno.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/io.h"

/* Only in functions that cannot be inlined into one that parks. */
static ssize_t result(ssize_t n, int saved_errno)
{
	if (n < 0) {
		n = -errno;
		errno = saved_errno;
	}
	return n;
}

void kr_fd_close(int fd)
{
	int saved_errno = errno;

	close(fd);
	errno = saved_errno;
}

int kr_fd_set_nonblock(int fd)
{
	int saved_errno = errno;
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0 && !(flags & O_NONBLOCK))
		flags = fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	return flags < 0 ? (int)result(-1, saved_errno) : 0;
}

int kr_fd_is_socket(int fd)
{
	int saved_errno = errno;
	struct stat st;

	if (fstat(fd, &st))
		return (int)result(-1, saved_errno);
	return S_ISSOCK(st.st_mode);
}

int kr_fd_pipe(int fds[2])
{
	int saved_errno = errno;

	return (int)result(pipe2(fds, O_CLOEXEC | O_NONBLOCK), saved_errno);
}

ssize_t kr_fd_readv(int fd, const struct iovec *iov, int nr)
{
	int saved_errno = errno;

	if (nr == 1)
		return result(read(fd, iov->iov_base, iov->iov_len),
			      saved_errno);
	return result(readv(fd, iov, nr), saved_errno);
}

ssize_t kr_fd_writev(int fd, const struct iovec *iov, int nr)
{
	int saved_errno = errno;

	if (nr == 1)
		return result(write(fd, iov->iov_base, iov->iov_len),
			      saved_errno);
	return result(writev(fd, iov, nr), saved_errno);
}

ssize_t kr_fd_sendfile(int out_fd, int in_fd, int64_t *offset, size_t len)
{
	int saved_errno = errno;

	return result(sendfile(out_fd, in_fd, offset, len), saved_errno);
}

ssize_t kr_fd_pread(int fd, const struct iovec *iov, uint64_t offset,
		    bool nowait)
{
	int saved_errno = errno;

	if (nowait)
		return result(preadv2(fd, iov, 1, (off_t)offset, RWF_NOWAIT),
			      saved_errno);
	return result(pread(fd, iov->iov_base, iov->iov_len, (off_t)offset),
		      saved_errno);
}

ssize_t kr_fd_pwrite(int fd, const struct iovec *iov, uint64_t offset,
		     bool nowait)
{
	int saved_errno = errno;

	if (nowait)
		return result(pwritev2(fd, iov, 1, (off_t)offset, RWF_NOWAIT),
			      saved_errno);
	return result(pwrite(fd, iov->iov_base, iov->iov_len, (off_t)offset),
		      saved_errno);
}

int kr_fd_sync(int fd)
{
	int saved_errno = errno;

	return (int)result(fsync(fd), saved_errno);
}

bool kr_fd_is_direct(int fd)
{
	int saved_errno = errno;
	int flags = fcntl(fd, F_GETFL);

	errno = saved_errno;
	return flags >= 0 && (flags & O_DIRECT);
}
