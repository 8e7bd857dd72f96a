// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the module adds to a context switch: two threads on one CPU wake each
 * other in turn through eventfds, half a round trip is a write, a sleep and a
 * switch. First as plain threads, then as workers without a P, then as workers
 * that carry one each, which they leave SLEEPING and find again because nobody
 * waits for it. A plain thread must not pay anything: run it without the module
 * as well,
 *
 *	tests/vm/run.sh --icount --no-module -- bench_switch
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kw.h"

#define ROUNDS		1000
#define WARM_UP		50

enum how { PLAIN, WORKER, CARRIES };

static struct kw k;
static int ping, pong;
static uint64_t took[ROUNDS + WARM_UP];

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void be(enum how how, uint32_t worker)
{
	if (how == PLAIN)
		return;
	if (kw_register(&k, worker))
		abort();
	if (how == CARRIES)
		kw_carry(&k, worker);
}

static void *partner(void *arg)
{
	enum how how = (enum how)(uintptr_t)arg;
	uint64_t one = 1, v;

	be(how, 1);
	for (unsigned int i = 0; i < ROUNDS + WARM_UP; i++) {
		kw_syscall(SYS_read, ping, (long)&v, 8, 0, 0, 0);
		kw_syscall(SYS_write, pong, (long)&one, 8, 0, 0, 0);
	}
	if (how != PLAIN)
		kw_unregister(&k);
	return NULL;
}

static int bench(const char *what, enum how how)
{
	uint64_t one = 1, v, start;
	pthread_t thread;

	if (pthread_create(&thread, NULL, partner, (void *)(uintptr_t)how))
		return 1;
	be(how, 0);
	for (unsigned int i = 0; i < ROUNDS + WARM_UP; i++) {
		start = kw_now();
		kw_syscall(SYS_write, ping, (long)&one, 8, 0, 0, 0);
		kw_syscall(SYS_read, pong, (long)&v, 8, 0, 0, 0);
		took[i] = (kw_now() - start) / 2;
	}
	pthread_join(thread, NULL);
	if (how != PLAIN)
		kw_unregister(&k);
	qsort(took + WARM_UP, ROUNDS, sizeof(*took), compare);
	printf("%-36s %6u %8lu %8lu %8lu %8lu\n", what, ROUNDS,
	       (unsigned long)took[WARM_UP],
	       (unsigned long)took[WARM_UP + ROUNDS / 2],
	       (unsigned long)took[WARM_UP + ROUNDS * 99 / 100],
	       (unsigned long)took[WARM_UP + ROUNDS - 1]);
	fflush(stdout);
	return 0;
}

int main(void)
{
	bool module = access(KW_DEV, R_OK | W_OK) == 0;
	int ret;

	ping = eventfd(0, 0);
	pong = eventfd(0, 0);
	if (ping < 0 || pong < 0 || kw_pin(0))
		return 1;
	/* What the kernel does after boot is not of interest. */
	sleep(3);
	printf("%-36s %6s %8s %8s %8s %8s  (%s)\n", "one way by eventfd",
	       "number", "min", "median", "99%", "max",
	       module ? "module" : "no module");
	ret = bench("plain threads", PLAIN);
	if (!module || ret)
		return ret;
	if (kw_group(&k, 2, 2))
		return 1;
	ret |= bench("plain threads, a group beside", PLAIN);
	ret |= bench("workers without a P", WORKER);
	ret |= bench("workers with a P that comes back", CARRIES);
	return ret;
}
