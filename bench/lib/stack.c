// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Stacks: what a goroutine costs that does nothing but need one, and how many
 * of them find one in the cache of their P. Idle: one at a time. Churn: waves
 * of so many at once that caches overflow and run dry. A goroutine that has to
 * park needs a stack of its own, one that just ends uses the last one's. Marking:
 * waves that ran while the collector looked at a heap of a million objects. Of
 * waves the median one: some wait for a P that marks, which is no matter of stacks.
 */
#include <stdlib.h>

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

static void report_hits(const char *hits, uint64_t nr_hits, uint64_t nr_misses)
{
	bench_report(hits, 100.0 * (double)nr_hits /
		     (double)(nr_hits + nr_misses), "%");
}

static void one_at_a_time(size_t nr)
{
	struct kaus_stats before = stats(), after;
	uint64_t start = kaus_now_ns(), end;

	for (size_t i = 0; i < nr; i++)
		bench_check(kaus_join(bench_spawn(nothing, NULL), NULL),
			    "kaus_join");
	end = kaus_now_ns();
	after = stats();
	bench_report("stack_idle", (double)(end - start) / (double)nr, "ns");
	report_hits("stack_idle_hits",
		    after.nr_stack_hits - before.nr_stack_hits,
		    after.nr_stack_misses - before.nr_stack_misses);
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

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* @nr of them, all of which were while it marked, or any. */
static void waves(const char *ns, const char *hits, size_t nr, int marking)
{
	uint64_t *took = calloc(nr, sizeof(*took)), nr_hits = 0, nr_misses = 0;
	size_t i = 0;

	bench_check(took ? 0 : -1, "calloc");
	while (i < nr) {
		struct kaus_stats before = stats(), after;
		int marked = kaus_gc_barrier_on;
		uint64_t start = kaus_now_ns();

		wave();
		took[i] = kaus_now_ns() - start;
		if (marking && (!marked || !kaus_gc_barrier_on))
			continue;
		i++;
		after = stats();
		nr_hits += after.nr_stack_hits - before.nr_stack_hits;
		nr_misses += after.nr_stack_misses - before.nr_stack_misses;
	}
	qsort(took, nr, sizeof(*took), compare);
	bench_report(ns, (double)took[nr / 2] / NR_WAVE, "ns");
	report_hits(hits, nr_hits, nr_misses);
	free(took);
}

static void *collect(void *arg)
{
	while (__atomic_load_n(&collecting, __ATOMIC_RELAXED))
		bench_check(kaus_gc(), "kaus_gc");
	return arg;
}

static void while_it_marks(size_t nr_waves)
{
	struct kaus_g *collector;

	for (size_t i = 0; i < NR_OBJECTS; i++) {
		struct object *o = kaus_new(&object_type);

		bench_check(o ? 0 : -1, "kaus_new");
		o->next = objects;
		objects = o;
	}
	bench_check(kaus_gc_set(KAUS_GC_CONCURRENT, 1), "concurrent");
	collecting = 1;
	collector = bench_spawn(collect, NULL);
	waves("stack_mark", "stack_mark_hits", nr_waves, 1);
	__atomic_store_n(&collecting, 0, __ATOMIC_RELAXED);
	bench_check(kaus_join(collector, NULL), "kaus_join");
}

void bench_stack(void)
{
	size_t nr = bench_count(1000000), nr_waves = nr / NR_WAVE + 1;

	one_at_a_time(nr);
	waves("stack_churn", "stack_churn_hits", nr_waves, 0);
	while_it_marks(nr_waves / 10 + 1);
}
