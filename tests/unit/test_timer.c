// SPDX-License-Identifier: GPL-2.0-only
/*
 * Timers that start goroutines: not early, as often as they should, and not
 * any more once they are stopped.
 *
 * If it is broken: a timer fires early, twice, or after it was stopped, perhaps
 * in memory that is something else by then (a crash), or never (a hang).
 */
#include "utest.h"

#define NR_TIMERS 2000

struct alarm {
	struct kaus_timer timer;
	struct kaus_waitgroup *wg;
	uint64_t deadline;
	atomic_int fired;
	atomic_uint_least64_t goid;
};

static void ring(void *arg)
{
	struct alarm *a = arg;

	CHECK(kaus_now_ns() >= a->deadline);
	a->goid = kaus_goid();
	atomic_fetch_add(&a->fired, 1);
	if (a->wg)
		CHECK_EQ(0, kaus_waitgroup_done(a->wg));
}

static int once_each(void *arg)
{
	struct alarm *alarms = calloc(NR_TIMERS, sizeof(*alarms));
	struct kaus_waitgroup wg = KAUS_WAITGROUP_INIT;
	uint64_t rand = 1;
	int i;

	CHECK_EQ(0, kaus_waitgroup_add(&wg, NR_TIMERS));
	for (i = 0; i < NR_TIMERS; i++) {
		struct alarm *a = &alarms[i];

		a->wg = &wg;
		a->deadline = kaus_now_ns() + ut_rand(&rand) % (20 * MSEC);
		kaus_timer_init(&a->timer, ring, a);
		CHECK_EQ(0, kaus_timer_start(&a->timer, a->deadline, 0));
	}
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	for (i = 0; i < NR_TIMERS; i++) {
		CHECK_EQ(1, alarms[i].fired);
		CHECK(alarms[i].goid > 1);
		CHECK_EQ(0, kaus_timer_stop(&alarms[i].timer));
	}
	free(alarms);
	return 0;
}

TEST(each_fires_once_and_not_early)
{
	RUN(once_each, NULL);
}

static int stopped(void *arg)
{
	struct alarm a = { .deadline = 0 };

	a.timer = (struct kaus_timer)KAUS_TIMER_INIT(ring, &a);
	CHECK_EQ(0, kaus_timer_stop(&a.timer));
	CHECK_EQ(0, kaus_timer_start(&a.timer, kaus_now_ns() + 100 * SEC, 0));
	CHECK_EQ(1, kaus_timer_stop(&a.timer));
	CHECK_EQ(0, kaus_timer_stop(&a.timer));
	CHECK_EQ(0, kaus_timer_start(&a.timer, KAUS_NO_DEADLINE, 0));
	CHECK_EQ(0, kaus_timer_stop(&a.timer));
	CHECK_EQ(0, a.fired);

	/* The later start counts. */
	CHECK_EQ(0, kaus_timer_start(&a.timer, kaus_now_ns() + 100 * SEC, 0));
	a.deadline = kaus_now_ns() + MSEC;
	CHECK_EQ(0, kaus_timer_start(&a.timer, a.deadline, 0));
	while (!a.fired)
		kaus_sleep(100 * USEC);
	CHECK_EQ(0, kaus_timer_stop(&a.timer));
	CHECK_EQ(1, a.fired);

	/* In the past is at once. */
	CHECK_EQ(0, kaus_timer_start(&a.timer, 1, 0));
	while (a.fired < 2)
		kaus_yield();
	return 0;
}

TEST(stop_and_start_anew)
{
	RUN(stopped, NULL);
}

static int periodic(void *arg)
{
	struct alarm a = { .deadline = kaus_now_ns() + MSEC };
	struct kaus_stats st = { .size = sizeof(st) };
	int seen;

	kaus_timer_init(&a.timer, ring, &a);
	CHECK_EQ(0, kaus_timer_start(&a.timer, a.deadline, 200 * USEC));
	while (a.fired < 20)
		kaus_sleep(100 * USEC);
	CHECK(kaus_now_ns() >= a.deadline + 19 * 200 * USEC);
	CHECK_EQ(1, kaus_timer_stop(&a.timer));
	/* Those that have been started before may still be on their way. */
	do {
		kaus_yield();
		CHECK_EQ(0, kaus_stats_read(&st));
	} while (st.nr_gs > 1);
	seen = a.fired;
	CHECK_EQ(0, kaus_sleep(2 * MSEC));
	CHECK_EQ(seen, a.fired);
	return 0;
}

TEST(period_until_stopped)
{
	RUN(periodic, NULL);
}

static atomic_int nr_fired;

static void count(void *arg)
{
	atomic_fetch_add(&nr_fired, 1);
}

/* Stopped at the moment it fires: either the one or the other. */
static void *stop_at_once(void *arg)
{
	uint64_t rand = kaus_now_ns() | 1;
	long started = 0;
	int i;

	for (i = 0; i < 3000; i++) {
		struct kaus_timer t = KAUS_TIMER_INIT(count, NULL);
		uint64_t now = kaus_now_ns();

		CHECK_EQ(0, kaus_timer_start(&t, now + ut_rand(&rand) % 5000,
					     0));
		ut_spin(ut_rand(&rand) % 4000);
		started += !kaus_timer_stop(&t);
		memset(&t, 0xff, sizeof(t));
	}
	return (void *)started;
}

static int stop_races(void *arg)
{
	struct kaus_g *gs[4];
	pthread_t thread;
	long expected = 0;
	void *value;
	int i;

	pthread_create(&thread, NULL, stop_at_once, NULL);
	for (i = 0; i < 4; i++)
		gs[i] = ut_spawn(stop_at_once, NULL);
	for (i = 0; i < 4; i++) {
		CHECK_EQ(0, kaus_join(gs[i], &value));
		expected += (long)value;
	}
	pthread_join(thread, &value);
	expected += (long)value;
	while (nr_fired < expected)
		kaus_sleep(100 * USEC);
	CHECK_EQ(0, kaus_sleep(MSEC));
	CHECK_EQ(expected, nr_fired);
	return 0;
}

TEST(stopped_or_fired_but_not_both)
{
	struct kaus_options opts = ut_procs(4);

	RUN_WITH(&opts, stop_races, NULL);
}

/* ---- many at once ---- */

#define NR_DUE 1000
#define WHY_SLOW "ThreadSanitizer maps memory for each goroutine that starts"

static atomic_int_least64_t most_alive;

static void see_alive(void *arg)
{
	struct kaus_stats st = { .size = sizeof(st) };

	CHECK_EQ(0, kaus_stats_read(&st));
	if ((int64_t)st.nr_gs > most_alive)
		most_alive = (int64_t)st.nr_gs;
	CHECK_EQ(0, kaus_waitgroup_done(arg));
}

static int due_at_once(void *arg)
{
	struct kaus_timer *timers = calloc(NR_DUE, sizeof(*timers));
	struct kaus_waitgroup wg = KAUS_WAITGROUP_INIT;

	CHECK_EQ(0, kaus_waitgroup_add(&wg, NR_DUE));
	kaus_preempt_disable();
	for (int i = 0; i < NR_DUE; i++) {
		kaus_timer_init(&timers[i], see_alive, &wg);
		CHECK_EQ(0, kaus_timer_start(&timers[i], 1, 0));
	}
	kaus_preempt_enable();
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	free(timers);
	return 0;
}

/* Or each takes a stack of its own, however short it runs. */
TEST(those_that_fire_run_before_others_fire)
{
	UT_SKIP_TSAN(WHY_SLOW);
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, due_at_once, NULL);
	EXPECT_LT(most_alive, NR_DUE / 5);
}

#define NR_LATE 64

static void dawdle(void *arg)
{
	ut_spin(5000);
}

static atomic_bool outsider_ran;

static void outsider(void *arg)
{
	outsider_ran = true;
}

static void *start_outsider(void *arg)
{
	CHECK_EQ(0, kaus_go(outsider, NULL));
	return NULL;
}

/* Timers that are late for ever; what plain threads start waits behind them. */
static int always_late(void *arg)
{
	static struct kaus_timer timers[NR_LATE];
	pthread_t thread;

	for (int i = 0; i < NR_LATE; i++) {
		kaus_timer_init(&timers[i], dawdle, NULL);
		CHECK_EQ(0, kaus_timer_start(&timers[i], 1, USEC));
	}
	pthread_create(&thread, NULL, start_outsider, NULL);
	while (!outsider_ran)
		kaus_yield();
	pthread_join(thread, NULL);
	for (int i = 0; i < NR_LATE; i++)
		kaus_timer_stop(&timers[i]);
	return 0;
}

TEST(late_timers_leave_others_a_turn)
{
	UT_SKIP_TSAN(WHY_SLOW);
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, always_late, NULL);
}

/*
 * A million of them, a thousand at each moment: stopped, put off and brought
 * forward in between, so that the table grows, has holes and is sifted both ways.
 * In virtual time it is known exactly which have fired when.
 */
#define NR_MOMENTS	1000
#define MANY		(UT_TSAN ? 20000 : getenv("KAUS_VM") ? 100000 : 1000000)

static atomic_long nr_rung;

static void ring_once(void *arg)
{
	CHECK(kaus_now_ns() == *(uint64_t *)arg);
	atomic_fetch_add(&nr_rung, 1);
}

static int many(void *arg)
{
	const long nr = MANY;
	struct kaus_timer *timers = calloc((size_t)nr, sizeof(*timers));
	uint64_t *due = calloc((size_t)nr, sizeof(*due));
	uint64_t start = kaus_now_ns(), rand = 7;

	for (long i = 0; i < nr; i++) {
		due[i] = start + SEC + ut_rand(&rand) % NR_MOMENTS * MSEC;
		kaus_timer_init(&timers[i], ring_once, &due[i]);
		CHECK_EQ(0, kaus_timer_start(&timers[i], due[i], 0));
	}
	CHECK_EQ(nr, ut_stats().nr_timers);
	for (long i = 0; i < nr; i++) {
		switch (i % 4) {
		case 0:
			CHECK_EQ(1, kaus_timer_stop(&timers[i]));
			break;
		case 1:
			due[i] += 10 * SEC;
			CHECK_EQ(0, kaus_timer_start(&timers[i], due[i], 0));
			break;
		case 2:
			due[i] -= SEC / 2;
			CHECK_EQ(0, kaus_timer_start(&timers[i], due[i], 0));
			break;
		default:
			break;
		}
	}
	CHECK_EQ(nr * 3 / 4, ut_stats().nr_timers);
	CHECK_EQ(0, kaus_sleep_until(start + SEC / 2 - 1));
	CHECK_EQ(0, atomic_load(&nr_rung));
	CHECK_EQ(0, kaus_sleep_until(start + 3 * SEC));
	CHECK_EQ(nr / 2, atomic_load(&nr_rung));
	CHECK_EQ(0, kaus_sleep_until(start + 13 * SEC));
	CHECK_EQ(nr * 3 / 4, atomic_load(&nr_rung));
	CHECK_EQ(0, ut_stats().nr_timers);
	for (long i = 0; i < nr; i++)
		CHECK_EQ(0, kaus_timer_stop(&timers[i]));
	free(timers);
	free(due);
	return 0;
}

TEST(a_million_of_them)
{
	struct kaus_options opts = ut_procs(0);

	opts.virtual_time = 1;
	RUN_WITH(&opts, many, NULL);
}

#define NR_CROWD 19200

static void *arm_quarter(void *arg)
{
	uint64_t now = kaus_now_ns(), rand = now | 1;
	struct alarm *alarms = arg;

	for (int i = 0; i < NR_CROWD / 4; i++) {
		struct alarm *a = &alarms[i];

		a->deadline = now + ut_rand(&rand) % (i % 2 ? SEC : SEC / 4);
		if (i % 16 == 0)
			a->deadline = now + 3600 * SEC + i * SEC;
		kaus_timer_init(&a->timer, ring, a);
		CHECK_EQ(0, kaus_timer_start(&a->timer, a->deadline, 0));
	}
	return NULL;
}

/* Armed on several Ps, of which one stays; a third is stopped. */
static int crowd(void *arg)
{
	struct alarm *alarms = calloc(NR_CROWD, sizeof(*alarms));
	struct kaus_stats st = { .size = sizeof(st) };
	int i, expected, nr_stopped = 0, seen;
	struct kaus_g *gs[4];

	for (i = 0; i < 4; i++)
		gs[i] = ut_spawn(arm_quarter, &alarms[i * NR_CROWD / 4]);
	for (i = 0; i < 4; i++)
		CHECK_EQ(0, kaus_join(gs[i], NULL));
	CHECK_EQ(0, kaus_stats_read(&st));
	CHECK(st.nr_timers >= NR_CROWD / 16);
	CHECK_EQ(0, kaus_set_procs(1));
	for (i = 0; i < NR_CROWD; i += 3)
		nr_stopped += kaus_timer_stop(&alarms[i].timer);
	CHECK(nr_stopped >= NR_CROWD / 16 / 3);
	expected = NR_CROWD - nr_stopped;
	/* Those that are hours away. */
	for (i = 0; i < NR_CROWD; i++)
		expected -= i % 16 == 0 && i % 3 != 0;
	do {
		CHECK_EQ(0, kaus_sleep(10 * MSEC));
		for (seen = i = 0; i < NR_CROWD; i++)
			seen += alarms[i].fired;
	} while (seen < expected);
	for (i = 0; i < NR_CROWD; i++) {
		CHECK(alarms[i].fired <= 1);
		if (kaus_timer_stop(&alarms[i].timer))
			CHECK(i % 16 == 0 && i % 3 != 0 && !alarms[i].fired);
	}
	CHECK_EQ(expected, seen);
	CHECK_EQ(0, kaus_stats_read(&st));
	CHECK_EQ(0, st.nr_timers);
	free(alarms);
	return 0;
}

TEST(a_crowd_far_away_when_its_p_goes)
{
	struct kaus_options opts = ut_procs(4);

	RUN_WITH(&opts, crowd, NULL);
}

TEST(without_the_runtime)
{
	struct kaus_timer t = KAUS_TIMER_INIT(count, NULL);

	EXPECT_EQ(-EPERM, kaus_timer_start(&t, 0, 0));
	EXPECT_EQ(-EPERM, kaus_timer_stop(&t));
}

TEST_HARNESS_MAIN
