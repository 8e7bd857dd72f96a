// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * What net.c does with 64 connections, written by hand: one thread, one epoll
 * instance, both ends of each connection. There is no such thing in Go.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bench.h"

#define REQUEST_BYTES 64
#define BUFFER_BYTES 4096	/* of a server, which knows no sizes */
#define NR_CONNS 64

static void check(long ret, const char *what)
{
	bench_check(ret < 0 ? -1 : 0, what);
}

static void watch(int ep, int fd, uint64_t data)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	int one = 1;

	ev.data.u64 = data;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	check(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev), "epoll_ctl");
}

void bench_net_64_epoll(void)
{
	size_t nr_each = bench_count(200000 / NR_CONNS), done = 0, i;
	struct sockaddr_in addr = { .sin_family = AF_INET };
	int fds[2 * NR_CONNS], listener, ep = epoll_create1(0);
	struct epoll_event events[2 * NR_CONNS];
	size_t nr_replies[NR_CONNS] = { 0 };
	char buf[BUFFER_BYTES] = "";
	socklen_t len = sizeof(addr);
	uint64_t start;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	check(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), "bind");
	check(listen(listener, NR_CONNS), "listen");
	getsockname(listener, (struct sockaddr *)&addr, &len);
	for (i = 0; i < NR_CONNS; i++) {
		fds[2 * i] = socket(AF_INET, SOCK_STREAM, 0);
		check(connect(fds[2 * i], (struct sockaddr *)&addr,
			      sizeof(addr)), "connect");
		fds[2 * i + 1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
		check(fds[2 * i + 1], "accept");
		watch(ep, fds[2 * i], 2 * i);
		watch(ep, fds[2 * i + 1], 2 * i + 1);
	}
	start = kaus_now_ns();
	for (i = 0; i < NR_CONNS; i++)
		check(write(fds[2 * i], buf, REQUEST_BYTES), "write");
	while (done < NR_CONNS) {
		int nr = epoll_wait(ep, events, 2 * NR_CONNS, -1);

		for (int e = 0; e < nr; e++) {
			size_t at = events[e].data.u64;
			size_t room = at % 2 ? BUFFER_BYTES :
					       REQUEST_BYTES;

			/* 64 bytes are never split on the loopback device. */
			if (read(fds[at], buf, room) != REQUEST_BYTES)
				continue;
			if (at % 2 == 0 && ++nr_replies[at / 2] == nr_each)
				done++;
			else
				check(write(fds[at], buf, REQUEST_BYTES),
				      "write");
		}
	}
	bench_report("net_64_epoll",
		     (double)(kaus_now_ns() - start) /
			     (double)(nr_each * NR_CONNS), "ns");
	for (i = 0; i < 2 * NR_CONNS; i++)
		close(fds[i]);
	close(listener);
	close(ep);
}
