// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Cost of a goroutine's life: started and joined one after the other, and
 * started a thousand at a time before the first is joined.
 */
#include "bench.h"

#define NR_BATCH 1000

static void *nothing(void *arg)
{
	return arg;
}

void bench_spawn_join(void)
{
	size_t i, nr = bench_count(1000000);
	uint64_t start = kaus_now_ns();

	for (i = 0; i < nr; i++)
		bench_check(kaus_join(bench_spawn(nothing, NULL), NULL),
			    "kaus_join");
	bench_report("spawn_join", (double)(kaus_now_ns() - start) / (double)nr,
		     "ns");
}

void bench_spawn_batch(void)
{
	size_t i, round, nr_rounds = bench_count(1000);
	static struct kaus_g *gs[NR_BATCH];
	uint64_t start = kaus_now_ns();

	for (round = 0; round < nr_rounds; round++) {
		for (i = 0; i < NR_BATCH; i++)
			gs[i] = bench_spawn(nothing, NULL);
		for (i = 0; i < NR_BATCH; i++)
			bench_check(kaus_join(gs[i], NULL), "kaus_join");
	}
	bench_report("spawn_batch",
		     (double)(kaus_now_ns() - start) /
			     (double)(nr_rounds * NR_BATCH),
		     "ns");
}
