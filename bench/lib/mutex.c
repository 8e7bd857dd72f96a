// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * A mutex: cost of a lock and unlock by one goroutine, and by eight that all
 * want the same.
 */
#include "bench.h"

struct crowd {
	struct kaus_mutex mu;
	struct kaus_waitgroup ended;
	size_t nr_each;
	size_t count;
};

static void locker(void *arg)
{
	struct crowd *crowd = arg;
	size_t i;

	for (i = 0; i < crowd->nr_each; i++) {
		kaus_mutex_lock(&crowd->mu);
		crowd->count++;
		kaus_mutex_unlock(&crowd->mu);
	}
	kaus_waitgroup_done(&crowd->ended);
}

static void contend(const char *metric, size_t nr_gs)
{
	struct crowd crowd = {
		.mu = KAUS_MUTEX_INIT,
		.nr_each = bench_count(32000000 / nr_gs),
	};
	uint64_t start = kaus_now_ns();
	size_t i;

	kaus_waitgroup_add(&crowd.ended, (int)nr_gs);
	for (i = 0; i < nr_gs; i++)
		bench_go(locker, &crowd);
	kaus_waitgroup_wait(&crowd.ended);
	bench_check(crowd.count == nr_gs * crowd.nr_each ? 0 : -1, metric);
	bench_report(metric,
		     (double)(kaus_now_ns() - start) / (double)crowd.count,
		     "ns");
}

void bench_mutex_1(void)
{
	contend("mutex_1", 1);
}

void bench_mutex_8(void)
{
	contend("mutex_8", 8);
}
