// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* A token round a ring of goroutines over unbuffered channels: cost per hop. */
#include "bench.h"

#define NR_GS 100

struct ring {
	struct kaus_chan *chans[NR_GS];
	struct kaus_waitgroup wg;
	size_t laps;
};

struct station {
	struct ring *ring;
	size_t place;
};

static void pass_on(void *arg)
{
	struct station *self = arg;
	struct ring *ring = self->ring;
	struct kaus_chan *from = ring->chans[self->place];
	struct kaus_chan *to = ring->chans[(self->place + 1) % NR_GS];
	uint64_t token;
	size_t i;

	for (i = 0; i < ring->laps; i++) {
		kaus_chan_recv(from, &token);
		/* The last station keeps the token of the last lap. */
		if (self->place < NR_GS - 1 || i < ring->laps - 1)
			kaus_chan_send(to, &token);
	}
	kaus_waitgroup_done(&ring->wg);
}

void bench_ring(void)
{
	struct ring ring = { .laps = bench_count(20000) };
	static struct station stations[NR_GS];
	uint64_t token = 0, start;
	size_t i;

	for (i = 0; i < NR_GS; i++)
		ring.chans[i] = bench_chan(sizeof(uint64_t), 0);
	kaus_waitgroup_add(&ring.wg, NR_GS);
	for (i = 0; i < NR_GS; i++) {
		stations[i].ring = &ring;
		stations[i].place = i;
		bench_go(pass_on, &stations[i]);
	}
	start = kaus_now_ns();
	kaus_chan_send(ring.chans[0], &token);
	kaus_waitgroup_wait(&ring.wg);
	bench_report("ring",
		     (double)(kaus_now_ns() - start) /
			     (double)(ring.laps * NR_GS),
		     "ns");
}
