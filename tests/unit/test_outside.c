// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls from where they are not allowed: what needs a goroutine says -EPERM
 * on a plain thread, what needs a running runtime says -EPERM before and after
 * it, and what works anywhere does.
 *
 * If it is broken: a thread of the program's own is parked as if it were a
 * goroutine, or a null "current G" is followed and the program crashes.
 */
#include "utest.h"

static void nop(void *arg)
{
}

static void *nop_value(void *arg)
{
	return arg;
}

/* What holds on every thread that is not running a goroutine. */
static void check_outside(struct kaus_chan *ch)
{
	CHECK_EQ(0, kaus_goid());
	CHECK_EQ(-EPERM, kaus_preempt_disable());
	CHECK_EQ(-EPERM, kaus_preempt_enable());
	CHECK_EQ(-EPERM, kaus_lock_thread());
	CHECK_EQ(-EPERM, kaus_unlock_thread());
	CHECK_EQ(-EPERM, kaus_set_name("name"));
	kaus_yield();
	CHECK_EQ(-EPERM, kaus_sleep(0));
	CHECK_EQ(-EPERM, kaus_sleep(1 * SEC));
	CHECK_EQ(-EPERM, kaus_sleep_until(0));
	CHECK_EQ(-EPERM, kaus_sleep_until(UINT64_MAX));
	CHECK_EQ(0, kaus_chan_len(ch));
	CHECK_EQ(1, kaus_chan_cap(ch));
	CHECK(kaus_now_ns() > 0);
}

/* What holds while no runtime runs. */
static void check_no_runtime(void)
{
	struct kaus_waitgroup wg = KAUS_WAITGROUP_INIT;
	struct kaus_g *g = (struct kaus_g *)&wg;
	struct kaus_chan *ch;
	struct kaus_case c;
	int value = 1;

	ch = kaus_chan_make(sizeof(int), 1);
	if (!CHECK(ch))
		return;
	c = (struct kaus_case)KAUS_SEND(ch, &value);
	check_outside(ch);
	CHECK_EQ(-EPERM, kaus_go(nop, NULL));
	CHECK_EQ(-EPERM, kaus_spawn(nop_value, NULL, &g));
	CHECK(g == (struct kaus_g *)&wg);
	CHECK_EQ(-EPERM, kaus_join(g, NULL));
	CHECK_EQ(-EPERM, kaus_join_until(g, NULL, 0));
	CHECK_EQ(-EPERM, kaus_set_slice(0));
	CHECK_EQ(-EPERM, kaus_chan_send(ch, &value));
	CHECK_EQ(-EPERM, kaus_chan_recv(ch, &value));
	CHECK_EQ(-EPERM, kaus_chan_send(NULL, &value));
	CHECK_EQ(-EPERM, kaus_waitgroup_wait(&wg));
	CHECK_EQ(-EPERM, kaus_select(&c, 1));
	CHECK_EQ(-EPERM, kaus_select_try(&c, 1));
	CHECK_EQ(-EPERM, kaus_chan_try_send(ch, &value));
	CHECK_EQ(-EPERM, kaus_chan_try_recv(ch, &value));
	CHECK_EQ(-EPERM, kaus_chan_close(ch));
	CHECK_EQ(-EPERM, kaus_waitgroup_add(&wg, 1));
	kaus_chan_free(ch);
	kaus_chan_free(NULL);
}

TEST(before_the_runtime)
{
	struct kaus_stats st = { .size = sizeof(st) };

	check_no_runtime();
	EXPECT_EQ(-EPERM, kaus_stats_read(&st));
	EXPECT_EQ(-EPERM, kaus_dump(STDERR_FILENO));
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

static int return_0(void *arg)
{
	return 0;
}

TEST(after_the_runtime)
{
	RUN(return_0, NULL);
	check_no_runtime();
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

struct plain {
	struct kaus_chan *ch;
	struct kaus_g *g;
};

static void *plain_thread(void *arg)
{
	struct plain *plain = arg;

	check_outside(plain->ch);
	CHECK_EQ(-EINVAL, kaus_join(NULL, NULL));
	CHECK_EQ(0, kaus_set_slice(0));
	return NULL;
}

static int beside_plain_thread(void *arg)
{
	struct plain plain = { 0 };
	pthread_t thread;

	plain.ch = kaus_chan_make(sizeof(int), 1);
	plain.g = ut_spawn(nop_value, "value");
	if (CHECK_EQ(0, pthread_create(&thread, NULL, plain_thread, &plain)))
		pthread_join(thread, NULL);
	CHECK_EQ(0, kaus_join(plain.g, NULL));
	kaus_chan_free(plain.ch);
	return 0;
}

TEST(plain_thread_beside_the_runtime)
{
	RUN(beside_plain_thread, NULL);
}

static int clock_main(void *arg)
{
	struct timespec ts;
	uint64_t a, b, mine;

	a = kaus_now_ns();
	clock_gettime(CLOCK_MONOTONIC, &ts);
	mine = (uint64_t)ts.tv_sec * SEC + (uint64_t)ts.tv_nsec;
	b = kaus_now_ns();
	CHECK(a <= mine && mine <= b);
	return 0;
}

TEST(now_is_clock_monotonic)
{
	clock_main(NULL);
	RUN(clock_main, NULL);
}

TEST_HARNESS_MAIN
