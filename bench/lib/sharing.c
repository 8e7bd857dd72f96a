// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * What false sharing would cost: a counter for each P, written by it alone, in
 * one cache line with the others', and in a pair of lines of its own, as the
 * runtime keeps what it has for each P. With one P the two are the same.
 */
#include "bench.h"

#define MAX_GS	16
#define PAIR	128

struct row {
	struct kaus_waitgroup wg;
	size_t nr;
};

static _Alignas(PAIR) char counters[MAX_GS * PAIR];
static struct row row;

static void count(void *arg)
{
	volatile uint64_t *counter = arg;
	size_t i;

	for (i = 0; i < row.nr; i++)
		*counter = *counter + 1;
	kaus_waitgroup_done(&row.wg);
}

static void counters_apart(const char *metric, size_t step)
{
	struct kaus_stats st = { .size = sizeof(st) };
	size_t i, nr_gs;
	uint64_t start;

	bench_check(kaus_stats_read(&st), "kaus_stats_read");
	nr_gs = st.nr_procs < MAX_GS ? st.nr_procs : MAX_GS;
	row.nr = bench_count(50000000);
	kaus_waitgroup_add(&row.wg, (int)nr_gs);
	start = kaus_now_ns();
	for (i = 0; i < nr_gs; i++)
		bench_go(count, counters + i * step);
	kaus_waitgroup_wait(&row.wg);
	bench_report(metric,
		     (double)(kaus_now_ns() - start) / (double)row.nr, "ns");
}

void bench_sharing(void)
{
	counters_apart("sharing_line", sizeof(uint64_t));
	counters_apart("sharing_none", PAIR);
}
