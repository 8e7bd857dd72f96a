/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Readiness of file descriptors: epoll, edge-triggered. */
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/barrier.h"
#include "os/io.h"
#include "os/os.h"

#define NS_PER_MS 1000000ULL

int kr_epoll_create(void)
{
	int saved_errno = errno;
	int fd = epoll_create1(EPOLL_CLOEXEC);

	if (fd < 0) {
		fd = -errno;
		errno = saved_errno;
	}
	return fd;
}

int kr_epoll_add(int ep, int fd, uint64_t data)
{
	struct epoll_event ev = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI |
			  EPOLLET,
		.data.u64 = data,
	};
	int saved_errno = errno;
	int err = 0;

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev)) {
		err = -errno;
		errno = saved_errno;
	}
	return err;
}

void kr_epoll_del(int ep, int fd)
{
	int saved_errno = errno;

	/* It may be gone already: somebody has closed it under our feet. */
	(void)epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL);
	errno = saved_errno;
}

static int wait_ms(int ep, struct epoll_event *evs, uint64_t left_ns)
{
	uint64_t ms = (left_ns + NS_PER_MS - 1) / NS_PER_MS;

	return epoll_wait(ep, evs, KR_EPOLL_BATCH,
			  ms < 1000000 ? (int)ms : 1000000);
}

static int wait_until(int ep, struct epoll_event *evs, uint64_t deadline_ns)
{
	static bool no_pwait2;	/* before Linux 5.11, or filtered */
	uint64_t now = kr_clock_now_ns();
	uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
	int nr;

	if (!READ_ONCE(no_pwait2)) {
		struct timespec ts = {
			.tv_sec = (time_t)(left / 1000000000ULL),
			.tv_nsec = (long)(left % 1000000000ULL),
		};

		nr = (int)syscall(SYS_epoll_pwait2, ep, evs, KR_EPOLL_BATCH,
				  &ts, NULL, 0);
		if (nr >= 0 || (errno != ENOSYS && errno != EPERM))
			return nr;
		WRITE_ONCE(no_pwait2, true);
	}
	return wait_ms(ep, evs, left);
}

int kr_epoll_wait(int ep, struct kr_epoll_event *ret_events,
		  uint64_t deadline_ns)
{
	struct epoll_event evs[KR_EPOLL_BATCH];
	int saved_errno = errno;
	bool exact;
	int nr;

	if (!deadline_ns || deadline_ns == UINT64_MAX) {
		nr = epoll_wait(ep, evs, KR_EPOLL_BATCH, deadline_ns ? -1 : 0);
	} else {
		exact = kr_clock_exact_begin(deadline_ns);
		nr = wait_until(ep, evs, deadline_ns);
		kr_clock_exact_end(exact);
	}
	errno = saved_errno;
	/* A signal, or there is nothing to wait on any more: nothing is ready. */
	for (int i = 0; i < nr; i++) {
		uint32_t events = evs[i].events;

		ret_events[i].data = evs[i].data.u64;
		ret_events[i].in = events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP |
					     EPOLLHUP | EPOLLERR);
		ret_events[i].out = events & (EPOLLOUT | EPOLLHUP | EPOLLERR);
		/* Not EPOLLHUP: so begins a socket without a connection. */
		ret_events[i].odd = events & (EPOLLPRI | EPOLLRDHUP | EPOLLERR);
	}
	return nr < 0 ? 0 : nr;
}

int kr_fd_poll(int fd, bool out)
{
	struct pollfd pfd = {
		.fd = fd,
		.events = out ? POLLOUT : POLLIN | POLLRDHUP,
	};
	int saved_errno = errno;
	int nr = poll(&pfd, 1, 0);
	int err = nr < 0 ? -errno : nr ? 0 : -EAGAIN;

	errno = saved_errno;
	if (!err && (pfd.revents & POLLNVAL))
		return -EBADF;
	return err;
}
