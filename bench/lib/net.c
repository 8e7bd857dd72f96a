// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Requests of 64 bytes that a server in the same process echoes, over one TCP
 * connection and over 64 at a time.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

#define REQUEST_BYTES 64
#define BUFFER_BYTES 4096	/* of a server, which knows no sizes */

static struct kaus_waitgroup clients;
static size_t nr_each;

static kaus_fd_t check_fd(kaus_fd_t fd, const char *what)
{
	bench_check(fd < 0 ? (int)fd : 0, what);
	return fd;
}

static void echo(void *arg)
{
	kaus_fd_t fd = (kaus_fd_t)(intptr_t)arg;
	char buf[BUFFER_BYTES];
	ssize_t n;

	while ((n = kaus_fd_read(fd, buf, sizeof(buf))) > 0)
		bench_check(kaus_fd_write_all(fd, buf, (size_t)n, NULL),
			    "echo");
	kaus_fd_close(fd);
}

static void acceptor(void *arg)
{
	kaus_fd_t fd;

	while ((fd = kaus_net_accept(*(kaus_fd_t *)arg, NULL, NULL)) > 0)
		bench_go(echo, (void *)(intptr_t)fd);
}

static void client(void *arg)
{
	kaus_fd_t fd = (kaus_fd_t)(intptr_t)arg;
	char buf[REQUEST_BYTES] = "";
	size_t i;

	for (i = 0; i < nr_each; i++) {
		bench_check(kaus_fd_write_all(fd, buf, sizeof(buf), NULL),
			    "write");
		if (kaus_fd_read_full(fd, buf, sizeof(buf)) != sizeof(buf))
			bench_check(-EIO, "read");
	}
	kaus_fd_close(fd);
	kaus_waitgroup_done(&clients);
}

static void echo_over(const char *metric, size_t nr_conns)
{
	kaus_fd_t listener, *conns = calloc(nr_conns, sizeof(*conns));
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);
	char text[64];
	uint64_t start;
	size_t i;

	listener = check_fd(kaus_net_listen("tcp4", "127.0.0.1:0"), "listen");
	getsockname(kaus_fd_num(listener), (struct sockaddr *)&addr, &len);
	snprintf(text, sizeof(text), "127.0.0.1:%d", ntohs(addr.sin_port));
	bench_go(acceptor, &listener);
	nr_each = bench_count(200000 / nr_conns);
	for (i = 0; i < nr_conns; i++)
		conns[i] = check_fd(kaus_net_dial("tcp4", text), "dial");
	kaus_waitgroup_add(&clients, (int)nr_conns);
	start = kaus_now_ns();
	for (i = 0; i < nr_conns; i++)
		bench_go(client, (void *)(intptr_t)conns[i]);
	kaus_waitgroup_wait(&clients);
	bench_report(metric,
		     (double)(kaus_now_ns() - start) /
			     (double)(nr_each * nr_conns),
		     "ns");
	kaus_fd_close(listener);
	free(conns);
}

void bench_net_1(void)
{
	echo_over("net_1", 1);
}

void bench_net_64(void)
{
	echo_over("net_64", 64);
}
