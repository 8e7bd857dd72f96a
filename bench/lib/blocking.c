// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * A hundred goroutines compute while sixteen sleep for 5 ms again and again, in
 * the kernel and without telling the runtime: how much of their speed do the
 * hundred keep, and how often do the sixteen get to sleep? Phases with and
 * without the sixteen take turns, so what else the machine does meets both.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "bench.h"

#define NR_HOGS		100
#define NR_SLEEPERS	16
#define SLEEP_NS	5000000
#define PHASE_NS	500000000ULL
#define NR_PHASES	4	/* of each kind */

/* Apart from each other: two cache lines. */
static struct {
	atomic_ullong nr;
	char pad[120];
} steps[NR_HOGS];
static struct kaus_chan *turn;
static atomic_bool sleepers_on, done;
static atomic_ullong nr_sleeps;
static struct kaus_waitgroup ended;

static void hog(void *arg)
{
	atomic_ullong *nr = arg;
	volatile uint64_t x = 1;

	while (!atomic_load_explicit(&done, memory_order_relaxed)) {
		for (int i = 0; i < 200; i++)
			x = x * 6364136223846793005ULL + 1;
		atomic_store_explicit(nr, *nr + 1, memory_order_relaxed);
	}
	kaus_waitgroup_done(&ended);
}

static void sleeper(void *arg)
{
	const struct timespec ts = { .tv_nsec = SLEEP_NS };
	uint64_t value;

	(void)arg;
	while (!kaus_chan_recv(turn, &value))
		while (atomic_load(&sleepers_on)) {
			nanosleep(&ts, NULL);
			atomic_fetch_add(&nr_sleeps, 1);
		}
	kaus_waitgroup_done(&ended);
}

/* Steps in a second, with the sleepers or without. */
static double phase(bool with)
{
	uint64_t before = 0, after = 0, start, ns, value = 0;
	size_t i;

	atomic_store(&sleepers_on, with);
	for (i = 0; with && i < NR_SLEEPERS; i++)
		kaus_chan_try_send(turn, &value);	/* who is late is on anyway */
	for (i = 0; i < NR_HOGS; i++)
		before += steps[i].nr;
	start = kaus_now_ns();
	kaus_sleep(PHASE_NS);
	for (i = 0; i < NR_HOGS; i++)
		after += steps[i].nr;
	ns = kaus_now_ns() - start;
	atomic_store(&sleepers_on, false);
	kaus_sleep(4 * SLEEP_NS);
	return (double)(after - before) * 1e9 / (double)ns;
}

void bench_blocking(void)
{
	double sum[2] = { 0, 0 };
	uint64_t start, nr;
	size_t i;

	turn = bench_chan(sizeof(uint64_t), NR_SLEEPERS);
	kaus_waitgroup_add(&ended, NR_HOGS + NR_SLEEPERS);
	for (i = 0; i < NR_HOGS; i++)
		bench_go(hog, &steps[i].nr);
	for (i = 0; i < NR_SLEEPERS; i++)
		bench_go(sleeper, NULL);
	phase(true);
	nr = nr_sleeps;
	start = kaus_now_ns();
	for (i = 0; i < bench_count(2 * NR_PHASES); i++)
		sum[i % 2] += phase(i % 2);
	bench_report("blocking_kept", 100 * sum[1] / sum[0], "%");
	bench_report("blocking_sleeps", (double)(nr_sleeps - nr) * 1e9 /
		     (double)(kaus_now_ns() - start), "/s");
	atomic_store(&done, true);
	kaus_chan_close(turn);
	kaus_waitgroup_wait(&ended);
}
