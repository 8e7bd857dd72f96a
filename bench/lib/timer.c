// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* A hog on every P, and a goroutine that sleeps 1 ms: how late does it wake? */
#include <stdlib.h>

#include "bench.h"

#define SLEEP_NS 1000000

static void hog(void *arg)
{
	(void)arg;
	for (;;)
		__asm__ volatile("");
}

void bench_timer(void)
{
	struct kaus_stats st = { .size = sizeof(st) };
	size_t i, nr = bench_count(300);
	uint64_t *late = calloc(nr, sizeof(*late));
	uint64_t deadline;

	bench_check(kaus_stats_read(&st), "kaus_stats_read");
	for (i = 0; i < st.nr_procs; i++)
		bench_go(hog, NULL);
	for (i = 0; i < nr; i++) {
		deadline = kaus_now_ns() + SLEEP_NS;
		kaus_sleep_until(deadline);
		late[i] = kaus_now_ns() - deadline;
	}
	bench_report_percentiles("timer_late", late, nr);
	free(late);
}
