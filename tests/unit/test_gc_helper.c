// SPDX-License-Identifier: GPL-2.0-only
/*
 * Long stops are shared: threads of the collector mark beside the one that has
 * stopped the world, and all is marked once.
 *
 * If it is broken: objects are lost that only the stack of a parked goroutine
 * refers to, or cycles do not come to an end.
 */
#define _GNU_SOURCE
#include "gctest.h"

#define NR_PARKED	(UT_TSAN ? 2000UL : 20000UL)

static struct kaus_chan *gate;
static struct kaus_waitgroup made = KAUS_WAITGROUP_INIT;

/* The only reference to a tree is on its stack. */
static void holder(void *arg)
{
	struct node *tree = make_tree(2, (uintptr_t)arg);
	uint64_t word;

	kaus_waitgroup_done(&made);
	kaus_chan_recv(gate, &word);
	CHECK_EQ(7, count_tree(tree));
	kaus_waitgroup_done(&mutators);
}

static int share(void *arg)
{
	unsigned int depth = UT_TSAN ? 13 : 17;
	uint64_t base;

	base = count_live();
	gate = kaus_chan_make(sizeof(uint64_t), 0);
	for (uintptr_t i = 0; i < NR_PARKED; i++) {
		kaus_waitgroup_add(&mutators, 1);
		kaus_waitgroup_add(&made, 1);
		ut_go(holder, (void *)i);
	}
	kaus_waitgroup_wait(&made);
	elsewhere(make_ballast, (void *)(uintptr_t)depth);
	/* The first of them are long: those after them get help. */
	for (int i = 0; i < 20; i++) {
		check_live(base + 7 * NR_PARKED + (2UL << depth) - 1);
		kaus_sleep(MSEC);
	}
	CHECK_EQ((2UL << depth) - 1, count_tree(ballast));
	kaus_chan_close(gate);
	kaus_waitgroup_wait(&mutators);
	return 0;
}

TEST(long_stops_are_shared)
{
	struct kaus_options opts = ut_procs(4);

	RUN_WITH(&opts, share, NULL);
}

TEST_HARNESS_MAIN
