/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * System calls for descriptors and sockets, under their own names with kr_ in
 * front. They return what the call returns, or -errno; the caller's errno is
 * left alone. None is restarted here.
 */
#ifndef KR_OS_IO_H
#define KR_OS_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/* epoll.c */
#define KR_EPOLL_BATCH	128

struct kr_epoll_event {
	uint64_t data;
	bool in, out;		/* errors and hang-ups are both */
	bool odd;		/* the end, an error, urgent data */
};

int kr_epoll_create(void);
/* Both directions, edge-triggered. -EPERM: of a kind that cannot be polled. */
int kr_epoll_add(int ep, int fd, uint64_t data);
void kr_epoll_del(int ep, int fd);

/**
 * kr_epoll_wait() - Collect events.
 * @ep: The epoll descriptor.
 * @ret_events: KR_EPOLL_BATCH of them.
 * @deadline_ns: 0: do not wait; absolute CLOCK_MONOTONIC; UINT64_MAX: for ever.
 *
 * Return: their number, 0 at the deadline or for a signal.
 */
int kr_epoll_wait(int ep, struct kr_epoll_event *ret_events,
		  uint64_t deadline_ns);

/* Is it readable, or writable? 0 or -EAGAIN. */
int kr_fd_poll(int fd, bool out);

/* fd.c */
void kr_fd_close(int fd);
int kr_fd_set_nonblock(int fd);
int kr_fd_is_socket(int fd);	/* 0, 1 or -EBADF */
int kr_fd_pipe(int fds[2]);
ssize_t kr_fd_readv(int fd, const struct iovec *iov, int nr);
ssize_t kr_fd_writev(int fd, const struct iovec *iov, int nr);
ssize_t kr_fd_sendfile(int out_fd, int in_fd, int64_t *offset, size_t len);

/* @nowait: -EAGAIN for what has to wait, -EOPNOTSUPP if that is not known. */
ssize_t kr_fd_pread(int fd, const struct iovec *iov, uint64_t offset,
		    bool nowait);
ssize_t kr_fd_pwrite(int fd, const struct iovec *iov, uint64_t offset,
		     bool nowait);
int kr_fd_sync(int fd);
bool kr_fd_is_direct(int fd);	/* O_DIRECT */

/* sock.c; all new descriptors are non-blocking and closed by exec */
int kr_sock_open(int domain, int type, int protocol);
int kr_sock_bind(int fd, const struct sockaddr *addr, socklen_t len);
int kr_sock_listen(int fd, int backlog);
int kr_sock_accept(int fd, struct sockaddr *addr, socklen_t *len);
int kr_sock_connect(int fd, const struct sockaddr *addr, socklen_t len);
int kr_sock_shutdown(int fd, int how);
/* Never a SIGPIPE. */
ssize_t kr_sock_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t kr_sock_recvmsg(int fd, struct msghdr *msg, int flags);
ssize_t kr_sock_sendto(int fd, const void *buf, size_t len, int flags,
		       const struct sockaddr *addr, socklen_t addr_len);
ssize_t kr_sock_recvfrom(int fd, void *buf, size_t len, int flags,
			 struct sockaddr *addr, socklen_t *addr_len);
/* What a TCP socket gets: no delay; a listening one: its address again. */
void kr_sock_set_nodelay(int fd);
void kr_sock_set_reuse(int fd);
void kr_sock_set_v6only(int fd, bool on);

#endif /* KR_OS_IO_H */
