// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * A million goroutines that wait: what it takes to make one, until all have
 * parked, what memory each holds, and what is left when all have ended and the
 * runtime has had two seconds.
 */
#include <stdio.h>
#include <unistd.h>

#include "bench.h"

static void parked(void *arg)
{
	uint64_t value;

	kaus_chan_recv(arg, &value);
}

static double rss_bytes(void)
{
	long pages = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%ld %ld", &pages, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static struct kaus_stats stats(void)
{
	struct kaus_stats st = { .size = sizeof(st) };

	bench_check(kaus_stats_read(&st), "kaus_stats_read");
	return st;
}

void bench_parked(void)
{
	struct kaus_chan *ch = bench_chan(sizeof(uint64_t), 0);
	size_t i, nr = bench_count(1000000);
	double before = rss_bytes();
	uint64_t start = kaus_now_ns();

	for (i = 0; i < nr; i++)
		bench_go(parked, ch);
	while (stats().nr_runnable)
		kaus_yield();
	bench_report("parked_create",
		     (double)(kaus_now_ns() - start) / (double)nr, "ns");
	bench_report("parked_rss", (rss_bytes() - before) / (double)nr, "B");
	start = kaus_now_ns();
	kaus_chan_close(ch);
	while (stats().nr_gs > 1)
		kaus_yield();
	bench_report("parked_end", (double)(kaus_now_ns() - start) / (double)nr,
		     "ns");
	kaus_sleep(2000000000);
	bench_report("parked_after", rss_bytes() / 1e6, "MB");
}
