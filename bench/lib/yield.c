// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Cost of one kaus_yield() with 2 and with 1000 goroutines that do nothing
 * else.
 */
#include "bench.h"

struct yielders {
	struct kaus_waitgroup wg;
	size_t turns;
};

static void yielder(void *arg)
{
	struct yielders *all = arg;
	size_t i;

	for (i = 0; i < all->turns; i++)
		kaus_yield();
	kaus_waitgroup_done(&all->wg);
}

static void yield_among(const char *metric, size_t nr_gs, size_t nr_yields)
{
	struct yielders all = { .turns = bench_count(nr_yields / nr_gs) };
	uint64_t start;
	size_t i;

	kaus_waitgroup_add(&all.wg, (int)nr_gs);
	start = kaus_now_ns();
	for (i = 0; i < nr_gs; i++)
		bench_go(yielder, &all);
	kaus_waitgroup_wait(&all.wg);
	bench_report(metric,
		     (double)(kaus_now_ns() - start) /
			     (double)(all.turns * nr_gs),
		     "ns");
}

void bench_yield_2(void)
{
	yield_among("yield_2", 2, 4000000);
}

void bench_yield_1000(void)
{
	yield_among("yield_1000", 1000, 4000000);
}
