/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Sockets: listen, accept, dial, messages. */
#include <kaus/net.h>

#include "net/addr.h"
#include "net/io.h"
#include "sched/sched.h"

#define BACKLOG	4096	/* the kernel's limit is net.core.somaxconn */

/* A fresh descriptor becomes ours or is closed. */
static kaus_fd_t adopt(int fd, bool tcp)
{
	int64_t handle;
	int err;

	if (fd < 0)
		return fd;
	err = kr_pollfd_open(fd, tcp, &handle);
	if (!err)
		return handle;
	kr_fd_close(fd);
	return err;
}

static kaus_fd_t listen_on(const struct addrinfo *ai,
			   const struct kr_addrs *addrs)
{
	int fd = kr_sock_open(ai->ai_family, ai->ai_socktype, ai->ai_protocol);
	int err;

	if (fd < 0)
		return fd;
	if (addrs->is_tcp) {
		kr_sock_set_reuse(fd);
		kr_sock_set_nodelay(fd);	/* connections inherit it */
	}
	if (ai->ai_family == AF_INET6)
		kr_sock_set_v6only(fd, !addrs->is_any);
	err = kr_sock_bind(fd, ai->ai_addr, ai->ai_addrlen);
	if (!err && ai->ai_socktype == SOCK_STREAM)
		err = kr_sock_listen(fd, BACKLOG);
	if (err) {
		kr_fd_close(fd);
		return err;
	}
	return adopt(fd, addrs->is_tcp);
}

KR_API kaus_fd_t kaus_net_listen(const char *net, const char *addr)
{
	struct kr_addrs addrs;
	kaus_fd_t fd;

	fd = kr_addrs_resolve(net, addr, KR_RESOLVE_LISTEN, &addrs);
	if (fd)
		return fd;
	fd = -EADDRNOTAVAIL;
	/* First what is not IPv4, if one socket is to be both. */
	for (int round = addrs.is_any ? 0 : 1; round < 2 && fd < 0; round++) {
		struct addrinfo *ai = addrs.first;

		for (; ai && fd < 0; ai = ai->ai_next)
			if (round || ai->ai_family != AF_INET)
				fd = listen_on(ai, &addrs);
	}
	kr_addrs_free(&addrs);
	return fd;
}

struct address {
	struct sockaddr *addr;
	socklen_t *len;
	bool is_tcp;
};

static int64_t try_accept(struct kr_pollfd *pd, void *arg)
{
	struct address *to = arg;
	socklen_t len = to->len ? *to->len : 0;
	int64_t fd;

	fd = kr_sock_accept(pd->fd, to->addr, to->addr ? &len : NULL);
	/* The peer was there and has gone: not the caller's problem. */
	if (fd == -ECONNABORTED)
		return -EINTR;
	if (fd >= 0 && to->len)
		*to->len = len;
	to->is_tcp = pd->is_tcp;
	return fd;
}

KR_API kaus_fd_t kaus_net_accept(kaus_fd_t fd, struct sockaddr *addr,
				 socklen_t *addr_len)
{
	struct address to = {
		.addr = addr_len ? addr : NULL,
		.len = addr ? addr_len : NULL,
	};
	int num = (int)kr_io(fd, KR_POLL_IN, try_accept, &to);

	return adopt(num, to.is_tcp);
}

struct destination {
	const struct sockaddr *addr;
	socklen_t len;
	bool begun;
};

/*
 * Calling connect() again says how the first one went, and unlike SO_ERROR does
 * not take "not yet" for "done".
 */
static int64_t try_connect(struct kr_pollfd *pd, void *arg)
{
	struct destination *to = arg;
	int err = kr_sock_connect(pd->fd, to->addr, to->len);

	switch (err) {
	case -EINPROGRESS:
	case -EALREADY:
	case -EINTR:
		to->begun = true;
		return -EAGAIN;
	case -EISCONN:
		return to->begun ? 0 : err;
	default:
		return err;
	}
}

/* A Unix socket's EAGAIN is no promise of an event. */
static int connect_unix(struct kr_pollfd *pd, const struct destination *to)
{
	int err;

	do {
		err = kr_sock_connect(pd->fd, to->addr, to->len);
	} while (err == -EINTR);
	return err;
}

static int connect_to(kaus_fd_t fd, const struct sockaddr *addr, socklen_t len,
		      uint64_t deadline_ns)
{
	struct destination to = { .addr = addr, .len = len };
	struct kr_pollfd *pd = kr_pollfd_get(fd);
	int err;

	if (!pd)
		return -EBADF;
	if (len >= sizeof(addr->sa_family) && addr->sa_family == AF_UNIX)
		err = connect_unix(pd, &to);
	else
		err = (int)kr_io_on(pd, KR_POLL_OUT, deadline_ns, try_connect,
				    &to);
	kr_pollfd_put(pd);
	return err;
}

KR_API int kaus_net_connect(kaus_fd_t fd, const struct sockaddr *addr,
			    socklen_t addr_len)
{
	return connect_to(fd, addr, addr_len, KAUS_NO_DEADLINE);
}

static kaus_fd_t dial_to(const struct addrinfo *ai, bool tcp,
			 uint64_t deadline_ns)
{
	int num = kr_sock_open(ai->ai_family, ai->ai_socktype, ai->ai_protocol);
	kaus_fd_t fd = adopt(num, tcp);
	int err;

	if (fd < 0)
		return fd;
	if (tcp)
		kr_sock_set_nodelay(num);
	err = connect_to(fd, ai->ai_addr, ai->ai_addrlen, deadline_ns);
	if (err) {
		kaus_fd_close(fd);
		return err;
	}
	return fd;
}

KR_API kaus_fd_t kaus_net_dial_until(const char *net, const char *addr,
				     uint64_t deadline_ns)
{
	struct kr_lookup *lookup;
	const struct kr_addrs *addrs;
	kaus_fd_t fd;

	fd = kr_lookup_until(net, addr, deadline_ns, &lookup);
	if (!fd) {
		addrs = kr_lookup_addrs(lookup);
		fd = -EADDRNOTAVAIL;
		for (struct addrinfo *ai = addrs->first; ai; ai = ai->ai_next) {
			fd = dial_to(ai, addrs->is_tcp, deadline_ns);
			if (fd > 0 || fd == -EPERM || fd == -ETIMEDOUT)
				break;
		}
	}
	kr_lookup_put(lookup);
	return fd;
}

KR_API kaus_fd_t kaus_net_dial(const char *net, const char *addr)
{
	return kaus_net_dial_until(net, addr, KAUS_NO_DEADLINE);
}

KR_API kaus_fd_t kaus_net_socket(int domain, int type, int protocol)
{
	return adopt(kr_sock_open(domain, type, protocol), false);
}

KR_API int kaus_net_shutdown(kaus_fd_t fd, int how)
{
	struct kr_pollfd *pd = kr_pollfd_get(fd);
	int err;

	if (!pd)
		return -EBADF;
	err = kr_sock_shutdown(pd->fd, how);
	kr_pollfd_put(pd);
	return err;
}

/* ---- messages ---- */

struct packet {
	void *buf;
	size_t len;
	int flags;
	struct sockaddr *addr;
	socklen_t *len_ptr;
	socklen_t addr_len;
	struct msghdr *msg;
};

/* With MSG_DONTWAIT nobody waits. */
static int64_t packet_io(kaus_fd_t fd, enum kr_poll_dir dir, kr_try_fn try,
			 struct packet *pkt)
{
	struct kr_pollfd *pd;
	int64_t n;

	if (likely(!(pkt->flags & MSG_DONTWAIT)))
		return kr_io(fd, dir, try, pkt);
	pd = kr_pollfd_get(fd);
	if (!pd)
		return -EBADF;
	do {
		n = try(pd, pkt);
	} while (n == -EINTR);
	kr_pollfd_put(pd);
	return n;
}

static int64_t try_recvfrom(struct kr_pollfd *pd, void *arg)
{
	const struct packet *pkt = arg;

	return kr_sock_recvfrom(pd->fd, pkt->buf, pkt->len, pkt->flags,
				pkt->addr, pkt->len_ptr);
}

static int64_t try_sendto(struct kr_pollfd *pd, void *arg)
{
	const struct packet *pkt = arg;

	return kr_sock_sendto(pd->fd, pkt->buf, pkt->len, pkt->flags,
			      pkt->addr, pkt->addr_len);
}

static int64_t try_recvmsg(struct kr_pollfd *pd, void *arg)
{
	const struct packet *pkt = arg;

	return kr_sock_recvmsg(pd->fd, pkt->msg, pkt->flags);
}

static int64_t try_sendmsg(struct kr_pollfd *pd, void *arg)
{
	const struct packet *pkt = arg;

	return kr_sock_sendmsg(pd->fd, pkt->msg, pkt->flags);
}

KR_API ssize_t kaus_net_recvfrom(kaus_fd_t fd, void *buf, size_t len, int flags,
				 struct sockaddr *addr, socklen_t *addr_len)
{
	struct packet pkt = {
		.buf = buf,
		.len = len,
		.flags = flags,
		.addr = addr_len ? addr : NULL,
		.len_ptr = addr ? addr_len : NULL,
	};

	return packet_io(fd, KR_POLL_IN, try_recvfrom, &pkt);
}

KR_API ssize_t kaus_net_sendto(kaus_fd_t fd, const void *buf, size_t len,
			       int flags, const struct sockaddr *addr,
			       socklen_t addr_len)
{
	struct packet pkt = {
		.buf = (void *)(uintptr_t)buf,
		.len = len,
		.flags = flags,
		.addr = (struct sockaddr *)(uintptr_t)addr,
		.addr_len = addr_len,
	};

	return packet_io(fd, KR_POLL_OUT, try_sendto, &pkt);
}

KR_API ssize_t kaus_net_recvmsg(kaus_fd_t fd, struct msghdr *msg, int flags)
{
	struct packet pkt = { .msg = msg, .flags = flags };

	return packet_io(fd, KR_POLL_IN, try_recvmsg, &pkt);
}

KR_API ssize_t kaus_net_sendmsg(kaus_fd_t fd, const struct msghdr *msg,
				int flags)
{
	struct packet pkt = {
		.msg = (struct msghdr *)(uintptr_t)msg,
		.flags = flags,
	};

	return packet_io(fd, KR_POLL_OUT, try_sendmsg, &pkt);
}
