// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Stacks: what a goroutine costs that does nothing but need one, and how many
 * of them find one in the cache of their P. Idle: one at a time. Churn: waves
 * of so many at once that caches overflow and run dry. A goroutine that has to
 * park needs a stack of its own, one that just ends uses the last one's.
 */
#include "bench.h"

#define NR_WAVE 500

static void *nothing(void *arg)
{
	return arg;
}

static void *yield_once(void *arg)
{
	kaus_yield();
	return arg;
}

static struct kaus_stats stats(void)
{
	struct kaus_stats st = { .size = sizeof(st) };

	bench_check(kaus_stats_read(&st), "kaus_stats_read");
	return st;
}

static void report(const char *ns, const char *hits, uint64_t start, size_t nr,
		   const struct kaus_stats *before)
{
	uint64_t end = kaus_now_ns();
	struct kaus_stats st = stats();
	uint64_t nr_hits = st.nr_stack_hits - before->nr_stack_hits;
	uint64_t nr_all = nr_hits + st.nr_stack_misses -
			  before->nr_stack_misses;

	bench_report(ns, (double)(end - start) / (double)nr, "ns");
	bench_report(hits, 100.0 * (double)nr_hits / (double)nr_all, "%");
}

void bench_stack(void)
{
	size_t i, round, nr = bench_count(1000000), nr_waves = nr / NR_WAVE + 1;
	static struct kaus_g *gs[NR_WAVE];
	struct kaus_stats before = stats();
	uint64_t start = kaus_now_ns();

	for (i = 0; i < nr; i++)
		bench_check(kaus_join(bench_spawn(nothing, NULL), NULL),
			    "kaus_join");
	report("stack_idle", "stack_idle_hits", start, nr, &before);
	before = stats();
	start = kaus_now_ns();
	for (round = 0; round < nr_waves; round++) {
		for (i = 0; i < NR_WAVE; i++)
			gs[i] = bench_spawn(yield_once, NULL);
		for (i = 0; i < NR_WAVE; i++)
			bench_check(kaus_join(gs[i], NULL), "kaus_join");
	}
	report("stack_churn", "stack_churn_hits", start, nr_waves * NR_WAVE,
	       &before);
}
