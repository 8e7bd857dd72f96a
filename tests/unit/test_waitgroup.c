// SPDX-License-Identifier: GPL-2.0-only
/*
 * Wait groups: waiters go on when the count is zero and not before, wrong
 * counts are refused and change nothing, a group is usable again at once.
 *
 * If it is broken: a waiter that parks while the last done comes is never
 * woken (a hang), the second round is released by the first round's count, or
 * a negative count wraps round to four thousand million.
 */
#include "utest.h"

#define NR_WORKERS 500
#define NR_WAITERS 1000
#define NR_ROUNDS 200

struct work {
	struct kaus_waitgroup wg;
	struct kaus_waitgroup ended;
	atomic_int done;
	atomic_int woken;
	int expected;
};

static void work_once(void *arg)
{
	struct work *work = arg;

	if (kaus_goid() % 3 == 0)
		kaus_yield();
	atomic_fetch_add(&work->done, 1);
	CHECK_EQ(0, kaus_waitgroup_done(&work->wg));
}

static int wait_for_workers(void *arg)
{
	struct work work = { .wg = KAUS_WAITGROUP_INIT };
	int i;

	CHECK_EQ(0, kaus_waitgroup_add(&work.wg, NR_WORKERS));
	for (i = 0; i < NR_WORKERS; i++)
		ut_go(work_once, &work);
	CHECK_EQ(0, kaus_waitgroup_wait(&work.wg));
	CHECK_EQ(NR_WORKERS, work.done);
	CHECK_EQ(0, kaus_waitgroup_wait(&work.wg));
	return 0;
}

TEST(waits_for_all)
{
	RUN(wait_for_workers, NULL);
}

static int reuse(void *arg)
{
	struct work work = { 0 };
	int i, round;

	for (round = 1; round <= NR_ROUNDS; round++) {
		for (i = 0; i < 10; i++) {
			CHECK_EQ(0, kaus_waitgroup_add(&work.wg, 1));
			ut_go(work_once, &work);
		}
		CHECK_EQ(0, kaus_waitgroup_wait(&work.wg));
		CHECK_EQ(10 * round, work.done);
	}
	return 0;
}

TEST(reuse_after_wait)
{
	RUN(reuse, NULL);
}

TEST(reuse_on_eight_procs)
{
	struct kaus_options opts = ut_procs(8);

	RUN_WITH(&opts, reuse, NULL);
}

static int wrong_counts(void *arg)
{
	struct kaus_waitgroup wg = KAUS_WAITGROUP_INIT;

	CHECK_EQ(-EINVAL, kaus_waitgroup_done(&wg));
	CHECK_EQ(-EINVAL, kaus_waitgroup_add(&wg, -1));
	CHECK_EQ(-EINVAL, kaus_waitgroup_add(&wg, INT_MIN));
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));

	CHECK_EQ(0, kaus_waitgroup_add(&wg, 3));
	CHECK_EQ(-EINVAL, kaus_waitgroup_add(&wg, -4));
	CHECK_EQ(0, kaus_waitgroup_add(&wg, -3));
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));

	CHECK_EQ(0, kaus_waitgroup_add(&wg, INT_MAX));
	CHECK_EQ(-EOVERFLOW, kaus_waitgroup_add(&wg, 1));
	CHECK_EQ(-EOVERFLOW, kaus_waitgroup_add(&wg, INT_MAX));
	CHECK_EQ(0, kaus_waitgroup_add(&wg, -INT_MAX));
	CHECK_EQ(0, kaus_waitgroup_add(&wg, 0));
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	return 0;
}

TEST(wrong_counts_are_refused)
{
	RUN(wrong_counts, NULL);
}

static void waiter(void *arg)
{
	struct work *work = arg;

	CHECK_EQ(0, kaus_waitgroup_wait(&work->wg));
	CHECK_EQ(1, work->done);
	atomic_fetch_add(&work->woken, 1);
	CHECK_EQ(0, kaus_waitgroup_done(&work->ended));
}

static int many_waiters(void *arg)
{
	struct work work = { 0 };
	int i;

	CHECK_EQ(0, kaus_waitgroup_add(&work.wg, 2));
	CHECK_EQ(0, kaus_waitgroup_add(&work.ended, NR_WAITERS));
	for (i = 0; i < NR_WAITERS; i++)
		ut_go(waiter, &work);
	for (i = 0; i < 20; i++)
		kaus_yield();
	CHECK_EQ(0, kaus_waitgroup_done(&work.wg));
	kaus_sleep(1 * MSEC);
	CHECK_EQ(0, work.woken);
	atomic_store(&work.done, 1);
	CHECK_EQ(0, kaus_waitgroup_done(&work.wg));
	CHECK_EQ(0, kaus_waitgroup_wait(&work.ended));
	CHECK_EQ(NR_WAITERS, work.woken);
	return 0;
}

TEST(many_waiters_wake_together)
{
	RUN(many_waiters, NULL);
}

static void *plain_done(void *arg)
{
	struct work *work = arg;
	int i;

	for (i = 0; i < 10; i++) {
		usleep(100);
		atomic_fetch_add(&work->done, 1);
		CHECK_EQ(0, kaus_waitgroup_done(&work->wg));
	}
	return NULL;
}

static int plain_main(void *arg)
{
	struct work work = { 0 };
	pthread_t threads[4];
	int i;

	CHECK_EQ(0, kaus_waitgroup_add(&work.wg, 40));
	for (i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, plain_done, &work);
	CHECK_EQ(0, kaus_waitgroup_wait(&work.wg));
	CHECK_EQ(40, work.done);
	for (i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	return 0;
}

TEST(plain_threads_may_be_counted)
{
	RUN(plain_main, NULL);
}

/* The waiter's stack holds the group and is gone as soon as wait returns. */
static void *short_lived(void *arg)
{
	struct work work = { 0 };
	int i;

	CHECK_EQ(0, kaus_waitgroup_add(&work.wg, 2));
	for (i = 0; i < 2; i++)
		ut_go(work_once, &work);
	CHECK_EQ(0, kaus_waitgroup_wait(&work.wg));
	memset(&work, 0xff, sizeof(work));
	return NULL;
}

static int on_stacks(void *arg)
{
	struct kaus_g *gs[20];
	int i, round;

	for (round = 0; round < 100; round++) {
		for (i = 0; i < 20; i++)
			gs[i] = ut_spawn(short_lived, NULL);
		for (i = 0; i < 20; i++)
			CHECK_EQ(0, kaus_join(gs[i], NULL));
	}
	return 0;
}

TEST(group_may_vanish_when_wait_returns)
{
	RUN(on_stacks, NULL);
}

TEST_HARNESS_MAIN
