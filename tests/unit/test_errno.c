// SPDX-License-Identifier: GPL-2.0-only
/*
 * errno belongs to the goroutine: what it was before a yield, a sleep, a
 * channel operation or a preemption it is afterwards, whatever the others did
 * to theirs and on whichever thread it goes on.
 *
 * If it is broken: a goroutine that looks at errno after a failed call acts on
 * another's error. The bug shows only when two of them share a thread.
 *
 * get_errno() and set_errno() are calls for a reason: the compiler may take
 * the address of errno once and keep it, and an address from before a park
 * may be another thread's. That hazard is the program's, see kaus(7).
 */
#include "utest.h"

#define NR_GS 50
#define NR_ROUNDS 200

__attribute__((noinline)) static int get_errno(void)
{
	__asm__ volatile("");
	return errno;
}

__attribute__((noinline)) static void set_errno(int value)
{
	__asm__ volatile("");
	errno = value;
}

static struct kaus_chan *ch;
static struct kaus_waitgroup wg;

static void keep_errno(void *arg)
{
	int own = (int)(uintptr_t)arg, i;

	set_errno(own);
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
		if (!CHECK_EQ(own, get_errno()))
			break;
		own += NR_GS;
		set_errno(own);
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
	set_errno((int)(uintptr_t)arg);
	return NULL;
}

static int starting_does_not_touch(void *arg)
{
	struct kaus_g *g;
	int i;

	for (i = 1; i < 100; i++) {
		set_errno(i);
		g = ut_spawn(fresh_errno, (void *)(uintptr_t)(i + 1000));
		CHECK_EQ(i, get_errno());
		CHECK_EQ(0, kaus_join(g, NULL));
		CHECK_EQ(i, get_errno());
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
		set_errno(own);
		ut_spin(100000);
		CHECK_EQ(own, get_errno());
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
	RUN(preempted, NULL);
}

TEST_HARNESS_MAIN
