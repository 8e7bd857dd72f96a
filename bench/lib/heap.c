// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Where those meet who allocate: the lock of the heap's pages and the lists of
 * spans. A goroutine for each P has some MiB in objects of all small sizes, and
 * replaces one after the other, so that spans come and go all the time; the
 * collector runs at its usual pace.
 */
#include "bench.h"

#include <stdlib.h>

#define NR_OBJECTS	4096
#define MAX_SIZE	8192U

static size_t nr_each;

static void *replace(void *arg)
{
	void **objects = kaus_alloc_array(NR_OBJECTS, sizeof(*objects));
	uint64_t state = 88172645463325252ULL + (uintptr_t)arg;

	bench_check(objects ? 0 : -1, "kaus_alloc_array");
	for (size_t i = 0; i < nr_each; i++) {
		unsigned int shift;
		void *obj;

		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		/* As many of each power of two. */
		shift = (unsigned int)(state >> 40) % 9;
		obj = kaus_alloc_noscan((size_t)(state % MAX_SIZE >> shift) + 1);
		bench_check(obj ? 0 : -1, "kaus_alloc_noscan");
		objects[i % NR_OBJECTS] = obj;
	}
	return NULL;
}

static struct kaus_gc_stats stats(void)
{
	struct kaus_gc_stats st = { .size = sizeof(st) };

	bench_check(kaus_gc_stats_read(&st), "kaus_gc_stats_read");
	return st;
}

void bench_heap_locks(void)
{
	struct kaus_gc_stats before = stats(), after;
	size_t nr = (size_t)kaus_procs(), nr_all;
	struct kaus_g **gs = calloc(nr, sizeof(*gs));
	uint64_t start = kaus_now_ns();
	double millions;

	bench_check(gs ? 0 : -1, "calloc");
	nr_each = bench_count(20000000) / nr;
	nr_all = nr_each * nr;
	for (size_t i = 0; i < nr; i++)
		gs[i] = bench_spawn(replace, (void *)(uintptr_t)(i + 1));
	for (size_t i = 0; i < nr; i++)
		bench_check(kaus_join(gs[i], NULL), "kaus_join");
	after = stats();
	millions = (double)nr_all / 1e6;
	bench_report("heap_locks", (double)(kaus_now_ns() - start) /
		     (double)nr_all, "ns");
	bench_report("heap_lock_waits", (double)(after.nr_heap_lock_waits -
		     before.nr_heap_lock_waits) / millions, "in_1e6");
	bench_report("heap_lock_wait", (double)(after.heap_lock_wait_ns -
		     before.heap_lock_wait_ns) / (double)nr_all, "ns");
	bench_report("span_list_retries", (double)(after.nr_span_list_retries -
		     before.nr_span_list_retries) / millions, "in_1e6");
	free(gs);
}
