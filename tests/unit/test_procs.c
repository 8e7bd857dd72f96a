// SPDX-License-Identifier: GPL-2.0-only
/*
 * The number of Ps changes while goroutines run: as many of them as there are
 * Ps run at the same moment afterwards, and what waited for a P that is gone
 * waits for another one.
 *
 * If it is broken: goroutines or timers are left behind in a P that nobody has
 * any more, and the program hangs; or a program runs on fewer CPUs than it was
 * given, or on more.
 */
#include <sched.h>

#include "utest.h"

static int return_0(void *arg)
{
	(void)arg;
	return 0;
}

/* ---- values ---- */

static int values(void *arg)
{
	(void)arg;
	CHECK_EQ(2, kaus_procs());
	CHECK_EQ(-EINVAL, kaus_set_procs(0));
	CHECK_EQ(-EINVAL, kaus_set_procs(1025));
	CHECK_EQ(-EINVAL, kaus_set_procs(UINT_MAX));
	CHECK_EQ(2, kaus_procs());
	CHECK_EQ(0, kaus_set_procs(2));
	CHECK_EQ(2, kaus_procs());
	CHECK_EQ(0, kaus_set_procs(1024));
	CHECK_EQ(1024, kaus_procs());
	CHECK_EQ(1024, ut_stats().nr_procs);
	CHECK_EQ(0, kaus_set_procs(1));
	CHECK_EQ(1, kaus_procs());
	CHECK_EQ(1, ut_stats().nr_procs);
	CHECK_EQ(1, ut_stats().nr_gs);
	return 0;
}

TEST(from_one_to_the_greatest_number)
{
	struct kaus_options opts = ut_procs(2);

	EXPECT_EQ(-EPERM, kaus_set_procs(1));
	EXPECT_EQ(0U, kaus_procs());
	RUN_WITH(&opts, values, NULL);
	EXPECT_EQ(-EPERM, kaus_set_procs(1));
	EXPECT_EQ(0U, kaus_procs());
}

TEST(a_run_with_the_greatest_number)
{
	struct kaus_options opts = ut_procs(1024);

	UT_SKIP_TSAN("too many threads for ThreadSanitizer");
	RUN_WITH(&opts, return_0, NULL);
}

/* ---- how many run at the same moment ---- */

static struct kaus_waitgroup wg;
static atomic_uint nr_inside, nr_met;

/* Meet @arg others without giving way: each needs a P of its own. */
static void meet(void *arg)
{
	unsigned int nr = (unsigned int)(uintptr_t)arg;

	CHECK_EQ(0, kaus_preempt_disable());
	atomic_fetch_add(&nr_met, 1);
	while (atomic_load(&nr_met) < nr)
		sched_yield();
	CHECK_EQ(0, kaus_preempt_enable());
	kaus_waitgroup_done(&wg);
}

static void all_meet(unsigned int nr)
{
	atomic_store(&nr_met, 0);
	kaus_waitgroup_add(&wg, (int)nr);
	for (unsigned int i = 0; i < nr; i++)
		ut_go(meet, (void *)(uintptr_t)nr);
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
}

/* Never more than @arg at a time. */
static void exclude(void *arg)
{
	unsigned int nr = (unsigned int)(uintptr_t)arg;

	for (int i = 0; i < 20; i++) {
		CHECK_EQ(0, kaus_preempt_disable());
		CHECK(atomic_fetch_add(&nr_inside, 1) < nr);
		ut_spin(2000);
		atomic_fetch_sub(&nr_inside, 1);
		CHECK_EQ(0, kaus_preempt_enable());
		kaus_yield();
	}
	kaus_waitgroup_done(&wg);
}

static void none_exceeds(unsigned int nr)
{
	kaus_waitgroup_add(&wg, 20);
	for (int i = 0; i < 20; i++)
		ut_go(exclude, (void *)(uintptr_t)nr);
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
}

static int up_and_down(void *arg)
{
	static const unsigned int numbers[] = { 4, 2, 8, 1, 3, 16, 1, 2 };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		CHECK_EQ(0, kaus_set_procs(numbers[i]));
		/* By lot nobody may be woken for them. */
		if (!arg)
			all_meet(numbers[i]);
		none_exceeds(numbers[i]);
	}
	return 0;
}

TEST(so_many_run_at_once)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, up_and_down, NULL);
}

TEST(so_many_run_at_once_by_lot)
{
	struct kaus_options opts = ut_procs(2);

	opts.sched_random = 7;
	RUN_WITH(&opts, up_and_down, &opts);
}

/* ---- those that compute ---- */

static atomic_bool stop;
static atomic_ulong counters[6];

static void computing(void *arg)
{
	while (!atomic_load(&stop))
		atomic_fetch_add((atomic_ulong *)arg, 1);
	kaus_waitgroup_done(&wg);
}

static int beside_hogs(void *arg)
{
	(void)arg;
	kaus_waitgroup_add(&wg, 6);
	for (int i = 0; i < 6; i++)
		ut_go(computing, &counters[i]);
	for (int round = 0; round < 6; round++) {
		CHECK_EQ(0, kaus_set_procs(round % 2 ? 1 : 3));
		for (int i = 0; i < 6; i++) {
			unsigned long seen = atomic_load(&counters[i]);

			while (atomic_load(&counters[i]) == seen)
				kaus_sleep(200 * USEC);
		}
	}
	/* They were in their own code all the time, and still take turns. */
	CHECK(ut_stats().nr_preempts > 0);
	atomic_store(&stop, true);
	kaus_waitgroup_wait(&wg);
	return 0;
}

TEST(computing_goroutines_give_way)
{
	struct kaus_options opts = ut_procs(2);

	UT_SKIP_TSAN(UT_WHY_TSAN);
	opts.slice_ns = 1 * MSEC;
	RUN_WITH(&opts, beside_hogs, NULL);
}

/* ---- nothing is left behind ---- */

#define NR_WORK 300

static struct kaus_chan *ch;
static atomic_uint nr_done;

static void yields(void *arg)
{
	(void)arg;
	for (int i = 0; i < 50; i++)
		kaus_yield();
	atomic_fetch_add(&nr_done, 1);
}

static void sleeps(void *arg)
{
	(void)arg;
	for (int i = 0; i < 5; i++)
		kaus_sleep(100 * USEC + (uintptr_t)arg * USEC);
	atomic_fetch_add(&nr_done, 1);
}

static void sends(void *arg)
{
	(void)arg;
	for (int i = 0; i < 20; i++)
		CHECK_EQ(0, kaus_chan_send(ch, &i));
	atomic_fetch_add(&nr_done, 1);
}

static void receives(void *arg)
{
	int value;

	(void)arg;
	for (int i = 0; i < 20; i++)
		CHECK_EQ(0, kaus_chan_recv(ch, &value));
	atomic_fetch_add(&nr_done, 1);
}

static void locks_thread(void *arg)
{
	(void)arg;
	CHECK_EQ(0, kaus_lock_thread());
	for (int i = 0; i < 5; i++)
		kaus_yield();
	CHECK_EQ(0, kaus_unlock_thread());
	atomic_fetch_add(&nr_done, 1);
}

static void in_the_kernel(void *arg)
{
	struct timespec ts = { 0, 500 * USEC };

	(void)arg;
	nanosleep(&ts, NULL);
	atomic_fetch_add(&nr_done, 1);
}

static void computes(void *arg)
{
	(void)arg;
	ut_spin(100000);
	atomic_fetch_add(&nr_done, 1);
}

static void (*const works[])(void *) = {
	yields, sleeps, sends, receives, locks_thread, in_the_kernel, computes,
};
#define NR_WORKS (sizeof(works) / sizeof(works[0]))

static unsigned int start_all(void)
{
	for (unsigned int i = 0; i < NR_WORK; i++)
		for (size_t w = 0; w < NR_WORKS; w++)
			if (works[w] != locks_thread || i % 20 == 0)
				ut_go(works[w], (void *)(uintptr_t)i);
	return NR_WORK * (NR_WORKS - 1) + NR_WORK / 20;
}

static int at_random(void *arg)
{
	uint64_t state = 42;
	unsigned int nr;

	(void)arg;
	ch = kaus_chan_make(sizeof(int), 4);
	nr = start_all();
	while (atomic_load(&nr_done) < nr) {
		CHECK_EQ(0, kaus_set_procs(1 + ut_rand(&state) % 8));
		kaus_sleep(ut_rand(&state) % 2000 * USEC);
	}
	while (ut_stats().nr_gs > 1)
		kaus_sleep(100 * USEC);
	kaus_chan_free(ch);
	return 0;
}

TEST(nothing_is_left_behind)
{
	struct kaus_options opts = ut_procs(8);

	opts.slice_ns = 1 * MSEC;
	RUN_WITH(&opts, at_random, NULL);
}

TEST(nothing_is_left_behind_by_lot)
{
	struct kaus_options opts = ut_procs(4);

	opts.sched_random = 11;
	RUN_WITH(&opts, at_random, NULL);
}

/* Without a pause, by goroutines and plain threads at once. */
static atomic_uint nr_changers;

static void changes(void *arg)
{
	for (unsigned int i = 0; i < 30; i++)
		CHECK_EQ(0, kaus_set_procs(1 + (i * (uintptr_t)arg) % 5));
	atomic_fetch_sub(&nr_changers, 1);
}

static void *changing_thread(void *arg)
{
	changes(arg);
	return NULL;
}

static int by_many(void *arg)
{
	pthread_t threads[2];
	unsigned int nr;

	(void)arg;
	ch = kaus_chan_make(sizeof(int), 4);
	nr = start_all();
	atomic_store(&nr_changers, 5);
	for (uintptr_t i = 0; i < 2; i++)
		CHECK_EQ(0, pthread_create(&threads[i], NULL, changing_thread,
					   (void *)(i + 1)));
	for (uintptr_t i = 0; i < 3; i++)
		ut_go(changes, (void *)(i + 3));
	while (atomic_load(&nr_done) < nr || atomic_load(&nr_changers))
		kaus_sleep(500 * USEC);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(0, kaus_set_procs(3));
	CHECK_EQ(3, kaus_procs());
	kaus_chan_free(ch);
	return 0;
}

TEST(changed_by_many_at_once)
{
	struct kaus_options opts = ut_procs(3);

	opts.slice_ns = 1 * MSEC;
	RUN_WITH(&opts, by_many, NULL);
}

/* ---- timers ---- */

#define NR_TIMERS 500

static struct kaus_timer timers[NR_TIMERS];
static atomic_uint nr_fired;

static void fired(void *arg)
{
	(void)arg;
	atomic_fetch_add(&nr_fired, 1);
}

static void arm(void *arg)
{
	struct kaus_timer *t = arg;

	kaus_timer_init(t, fired, NULL);
	CHECK_EQ(0, kaus_timer_start(t, kaus_now_ns() + 3600 * SEC, 0));
	kaus_waitgroup_done(&wg);
}

static void arm_all(unsigned int nr)
{
	kaus_waitgroup_add(&wg, (int)nr);
	for (unsigned int i = 0; i < nr; i++) {
		ut_go(arm, &timers[i]);
		if (i % 16 == 0)
			kaus_sleep(20 * USEC);
	}
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
}

static int stop_timers(void *arg)
{
	(void)arg;
	arm_all(NR_TIMERS);
	CHECK_EQ(0, kaus_set_procs(3));
	CHECK_EQ(NR_TIMERS, ut_stats().nr_timers);
	CHECK_EQ(0, kaus_set_procs(1));
	CHECK_EQ(NR_TIMERS, ut_stats().nr_timers);
	CHECK_EQ(0, kaus_set_procs(4));
	for (int i = 0; i < NR_TIMERS; i++) {
		CHECK_EQ(1, kaus_timer_stop(&timers[i]));
		CHECK_EQ(0, kaus_timer_stop(&timers[i]));
	}
	CHECK_EQ(0, ut_stats().nr_timers);
	CHECK_EQ(0, nr_fired);
	return 0;
}

TEST(timers_can_be_stopped_afterwards)
{
	struct kaus_options opts = ut_procs(8);

	RUN_WITH(&opts, stop_timers, NULL);
}

static atomic_bool armed_enough;

/* From outside: on whatever P is idle, also one that is about to go. */
static void *arms_and_stops(void *arg)
{
	static struct kaus_timer t = KAUS_TIMER_INIT(fired, NULL);
	unsigned long n = 0;

	(void)arg;
	while (!atomic_load(&armed_enough)) {
		CHECK_EQ(0, kaus_timer_start(&t, kaus_now_ns() + 3600 * SEC,
					     0));
		CHECK_EQ(1, kaus_timer_stop(&t));
		n++;
	}
	CHECK(n > 0);
	return NULL;
}

static int from_outside(void *arg)
{
	pthread_t thread;

	(void)arg;
	CHECK_EQ(0, pthread_create(&thread, NULL, arms_and_stops, NULL));
	for (unsigned int i = 0; i < 200; i++) {
		CHECK_EQ(0, kaus_set_procs(1 + i % 8));
		kaus_sleep(50 * USEC);
	}
	atomic_store(&armed_enough, true);
	pthread_join(thread, NULL);
	CHECK_EQ(0, ut_stats().nr_timers);
	return 0;
}

TEST(timers_of_plain_threads_are_found)
{
	struct kaus_options opts = ut_procs(4);

	RUN_WITH(&opts, from_outside, NULL);
}

/* They fire, on one P, in a process that sleeps otherwise. */
static void *sleep_once(void *arg)
{
	kaus_sleep(5 * MSEC + (uintptr_t)arg * 100 * USEC);
	return NULL;
}

static int sleepers(void *arg)
{
	struct kaus_g *gs[100];

	(void)arg;
	for (uintptr_t i = 0; i < 100; i++)
		gs[i] = ut_spawn(sleep_once, (void *)i);
	kaus_sleep(1 * MSEC);
	CHECK_EQ(0, kaus_set_procs(1));
	for (int i = 0; i < 100; i++)
		CHECK_EQ(0, kaus_join(gs[i], NULL));
	return 0;
}

TEST(timers_fire_afterwards)
{
	struct kaus_options opts = ut_procs(8);

	RUN_WITH(&opts, sleepers, NULL);
}

/* ---- bound or not ---- */

static int bound(void *arg)
{
	long nr_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned int nr_procs = nr_cpus < 8 ? 8 : (unsigned int)nr_cpus + 1;
	cpu_set_t set;

	(void)arg;
	/* More than there are CPUs: nobody is bound to one. */
	CHECK_EQ(0, kaus_set_procs(nr_procs));
	all_meet(nr_procs);
	kaus_yield();
	CPU_ZERO(&set);
	CHECK_EQ(0, sched_getaffinity(0, sizeof(set), &set));
	CHECK_EQ(nr_cpus, CPU_COUNT(&set));
	CHECK_EQ(0, kaus_set_procs(1));
	kaus_sleep(1 * MSEC);
	CPU_ZERO(&set);
	CHECK_EQ(0, sched_getaffinity(0, sizeof(set), &set));
	CHECK_EQ(1, CPU_COUNT(&set));
	return 0;
}

TEST(threads_are_bound_while_there_is_a_cpu_for_each)
{
	struct kaus_options opts = ut_procs(1);
	cpu_set_t set;

	CPU_ZERO(&set);
	sched_getaffinity(0, sizeof(set), &set);
	if (CPU_COUNT(&set) != sysconf(_SC_NPROCESSORS_ONLN))
		SKIP(return, "the process may not use all CPUs");
	opts.bind = 1;
	RUN_WITH(&opts, bound, NULL);
}

TEST_HARNESS_MAIN
