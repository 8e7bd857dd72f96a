// SPDX-License-Identifier: GPL-2.0-only
/*
 * Once: the function is called by one, and has returned for all.
 *
 * If it is broken: it is called twice, somebody goes on before it has returned,
 * or one that has waited is not woken (a hang).
 */
#include "utest.h"

#define NR_GS 20
#define NR_ROUNDS 300

struct thing {
	struct kaus_once once;
	struct kaus_waitgroup ended;
	atomic_int calls;
	bool made;
	bool park;
};

static void make(void *arg)
{
	struct thing *t = arg;

	atomic_fetch_add(&t->calls, 1);
	if (t->park)
		kaus_sleep(10 * USEC);
	else
		ut_spin(500);
	t->made = true;
}

static void need(void *arg)
{
	struct thing *t = arg;

	CHECK_EQ(0, kaus_once_do(&t->once, make, t));
	CHECK(t->made);
	CHECK_EQ(0, kaus_waitgroup_done(&t->ended));
}

static void *needing_thread(void *arg)
{
	need(arg);
	return NULL;
}

static int many(void *arg)
{
	pthread_t thread;
	int round, i;

	for (round = 0; round < NR_ROUNDS; round++) {
		struct thing t = { .park = round % 2 };

		CHECK_EQ(0, kaus_waitgroup_add(&t.ended, NR_GS + 1));
		pthread_create(&thread, NULL, needing_thread, &t);
		for (i = 0; i < NR_GS; i++)
			ut_go(need, &t);
		CHECK_EQ(0, kaus_waitgroup_wait(&t.ended));
		pthread_join(thread, NULL);
		CHECK_EQ(1, t.calls);
		CHECK_EQ(0, kaus_once_do(&t.once, make, &t));
		CHECK_EQ(1, t.calls);
	}
	return 0;
}

TEST(called_once_and_over_for_all)
{
	struct kaus_options opts = ut_procs(4);

	RUN_WITH(&opts, many, NULL);
}

static void again(void *arg)
{
	struct thing *t = arg;

	CHECK_EQ(-EDEADLK, kaus_once_do(&t->once, again, t));
	atomic_fetch_add(&t->calls, 1);
}

static void recurse(void)
{
	struct thing t = { .once = KAUS_ONCE_INIT };

	CHECK_EQ(0, kaus_once_do(&t.once, again, &t));
	CHECK_EQ(0, kaus_once_do(&t.once, again, &t));
	CHECK_EQ(1, t.calls);
}

static int recurse_main(void *arg)
{
	recurse();
	return 0;
}

TEST(from_within_itself)
{
	recurse();
	RUN(recurse_main, NULL);
	recurse();
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

struct slow {
	struct kaus_once once;
	struct kaus_chan *go_on;
};

static void take_long(void *arg)
{
	struct slow *s = arg;

	CHECK_EQ(0, kaus_chan_send(s->go_on, NULL));
	CHECK_EQ(0, kaus_chan_recv(s->go_on, NULL));
}

static void *begin(void *arg)
{
	struct slow *s = arg;

	CHECK_EQ(0, kaus_once_do(&s->once, take_long, s));
	return NULL;
}

static int deadline(void *arg)
{
	struct slow s = { .go_on = kaus_chan_make(0, 0) };
	struct kaus_g *g = ut_spawn(begin, &s);

	CHECK_EQ(0, kaus_chan_recv(s.go_on, NULL));
	CHECK_EQ(-ETIMEDOUT, kaus_once_do_until(&s.once, take_long, &s, 0));
	CHECK_EQ(-ETIMEDOUT, kaus_once_do_until(&s.once, take_long, &s,
						kaus_now_ns() + MSEC));
	CHECK_EQ(0, kaus_chan_send(s.go_on, NULL));
	CHECK_EQ(0, kaus_once_do(&s.once, take_long, &s));
	CHECK_EQ(0, kaus_once_do_until(&s.once, take_long, &s, 0));
	CHECK_EQ(0, kaus_join(g, NULL));
	kaus_chan_free(s.go_on);
	return 0;
}

TEST(deadline_is_for_waiting)
{
	RUN(deadline, NULL);
}

TEST_HARNESS_MAIN
