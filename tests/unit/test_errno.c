// SPDX-License-Identifier: GPL-2.0-only
/*
 * errno belongs to the goroutine: what it was before a yield, a sleep, a
 * channel operation or a preemption it is afterwards, whatever the others did
 * to theirs and on whichever thread it goes on.
 *
 * If it is broken: a goroutine that looks at errno after a failed call acts on
 * another's error. The bug shows only when two of them share a thread.
 */
#include "utest.h"

#define NR_GS 50
#define NR_ROUNDS 200

static struct kaus_chan *ch;
static struct kaus_waitgroup wg;

static void keep_errno(void *arg)
{
	int own = (int)(uintptr_t)arg, i;

	ut_set_errno(own);
	for (i = 0; i < NR_ROUNDS; i++) {
		switch ((i + own) % 4) {
		case 0:
			kaus_yield();
			break;
		case 1:
			kaus_sleep(1 + (uint64_t)own * 100);
			break;
		case 2:
			CHECK_EQ(0, kaus_chan_send(ch, &own));
			break;
		case 3:
			CHECK_EQ(0, kaus_chan_recv(ch, NULL));
			break;
		}
		if (!CHECK_EQ(own, ut_errno()))
			break;
		own += NR_GS;
		ut_set_errno(own);
	}
	kaus_waitgroup_done(&wg);
}

/*
 * Each goroutine sends as often as it receives, in turns, so that whoever has
 * received will send: with a few elements to begin with receivers park, but
 * not for ever, and senders do not.
 */
static int per_g(void *arg)
{
	uintptr_t i;

	ch = kaus_chan_make(sizeof(int), 2 * NR_GS);
	for (i = 0; i < 5; i++)
		CHECK_EQ(0, kaus_chan_send(ch, &(int){ 0 }));
	kaus_waitgroup_add(&wg, NR_GS);
	for (i = 0; i < NR_GS; i++)
		ut_go(keep_errno, (void *)(i + 1));
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	return 0;
}

TEST(errno_is_per_goroutine)
{
	RUN(per_g, NULL);
}

TEST(errno_on_one_proc)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, per_g, NULL);
}

static void *fresh_errno(void *arg)
{
	ut_set_errno((int)(uintptr_t)arg);
	return NULL;
}

static int starting_does_not_touch(void *arg)
{
	struct kaus_g *g;
	int i;

	for (i = 1; i < 100; i++) {
		ut_set_errno(i);
		g = ut_spawn(fresh_errno, (void *)(uintptr_t)(i + 1000));
		CHECK_EQ(i, ut_errno());
		CHECK_EQ(0, kaus_join(g, NULL));
		CHECK_EQ(i, ut_errno());
	}
	return 0;
}

TEST(spawn_and_join_keep_errno)
{
	RUN(starting_does_not_touch, NULL);
}

static atomic_bool stop;

static void hog_with_errno(void *arg)
{
	int own = (int)(uintptr_t)arg;

	while (!atomic_load(&stop)) {
		ut_set_errno(own);
		ut_spin(100000);
		CHECK_EQ(own, ut_errno());
	}
	kaus_waitgroup_done(&wg);
}

static int preempted(void *arg)
{
	uintptr_t i, nr = ut_nr_procs() * 3;

	kaus_waitgroup_add(&wg, (int)nr);
	for (i = 0; i < nr; i++)
		ut_go(hog_with_errno, (void *)(i + 1));
	while (ut_stats().nr_preempts < 50)
		kaus_sleep(5 * MSEC);
	atomic_store(&stop, true);
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	return 0;
}

TEST(preemption_keeps_errno)
{
	UT_SKIP_TSAN(UT_WHY_TSAN);
	RUN(preempted, NULL);
}

TEST_HARNESS_MAIN
