// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who looks for work, and who spins for a mutex: half of a queue is stolen, from
 * each P as likely as from the others, last from one whose thread is off its
 * CPU; however many goroutines become ready, one M is woken, and each wakes the
 * next; nobody spins for a holder that is off its CPU.
 *
 * The Ps are held by goroutines that are not preempted and do as they are told.
 * That a thread is off its CPU is told by the module; here by the test.
 *
 * If it is broken: nothing fails, but some Ps are robbed all the time, wake-ups
 * cost more than the work, or a P that could run others spins for a thread that
 * waits for this very CPU.
 */
#include <sched.h>
#include <sys/syscall.h>

#include "utest.h"

#include "sched/runq.h"
#include "sched/sched.h"
#include "sync/mutex.h"

/* The clock of the library, while it stands still. */
static atomic_bool frozen;
static struct timespec frozen_at;

int clock_gettime(clockid_t clock, struct timespec *ts)
{
	if (clock != CLOCK_MONOTONIC || !atomic_load(&frozen))
		return (int)syscall(SYS_clock_gettime, clock, ts);
	*ts = frozen_at;
	return 0;
}

/* Without the module: who has a thread on a CPU is what the test says. */
static struct kaus_options signals(unsigned int nr_procs)
{
	struct kaus_options opts = ut_procs(nr_procs);

	opts.assist = KAUS_ASSIST_SIGNAL;
	return opts;
}

/* ---- Ps in the hands of the test ---- */

#define MAX_PS 8

/* What the holder of P i is to do: add so many goroutines, then say so. */
static struct order {
	void (*fn)(void *arg);
	int nr;
	atomic_int given, done;
} orders[MAX_PS];

static atomic_bool over;
static atomic_uint nr_held;
static struct kaus_waitgroup wg = KAUS_WAITGROUP_INIT;

static struct p *own_p(void)
{
	return kr_self()->p;
}

static void hold(void *arg)
{
	struct order *o;

	(void)arg;
	CHECK_EQ(0, kaus_preempt_disable());
	o = &orders[own_p()->id];
	atomic_fetch_add(&nr_held, 1);
	while (!atomic_load(&over)) {
		if (atomic_load(&o->given) == atomic_load(&o->done)) {
			sched_yield();
			continue;
		}
		for (int i = 0; i < o->nr; i++)
			ut_go(o->fn, o);
		atomic_fetch_add(&o->done, 1);
	}
	CHECK_EQ(0, kaus_preempt_enable());
}

/* All Ps but the caller's, which stays the caller's: there is no other. */
static void hold_others(void)
{
	unsigned int nr = ut_nr_procs() - 1;

	atomic_store(&over, false);
	atomic_store(&nr_held, 0);
	for (unsigned int i = 0; i < nr; i++)
		ut_go(hold, NULL);
	while (atomic_load(&nr_held) < nr)
		kaus_yield();
}

/* @nr goroutines into the queue of P @id: all but the last into the ring. */
static struct order *tell(uint32_t id, void (*fn)(void *arg), int nr)
{
	struct order *o = &orders[id];

	o->fn = fn;
	o->nr = nr;
	atomic_fetch_add(&o->given, 1);
	return o;
}

static void wait_for(const struct order *o)
{
	while (atomic_load(&o->done) != atomic_load(&o->given))
		sched_yield();
}

/* ---- half ---- */

static atomic_int nr_ran;
static uint32_t queue_of_thief, queue_of_victim;

static uint32_t queue_len(const struct p *pp)
{
	return READ_ONCE(pp->slot->runq_tail) - READ_ONCE(pp->slot->runq_head);
}

static void look(void *arg)
{
	uint32_t victim = (uint32_t)((struct order *)arg - orders);

	/* The first of them sees what came with it, and what was left. */
	if (!atomic_fetch_add(&nr_ran, 1)) {
		CHECK(own_p()->id != victim);
		queue_of_thief = queue_len(own_p());
		queue_of_victim = queue_len(sched.allp[victim]);
	}
	kaus_waitgroup_done(&wg);
}

static int halves(void *arg)
{
	static const int sizes[] = { 1, 2, 5, 8, 255, 256 };

	(void)arg;
	hold_others();
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		int nr = sizes[i], half = nr - nr / 2;

		atomic_store(&nr_ran, 0);
		CHECK_EQ(0, kaus_waitgroup_add(&wg, nr + 1));
		CHECK_EQ(0, kaus_preempt_disable());
		wait_for(tell(1 - own_p()->id, look, nr + 1));
		CHECK_EQ(0, kaus_preempt_enable());
		/* Its P is left to look for work, and finds that. */
		CHECK_EQ(0, kaus_waitgroup_wait(&wg));
		CHECK_EQ(half - 1, queue_of_thief);
		CHECK_EQ(nr - half, queue_of_victim);
	}
	atomic_store(&over, true);
	return 0;
}

TEST(half_is_stolen)
{
	struct kaus_options opts = signals(2);

	RUN_WITH(&opts, halves, NULL);
}

/* ---- from whom ---- */

static struct order *first_robbed;

static void say_whose(void *arg)
{
	if (!atomic_fetch_add(&nr_ran, 1))
		first_robbed = arg;
	kaus_waitgroup_done(&wg);
}

/* Which of two Ps that have the same to offer is robbed first? */
static uint32_t rob(uint32_t one, uint32_t other)
{
	struct order *a, *b;

	atomic_store(&nr_ran, 0);
	CHECK_EQ(0, kaus_waitgroup_add(&wg, 4));
	a = tell(one, say_whose, 2);
	b = tell(other, say_whose, 2);
	wait_for(a);
	wait_for(b);
	CHECK_EQ(0, kaus_preempt_enable());
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	CHECK_EQ(0, kaus_preempt_disable());
	return (uint32_t)(first_robbed - orders);
}

#define NR_PS		5
#define NR_ROBBERIES	300

/*
 * One after the other from a start that is drawn, the second is robbed first one
 * time in five: the first is behind three that have nothing.
 */
static int side_by_side(void *arg)
{
	uint32_t id, nr = 0;

	(void)arg;
	hold_others();
	CHECK_EQ(0, kaus_preempt_disable());
	id = own_p()->id;
	for (int i = 0; i < NR_ROBBERIES; i++)
		nr += rob((id + 1) % NR_PS, (id + 2) % NR_PS) ==
		      (id + 1) % NR_PS;
	CHECK_EQ(0, kaus_preempt_enable());
	CHECK(nr > NR_ROBBERIES / 3 && nr < NR_ROBBERIES * 2 / 3);
	atomic_store(&over, true);
	return 0;
}

TEST(each_is_robbed_as_often)
{
	struct kaus_options opts = signals(NR_PS);

	RUN_WITH(&opts, side_by_side, NULL);
}

/* ---- who is off the CPU ---- */

/* The same, but that somebody tells who is on a CPU. */
static struct kr_assist told;

#define WHY_EXCHANGED "the assist is exchanged under those who look at it"

static void set_on_cpu(uint32_t id, bool on)
{
	uint32_t worker = KAUS_OWNER_WORKER(kr_owner(sched.allp[id]));

	WRITE_ONCE(sched.allm[worker]->slot->on_cpu, on);
}

static void tell_on_cpu(void)
{
	told = *sched.assist;
	CHECK(!told.tells_on_cpu);
	told.tells_on_cpu = true;
	sched.assist = &told;
}

static int one_is_off(void *arg)
{
	uint32_t id;

	(void)arg;
	tell_on_cpu();
	hold_others();
	CHECK_EQ(0, kaus_preempt_disable());
	id = own_p()->id;
	for (uint32_t i = 0; i < 60; i++) {
		uint32_t on = (id + 1 + i % 2) % 3, off = (id + 2 - i % 2) % 3;

		set_on_cpu(on, true);
		set_on_cpu(off, false);
		CHECK_EQ(on, rob(on, off));
	}
	CHECK_EQ(0, kaus_preempt_enable());
	atomic_store(&over, true);
	return 0;
}

TEST(who_is_off_its_cpu_is_robbed_last)
{
	struct kaus_options opts = signals(3);

	UT_SKIP_TSAN(WHY_EXCHANGED);
	RUN_WITH(&opts, one_is_off, NULL);
}

static struct kaus_mutex mu = KAUS_MUTEX_INIT;
static atomic_bool locked;

static void hold_mutex(void *arg)
{
	CHECK_EQ(0, kaus_preempt_disable());
	CHECK_EQ(0, kaus_mutex_lock(&mu));
	set_on_cpu(own_p()->id, arg != NULL);
	atomic_store(&locked, true);
	if (arg) {
		/* The other one comes, spins, and does not go away. */
		while (!(READ_ONCE(mu.state) & MUTEX_AWAKE))
			sched_yield();
		for (int i = 0; i < 1000; i++) {
			CHECK(!(READ_ONCE(mu.state) & MUTEX_WAITERS));
			sched_yield();
		}
	} else {
		while (!(READ_ONCE(mu.state) & MUTEX_WAITERS))
			sched_yield();
	}
	CHECK_EQ(0, kaus_mutex_unlock(&mu));
	CHECK_EQ(0, kaus_preempt_enable());
}

/*
 * Spinning ends by the clock at the latest: with one that stands still it does
 * not, unless it is seen that it is in vain.
 */
static int spin_or_park(void *arg)
{
	tell_on_cpu();
	CHECK_EQ(0, kaus_preempt_disable());
	ut_go(hold_mutex, arg);
	while (!atomic_load(&locked))
		sched_yield();
	clock_gettime(CLOCK_MONOTONIC, &frozen_at);
	atomic_store(&frozen, true);
	CHECK_EQ(0, kaus_mutex_lock(&mu));
	atomic_store(&frozen, false);
	CHECK_EQ(0, kaus_mutex_unlock(&mu));
	CHECK_EQ(0, kaus_preempt_enable());
	return 0;
}

TEST(nobody_spins_for_a_holder_that_is_off_its_cpu)
{
	struct kaus_options opts = signals(2);

	UT_SKIP_TSAN(WHY_EXCHANGED);
	RUN_WITH(&opts, spin_or_park, NULL);
}

TEST(one_spins_for_a_holder_that_runs)
{
	struct kaus_options opts = signals(2);

	UT_SKIP_TSAN(WHY_EXCHANGED);
	RUN_WITH(&opts, spin_or_park, &opts);
}

/* ---- waking ---- */

static atomic_uint nr_starts;
static struct {
	struct p *pp;
	uint64_t owner;
} held_back;

static int start_later(struct p *pp, uint64_t owner)
{
	atomic_fetch_add(&nr_starts, 1);
	held_back.pp = pp;
	held_back.owner = owner;
	return 0;
}

static int start_now(struct p *pp, uint64_t owner)
{
	atomic_fetch_add(&nr_starts, 1);
	return kr_assist_signal.start(pp, owner);
}

static atomic_uint nr_met;

/* Meets all others that can run beside it, and the one that has made them. */
static void meet(void *arg)
{
	(void)arg;
	CHECK_EQ(0, kaus_preempt_disable());
	atomic_fetch_add(&nr_met, 1);
	while (atomic_load(&nr_met) < MAX_PS - 1)
		sched_yield();
	CHECK_EQ(0, kaus_preempt_enable());
	kaus_waitgroup_done(&wg);
}

static int wake(void *arg)
{
	const int nr = MAX_PS + 2;

	(void)arg;
	CHECK_EQ(0, kaus_preempt_disable());
	/* All others have gone to sleep. */
	while (READ_ONCE(sched.nr_idle) < MAX_PS - 1 ||
	       READ_ONCE(sched.nr_spinning))
		sched_yield();
	told = *sched.assist;
	told.start = start_later;
	sched.assist = &told;
	CHECK_EQ(0, kaus_waitgroup_add(&wg, nr));
	for (int i = 0; i < nr; i++)
		ut_go(meet, NULL);
	CHECK_EQ(1, atomic_load(&nr_starts));
	CHECK_EQ(1, READ_ONCE(sched.nr_spinning));
	told.start = start_now;
	CHECK_EQ(0, kr_assist_signal.start(held_back.pp, held_back.owner));
	while (atomic_load(&nr_met) < MAX_PS - 1)
		sched_yield();
	/* It has woken nobody but the first of them. */
	CHECK(atomic_load(&nr_starts) >= MAX_PS - 1);
	CHECK_EQ(0, kaus_preempt_enable());
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	return 0;
}

TEST(one_is_woken_and_wakes_the_next)
{
	struct kaus_options opts = signals(MAX_PS);

	UT_SKIP_TSAN(WHY_EXCHANGED);
	RUN_WITH(&opts, wake, NULL);
}

TEST_HARNESS_MAIN
