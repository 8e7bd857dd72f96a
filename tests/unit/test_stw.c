// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stopping the world: while it is stopped no goroutine does anything, whatever
 * it was in the midst of, and afterwards all of them go on. A counter for each
 * of them tells.
 *
 * If it is broken: a counter moves while the world is stopped, which for a
 * collector is memory freed under a goroutine's feet; or the stop waits for
 * ever for somebody who sleeps; or a goroutine or a P is left behind, and the
 * program hangs.
 */
#include "utest.h"

#include "sched/sched.h"
#include "sched/stw.h"

#define MAX_COUNTERS	64

static struct {
	_Alignas(64) atomic_ulong n;
} counters[MAX_COUNTERS];
static unsigned int nr_counters;
static atomic_bool stop;
static struct kaus_waitgroup wg;

static void count(void *arg)
{
	atomic_fetch_add((atomic_ulong *)arg, 1);
}

static void go_counting(void (*fn)(void *))
{
	if (!CHECK(nr_counters < MAX_COUNTERS))
		return;
	kaus_waitgroup_add(&wg, 1);
	ut_go(fn, &counters[nr_counters++].n);
}

/* The counters stand still for a while. */
static void check_still(void)
{
	unsigned long seen[MAX_COUNTERS];
	struct timespec ts = { 0, 300 * USEC };

	for (unsigned int i = 0; i < nr_counters; i++)
		seen[i] = atomic_load(&counters[i].n);
	nanosleep(&ts, NULL);
	for (unsigned int i = 0; i < nr_counters; i++)
		CHECK_EQ(seen[i], atomic_load(&counters[i].n));
}

static void stop_and_check(void)
{
	struct m *mp = kr_enter();

	CHECK(kr_stop_world(mp, "test"));
	check_still();
	kr_start_world(mp);
	kr_exit(mp);
}

/* Each of them goes on. */
static void wait_for_all(void)
{
	for (unsigned int i = 0; i < nr_counters; i++) {
		unsigned long seen = atomic_load(&counters[i].n);

		while (atomic_load(&counters[i].n) == seen)
			kaus_sleep(100 * USEC);
	}
}

static void end_all(void)
{
	atomic_store(&stop, true);
	kaus_waitgroup_wait(&wg);
}

/* ---- what goroutines may be in the midst of ---- */

static void computing(void *arg)
{
	while (!atomic_load(&stop)) {
		count(arg);
		if (UT_TSAN)
			kaus_yield();
	}
	kaus_waitgroup_done(&wg);
}

/* In the kernel, without a word to the runtime. */
static void sleeping(void *arg)
{
	struct timespec ts = { 0, 100 * USEC };

	while (!atomic_load(&stop)) {
		nanosleep(&ts, NULL);
		count(arg);
		if (UT_TSAN)
			kaus_yield();
	}
	kaus_waitgroup_done(&wg);
}

static void yielding(void *arg)
{
	while (!atomic_load(&stop)) {
		count(arg);
		kaus_yield();
	}
	kaus_waitgroup_done(&wg);
}

static void napping(void *arg)
{
	while (!atomic_load(&stop)) {
		kaus_sleep(50 * USEC);
		count(arg);
	}
	kaus_waitgroup_done(&wg);
}

static void locked(void *arg)
{
	CHECK_EQ(0, kaus_lock_thread());
	while (!atomic_load(&stop)) {
		count(arg);
		kaus_yield();
	}
	CHECK_EQ(0, kaus_unlock_thread());
	kaus_waitgroup_done(&wg);
}

static void *count_once(void *arg)
{
	count(arg);
	return NULL;
}

static void spawning(void *arg)
{
	while (!atomic_load(&stop))
		CHECK_EQ(0, kaus_join(ut_spawn(count_once, arg), NULL));
	kaus_waitgroup_done(&wg);
}

static void *announced(void *arg)
{
	struct timespec ts = { 0, 100 * USEC };

	(void)arg;
	nanosleep(&ts, NULL);
	return NULL;
}

static void blocking(void *arg)
{
	while (!atomic_load(&stop)) {
		kaus_blocking(announced, NULL);
		count(arg);
	}
	kaus_waitgroup_done(&wg);
}

static int beside(void *arg)
{
	void (**fns)(void *) = arg;

	for (int i = 0; i < 3; i++)
		for (void (**fn)(void *) = fns; *fn; fn++)
			go_counting(*fn);
	for (int i = 0; i < 10; i++) {
		stop_and_check();
		wait_for_all();
	}
	/* Without a pause. */
	for (int i = 0; i < 20; i++)
		stop_and_check();
	wait_for_all();
	end_all();
	return 0;
}

#define BESIDE(name, nr_procs, ...)                               \
	TEST(name)                                                \
	{                                                         \
		void (*fns[])(void *) = { __VA_ARGS__, NULL };    \
		struct kaus_options opts = ut_procs(nr_procs);    \
								  \
		opts.slice_ns = 1 * MSEC;                         \
		RUN_WITH(&opts, beside, fns);                     \
	}

BESIDE(computing_on_one_proc, 1, computing)
BESIDE(computing_on_two_procs, 2, computing)
BESIDE(computing_on_eight_procs, 8, computing)
BESIDE(sleeping_in_the_kernel_on_one_proc, 1, sleeping)
BESIDE(sleeping_in_the_kernel_on_four_procs, 4, sleeping)
BESIDE(in_the_runtime, 2, yielding, napping)
BESIDE(locked_to_their_threads, 2, locked)
BESIDE(coming_and_going, 2, spawning)
BESIDE(in_announced_sleeps, 2, blocking)
BESIDE(all_of_that_on_one_proc, 1, computing, sleeping, yielding, napping,
       locked, spawning, blocking)
BESIDE(all_of_that_on_eight_procs, 8, computing, sleeping, yielding, napping,
       locked, spawning, blocking)

/* ---- a thread that sleeps is not waited for ---- */

static int pipe_fds[2];

static void reading(void *arg)
{
	char c;

	CHECK_EQ(1, read(pipe_fds[0], &c, 1));
	count(arg);
	kaus_waitgroup_done(&wg);
}

static int beside_a_reader(void *arg)
{
	struct m *mp;

	(void)arg;
	CHECK_EQ(0, pipe(pipe_fds));
	go_counting(reading);
	kaus_sleep(2 * MSEC);
	mp = kr_enter();
	CHECK(kr_stop_world(mp, "test"));
	/* It wakes up now, and must not get to its counter. */
	CHECK_EQ(1, write(pipe_fds[1], "x", 1));
	check_still();
	CHECK_EQ(0, atomic_load(&counters[0].n));
	kr_start_world(mp);
	/* Only the scheduler: the same without a signal. */
	CHECK(kr_stop_ps(mp, "test"));
	kr_start_world(mp);
	kr_exit(mp);
	end_all();
	CHECK_EQ(1, atomic_load(&counters[0].n));
	return 0;
}

TEST(a_sleeper_does_not_delay)
{
	UT_SKIP_TSAN(UT_WHY_TSAN);
	RUN(beside_a_reader, NULL);
}

/* ---- several who stop ---- */

static atomic_int nr_inside;

static void *stopping(void *arg)
{
	(void)arg;
	for (int i = 0; i < 50; i++) {
		struct m *mp = kr_enter();

		CHECK(i % 2 ? kr_stop_world(mp, "test") :
			      kr_stop_ps(mp, "test"));
		CHECK_EQ(1, atomic_fetch_add(&nr_inside, 1) + 1);
		ut_spin(1000);
		atomic_fetch_sub(&nr_inside, 1);
		kr_start_world(mp);
		kr_exit(mp);
	}
	return NULL;
}

static void *stopping_thread(void *arg)
{
	for (int i = 0; i < 50; i++) {
		CHECK(i % 2 ? kr_stop_world(NULL, "test") :
			      kr_stop_ps(NULL, "test"));
		CHECK_EQ(1, atomic_fetch_add(&nr_inside, 1) + 1);
		ut_spin(1000);
		atomic_fetch_sub(&nr_inside, 1);
		kr_start_world(NULL);
	}
	return arg;
}

static int several(void *arg)
{
	struct kaus_g *gs[4];
	pthread_t thread;

	(void)arg;
	go_counting(yielding);
	if (!UT_TSAN)
		go_counting(computing);
	CHECK_EQ(0, pthread_create(&thread, NULL, stopping_thread, NULL));
	for (int i = 0; i < 4; i++)
		gs[i] = ut_spawn(stopping, NULL);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(0, kaus_join(gs[i], NULL));
	pthread_join(thread, NULL);
	wait_for_all();
	end_all();
	return 0;
}

TEST(one_at_a_time)
{
	struct kaus_options opts = ut_procs(4);

	RUN_WITH(&opts, several, NULL);
}

TEST(one_at_a_time_on_one_proc)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, several, NULL);
}

/* ---- from outside, with goroutines that are made meanwhile ---- */

static void counted_once(void *arg)
{
	count(arg);
	kaus_waitgroup_done(&wg);
}

static atomic_bool outside_done;

static void *from_outside(void *arg)
{
	(void)arg;
	for (int i = 0; i < 20; i++) {
		CHECK(kr_stop_world(NULL, "test"));
		kaus_waitgroup_add(&wg, 1);
		ut_go(counted_once, &counters[0].n);
		check_still();
		kr_start_world(NULL);
	}
	atomic_store(&outside_done, true);
	return NULL;
}

static int outside(void *arg)
{
	pthread_t thread;

	(void)arg;
	nr_counters = 1;
	CHECK_EQ(0, pthread_create(&thread, NULL, from_outside, NULL));
	/* Not in pthread_join(): under TSan no signal gets into it. */
	while (!atomic_load(&outside_done))
		kaus_sleep(100 * USEC);
	pthread_join(thread, NULL);
	end_all();
	CHECK_EQ(20, atomic_load(&counters[0].n));
	return 0;
}

TEST(what_comes_meanwhile_runs_afterwards)
{
	RUN(outside, NULL);
}

/* ---- delayed ---- */

static atomic_bool disabled, enabled;

static void not_now(void *arg)
{
	(void)arg;
	CHECK_EQ(0, kaus_preempt_disable());
	atomic_store(&disabled, true);
	ut_spin(20000000);
	atomic_store(&enabled, true);
	CHECK_EQ(0, kaus_preempt_enable());
	kaus_waitgroup_done(&wg);
}

static int delayed(void *arg)
{
	struct m *mp;

	(void)arg;
	kaus_waitgroup_add(&wg, 1);
	ut_go(not_now, NULL);
	while (!atomic_load(&disabled))
		kaus_yield();
	mp = kr_enter();
	CHECK(kr_stop_world(mp, "test"));
	CHECK(atomic_load(&enabled));
	kr_start_world(mp);
	kr_exit(mp);
	end_all();
	return 0;
}

TEST(waits_while_preemption_is_disabled)
{
	struct kaus_options opts = ut_procs(2);

	RUN_WITH(&opts, delayed, NULL);
}

/* ---- main ends ---- */

static void stopping_for_ever(void *arg)
{
	(void)arg;
	for (;;)
		stopping(NULL);
}

static int ends_at_once(void *arg)
{
	(void)arg;
	go_counting(yielding);
	ut_go(stopping_for_ever, NULL);
	ut_go(stopping_for_ever, NULL);
	wait_for_all();
	return 0;
}

TEST(main_ends_meanwhile)
{
	struct kaus_options opts = ut_procs(3);

	RUN_WITH(&opts, ends_at_once, NULL);
	/* Nothing is stopped then, and nobody waits. */
	EXPECT_FALSE(kr_stop_world(NULL, "test"));
}

TEST_HARNESS_MAIN
