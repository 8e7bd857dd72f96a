// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Channels: a round trip over two unbuffered ones, and the cost per element
 * of a buffered one with one sender and receiver and with eight of each.
 */
#include "bench.h"

#define CAPACITY 128

struct trip {
	struct kaus_chan *there;
	struct kaus_chan *back;
};

static void echo(void *arg)
{
	struct trip *trip = arg;
	uint64_t value;

	while (!kaus_chan_recv(trip->there, &value))
		kaus_chan_send(trip->back, &value);
}

void bench_channel(void)
{
	struct trip trip = {
		.there = bench_chan(sizeof(uint64_t), 0),
		.back = bench_chan(sizeof(uint64_t), 0),
	};
	size_t nr = bench_count(1000000);
	uint64_t value, start;

	bench_go(echo, &trip);
	start = kaus_now_ns();
	for (value = 0; value < nr; value++) {
		kaus_chan_send(trip.there, &value);
		kaus_chan_recv(trip.back, &value);
	}
	bench_report("channel", (double)(kaus_now_ns() - start) / (double)nr,
		     "ns");
	kaus_chan_close(trip.there);
}

struct crowd {
	struct kaus_chan *ch;
	struct kaus_waitgroup senders;
	struct kaus_waitgroup receivers;
	size_t nr_each;
};

static void sender(void *arg)
{
	struct crowd *crowd = arg;
	uint64_t value;

	for (value = 0; value < crowd->nr_each; value++)
		kaus_chan_send(crowd->ch, &value);
	kaus_waitgroup_done(&crowd->senders);
}

static void receiver(void *arg)
{
	struct crowd *crowd = arg;
	uint64_t value;

	while (!kaus_chan_recv(crowd->ch, &value))
		;
	kaus_waitgroup_done(&crowd->receivers);
}

static void buffered(const char *metric, size_t nr_side)
{
	struct crowd crowd = {
		.ch = bench_chan(sizeof(uint64_t), CAPACITY),
		.nr_each = bench_count(8000000 / nr_side),
	};
	uint64_t start;
	size_t i;

	kaus_waitgroup_add(&crowd.senders, (int)nr_side);
	kaus_waitgroup_add(&crowd.receivers, (int)nr_side);
	start = kaus_now_ns();
	for (i = 0; i < nr_side; i++) {
		bench_go(sender, &crowd);
		bench_go(receiver, &crowd);
	}
	kaus_waitgroup_wait(&crowd.senders);
	kaus_chan_close(crowd.ch);
	kaus_waitgroup_wait(&crowd.receivers);
	bench_report(metric,
		     (double)(kaus_now_ns() - start) /
			     (double)(crowd.nr_each * nr_side),
		     "ns");
}

void bench_buffered_1_1(void)
{
	buffered("buffered_1_1", 1);
}

void bench_buffered_8_8(void)
{
	buffered("buffered_8_8", 8);
}
