// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* One sends on four channels in turn, the other one selects among them. */
#include "bench.h"

#define NR_CHANS 4

static struct kaus_chan *chans[NR_CHANS];

static void sender(void *arg)
{
	size_t i, nr = *(size_t *)arg;

	for (i = 0; i < nr; i++)
		kaus_chan_send(chans[i % NR_CHANS], &i);
}

void bench_select(void)
{
	size_t i, nr = bench_count(1000000), value;
	struct kaus_case cases[NR_CHANS];
	uint64_t start;

	for (i = 0; i < NR_CHANS; i++) {
		chans[i] = bench_chan(sizeof(size_t), 0);
		cases[i] = (struct kaus_case)KAUS_RECV(chans[i], &value);
	}
	start = kaus_now_ns();
	bench_go(sender, &nr);
	for (i = 0; i < nr; i++)
		if (kaus_select(cases, NR_CHANS) != (int)(i % NR_CHANS))
			bench_check(-1, "select");
	bench_report("select_4",
		     (double)(kaus_now_ns() - start) / (double)nr, "ns");
	for (i = 0; i < NR_CHANS; i++)
		kaus_chan_free(chans[i]);
}
