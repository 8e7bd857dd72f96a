// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Stacks: what a goroutine costs that does nothing but need one, and how many
 * of them find one in the cache of their P. Idle: one at a time. Churn: waves
 * of so many at once that caches overflow and run dry. A goroutine that has to
 * park needs a stack of its own, one that just ends uses the last one's. Marking:
 * waves that ran while the collector looked at a heap of a million objects.
 */
#include "bench.h"

#define NR_WAVE 500
#define NR_OBJECTS 1000000

struct object {
	struct object *next;
	uint64_t value;
};

KAUS_TYPE(object_type, struct object, next);

static struct object *objects;
static int collecting;

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

static void report(const char *ns, const char *hits, uint64_t spent_ns,
		   size_t nr, uint64_t nr_hits, uint64_t nr_misses)
{
	bench_report(ns, (double)spent_ns / (double)nr, "ns");
	bench_report(hits, 100.0 * (double)nr_hits /
		     (double)(nr_hits + nr_misses), "%");
}

static void report_since(const char *ns, const char *hits, uint64_t start,
			 size_t nr, const struct kaus_stats *before)
{
	uint64_t end = kaus_now_ns();
	struct kaus_stats st = stats();

	report(ns, hits, end - start, nr,
	       st.nr_stack_hits - before->nr_stack_hits,
	       st.nr_stack_misses - before->nr_stack_misses);
}

static void wave(void)
{
	static struct kaus_g *gs[NR_WAVE];
	size_t i;

	for (i = 0; i < NR_WAVE; i++)
		gs[i] = bench_spawn(yield_once, NULL);
	for (i = 0; i < NR_WAVE; i++)
		bench_check(kaus_join(gs[i], NULL), "kaus_join");
}

static void *collect(void *arg)
{
	while (__atomic_load_n(&collecting, __ATOMIC_RELAXED))
		bench_check(kaus_gc(), "kaus_gc");
	return arg;
}

static void while_it_marks(size_t nr_waves)
{
	uint64_t spent_ns = 0, nr_hits = 0, nr_misses = 0;
	struct kaus_g *collector;
	size_t nr = 0;

	for (size_t i = 0; i < NR_OBJECTS; i++) {
		struct object *o = kaus_new(&object_type);

		bench_check(o ? 0 : -1, "kaus_new");
		o->next = objects;
		objects = o;
	}
	bench_check(kaus_gc_set(KAUS_GC_CONCURRENT, 1), "concurrent");
	collecting = 1;
	collector = bench_spawn(collect, NULL);
	while (nr < nr_waves) {
		struct kaus_stats before = stats(), after;
		int marked = kaus_gc_barrier_on;
		uint64_t start = kaus_now_ns(), end;

		wave();
		end = kaus_now_ns();
		if (!marked || !kaus_gc_barrier_on)
			continue;
		after = stats();
		nr++;
		spent_ns += end - start;
		nr_hits += after.nr_stack_hits - before.nr_stack_hits;
		nr_misses += after.nr_stack_misses - before.nr_stack_misses;
	}
	__atomic_store_n(&collecting, 0, __ATOMIC_RELAXED);
	bench_check(kaus_join(collector, NULL), "kaus_join");
	report("stack_mark", "stack_mark_hits", spent_ns, nr * NR_WAVE, nr_hits,
	       nr_misses);
}

void bench_stack(void)
{
	size_t i, nr = bench_count(1000000), nr_waves = nr / NR_WAVE + 1;
	struct kaus_stats before = stats();
	uint64_t start = kaus_now_ns();

	for (i = 0; i < nr; i++)
		bench_check(kaus_join(bench_spawn(nothing, NULL), NULL),
			    "kaus_join");
	report_since("stack_idle", "stack_idle_hits", start, nr, &before);
	before = stats();
	start = kaus_now_ns();
	for (i = 0; i < nr_waves; i++)
		wave();
	report_since("stack_churn", "stack_churn_hits", start,
		     nr_waves * NR_WAVE, &before);
	while_it_marks(nr_waves / 10 + 1);
}
