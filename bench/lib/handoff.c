// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * From the moment a goroutine goes to sleep in read() until the other one of
 * the only P runs. Needs KAUS_PROCS=1: with two the other one runs anyway.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"

static int fds[2];
static atomic_ullong asleep_since;

static void sleeper(void *arg)
{
	char c;

	(void)arg;
	for (;;) {
		/* Back from the kernel without a P: get it again first. */
		kaus_yield();
		atomic_store(&asleep_since, kaus_now_ns());
		while (read(fds[0], &c, 1) != 1)
			;
	}
}

void bench_handoff(void)
{
	struct kaus_stats st = { .size = sizeof(st) };
	size_t i, nr = bench_count(2000);
	uint64_t *ns = calloc(nr, sizeof(*ns));
	uint64_t since;

	bench_check(kaus_stats_read(&st), "kaus_stats_read");
	bench_check(st.nr_procs == 1 ? 0 : -EINVAL, "KAUS_PROCS must be 1");
	bench_check(pipe(fds) ? -errno : 0, "pipe");
	bench_go(sleeper, NULL);
	for (i = 0; i < nr; i++) {
		while (!(since = atomic_exchange(&asleep_since, 0)))
			kaus_yield();
		ns[i] = kaus_now_ns() - since;
		bench_check(write(fds[1], "x", 1) == 1 ? 0 : -EIO, "write");
	}
	bench_report_percentiles("handoff", ns, nr);
	free(ns);
}
