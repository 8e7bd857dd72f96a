// SPDX-License-Identifier: GPL-2.0-only
/*
 * kaus_yield(): the others get their turn. Yielders take turns on one P, and
 * goroutines that only talk to each other do not starve a third.
 *
 * If it is broken: a goroutine that polls with kaus_yield() keeps its P and
 * what it waits for never runs, or a pair that hands the "next" seat back
 * and forth shuts out the rest of the queue.
 */
#include "utest.h"

#define NR_YIELDERS 8
#define NR_TURNS 5000

static atomic_bool flag;

static void set_flag(void *arg)
{
	atomic_store(&flag, true);
}

static int poll_flag(void *arg)
{
	ut_go(set_flag, NULL);
	while (!atomic_load(&flag))
		kaus_yield();
	return 0;
}

TEST(yield_lets_a_new_goroutine_run)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, poll_flag, NULL);
}

struct fair {
	atomic_ulong turns[NR_YIELDERS];
	atomic_ulong least_at_end;
	atomic_bool one_is_through;
	atomic_int next;
	atomic_int ended;
	atomic_bool start;
};

static void yielder(void *arg)
{
	unsigned long least = NR_TURNS;
	struct fair *fair = arg;
	int i, self;

	self = atomic_fetch_add(&fair->next, 1);
	while (!atomic_load(&fair->start))
		kaus_yield();
	for (i = 0; i < NR_TURNS; i++) {
		atomic_fetch_add(&fair->turns[self], 1);
		kaus_yield();
	}
	if (!atomic_exchange(&fair->one_is_through, true)) {
		for (i = 0; i < NR_YIELDERS; i++)
			if (atomic_load(&fair->turns[i]) < least)
				least = atomic_load(&fair->turns[i]);
		atomic_store(&fair->least_at_end, least);
	}
	/* Last: main ends the run when all have said so. */
	atomic_fetch_add(&fair->ended, 1);
}

static int fair_main(void *arg)
{
	struct fair *fair = arg;
	int i;

	for (i = 0; i < NR_YIELDERS; i++)
		ut_go(yielder, fair);
	atomic_store(&fair->start, true);
	while (atomic_load(&fair->ended) < NR_YIELDERS)
		kaus_yield();
	for (i = 0; i < NR_YIELDERS; i++)
		CHECK_EQ(NR_TURNS, fair->turns[i]);
	return 0;
}

/* When the first is through, the last of them on the only P is nearly so. */
TEST(yielders_take_turns)
{
	struct kaus_options opts = ut_procs(1);
	static struct fair fair;

	RUN_WITH(&opts, fair_main, &fair);
	EXPECT_GT(atomic_load(&fair.least_at_end), NR_TURNS * 9UL / 10);
}

TEST(yielders_on_all_procs_finish)
{
	static struct fair fair;

	RUN(fair_main, &fair);
}

struct pair {
	struct kaus_chan *ping;
	struct kaus_chan *pong;
};

static void ping(void *arg)
{
	struct pair *pair = arg;

	while (!kaus_chan_send(pair->ping, NULL))
		kaus_chan_recv(pair->pong, NULL);
}

static void pong(void *arg)
{
	struct pair *pair = arg;

	while (!kaus_chan_recv(pair->ping, NULL))
		kaus_chan_send(pair->pong, NULL);
}

static int starve(void *arg)
{
	struct pair *pair = arg;

	pair->ping = kaus_chan_make(0, 0);
	pair->pong = kaus_chan_make(0, 0);
	ut_go(ping, pair);
	ut_go(pong, pair);
	kaus_sleep(5 * MSEC);
	ut_go(set_flag, NULL);
	while (!atomic_load(&flag))
		kaus_sleep(1 * MSEC);
	return 0;
}

TEST(ping_pong_does_not_starve_others)
{
	struct kaus_options opts = ut_procs(1);
	static struct pair pair;

	RUN_WITH(&opts, starve, &pair);
}

/*
 * What comes from a thread stands in the global queue, and those that give way
 * all the time in the P's own: every 61st turn is for the former. (That one of
 * the latter is preempted, and stands before it there, happens now and then.)
 */
#define GLOBAL_TURN	61
#define NR_OWN		8

static atomic_ulong own_turn, ran_at;

static void count_turns(void *arg)
{
	for (;;) {
		atomic_fetch_add(&own_turn, 1);
		kaus_yield();
	}
}

static void note_turn(void *arg)
{
	atomic_store(&ran_at, atomic_load(&own_turn));
	atomic_store(&flag, true);
}

static void *put_into_the_global_queue(void *arg)
{
	for (int i = 0; i < 50; i++) {
		unsigned long put_at;

		atomic_store(&flag, false);
		ut_go(note_turn, NULL);
		put_at = atomic_load(&own_turn);
		while (!atomic_load(&flag))
			usleep(100);
		/* It may have run before we looked. */
		CHECK((long)(atomic_load(&ran_at) - put_at) <=
		      (NR_OWN + 1) * GLOBAL_TURN);
	}
	atomic_store((atomic_bool *)arg, true);
	return NULL;
}

static int turns(void *arg)
{
	static atomic_bool done;
	pthread_t thread;

	for (int i = 0; i < NR_OWN; i++)
		ut_go(count_turns, NULL);
	CHECK_EQ(0, pthread_create(&thread, NULL, put_into_the_global_queue,
				   &done));
	while (!atomic_load(&done))
		kaus_sleep(1 * MSEC);
	CHECK_EQ(0, pthread_join(thread, NULL));
	return 0;
}

TEST(the_global_queue_has_its_turn)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, turns, NULL);
}

static void spin_yielding(void *arg)
{
	for (;;)
		kaus_yield();
}

static int among_yielders(void *arg)
{
	int i;

	for (i = 0; i < UT_MANY / 10; i++)
		ut_go(spin_yielding, NULL);
	for (i = 0; i < 10; i++)
		kaus_sleep(1 * MSEC);
	return 0;
}

TEST(timers_fire_among_yielders)
{
	RUN(among_yielders, NULL);
}

/*
 * A sleeper among more than fit before it: who of the crowd first sees that it
 * is due notes which turn that was, and the sleeper runs a few turns later, not
 * behind all of them.
 */
#define NR_CROWD	200
#define NR_SLEEPS	20
#define NR_FEW		(NR_CROWD / 4)

static atomic_ulong turn, due_ns, due_turn;

static void watch_and_yield(void *arg)
{
	unsigned long due, none = 0;

	for (;;) {
		atomic_fetch_add(&turn, 1);
		due = atomic_load(&due_ns);
		if (due && kaus_now_ns() >= due)
			atomic_compare_exchange_strong(&due_turn, &none,
						       atomic_load(&turn));
		none = 0;
		kaus_yield();
	}
}

static int sleep_in_crowd(void *arg)
{
	int nr_late = 0;

	for (int i = 0; i < NR_CROWD; i++)
		ut_go(watch_and_yield, NULL);
	for (int i = 0; i < NR_SLEEPS; i++) {
		unsigned long at, now;

		atomic_store(&due_turn, 0);
		atomic_store(&due_ns, kaus_now_ns() + MSEC);
		kaus_sleep_until(atomic_load(&due_ns));
		now = atomic_load(&turn);
		at = atomic_load(&due_turn);
		atomic_store(&due_ns, 0);
		nr_late += at && now - at > NR_FEW;
	}
	/* A preemption puts it behind the others, now and then. */
	CHECK(nr_late < NR_SLEEPS / 2);
	return 0;
}

TEST(a_sleeper_does_not_wait_for_a_crowd)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, sleep_in_crowd, NULL);
}

TEST_HARNESS_MAIN
