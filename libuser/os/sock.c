/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Sockets. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "os/io.h"

static ssize_t result(ssize_t n, int saved_errno)
{
	if (n < 0) {
		n = -errno;
		errno = saved_errno;
	}
	return n;
}

int kr_sock_open(int domain, int type, int protocol)
{
	int saved_errno = errno;

	return (int)result(socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC,
				  protocol), saved_errno);
}

int kr_sock_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	int saved_errno = errno;

	return (int)result(bind(fd, addr, len), saved_errno);
}

int kr_sock_listen(int fd, int backlog)
{
	int saved_errno = errno;

	return (int)result(listen(fd, backlog), saved_errno);
}

int kr_sock_accept(int fd, struct sockaddr *addr, socklen_t *len)
{
	int saved_errno = errno;

	return (int)result(accept4(fd, addr, len, SOCK_NONBLOCK | SOCK_CLOEXEC),
			   saved_errno);
}

int kr_sock_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	int saved_errno = errno;

	return (int)result(connect(fd, addr, len), saved_errno);
}

int kr_sock_shutdown(int fd, int how)
{
	int saved_errno = errno;

	return (int)result(shutdown(fd, how), saved_errno);
}

ssize_t kr_sock_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	int saved_errno = errno;

	return result(sendmsg(fd, msg, flags | MSG_NOSIGNAL), saved_errno);
}

ssize_t kr_sock_recvmsg(int fd, struct msghdr *msg, int flags)
{
	int saved_errno = errno;

	return result(recvmsg(fd, msg, flags), saved_errno);
}

ssize_t kr_sock_sendto(int fd, const void *buf, size_t len, int flags,
		       const struct sockaddr *addr, socklen_t addr_len)
{
	int saved_errno = errno;

	return result(sendto(fd, buf, len, flags | MSG_NOSIGNAL, addr,
			     addr_len), saved_errno);
}

ssize_t kr_sock_recvfrom(int fd, void *buf, size_t len, int flags,
			 struct sockaddr *addr, socklen_t *addr_len)
{
	int saved_errno = errno;

	return result(recvfrom(fd, buf, len, flags, addr, addr_len),
		      saved_errno);
}

static void set_flag(int fd, int level, int name, int on)
{
	int saved_errno = errno;

	/* Where a kind of socket has no such option nothing is lost. */
	(void)setsockopt(fd, level, name, &on, sizeof(on));
	errno = saved_errno;
}

void kr_sock_set_nodelay(int fd)
{
	set_flag(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

void kr_sock_set_reuse(int fd)
{
	set_flag(fd, SOL_SOCKET, SO_REUSEADDR, 1);
}

void kr_sock_set_v6only(int fd, bool on)
{
	set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY, on);
}
