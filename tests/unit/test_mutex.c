// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mutexes: one holder at a time, whoever wants it, goroutine or plain thread;
 * nobody waits for ever; a deadline leaves nothing behind.
 *
 * If it is broken: two are inside at once and counts are lost, a waiter is not
 * woken (a hang), one whose time is up keeps the mutex or swallows the wake-up
 * that was meant for the next (a hang), or those that run never let the ones
 * that wait have it (a hang).
 */
#include "utest.h"

#define NR_GS 16
#define NR_THREADS 3

struct guarded {
	struct kaus_mutex mu;
	struct kaus_waitgroup ended;
	atomic_int inside;
	long count;
	atomic_long expected;
	atomic_bool stop;
	int rounds;
	unsigned int hold;
};

/* The mutex is held. Plain arithmetic: two at once would lose some. */
static void use(struct guarded *g)
{
	long seen = g->count;

	CHECK_EQ(1, atomic_fetch_add(&g->inside, 1) + 1);
	ut_spin(g->hold);
	g->count = seen + 1;
	atomic_fetch_sub(&g->inside, 1);
	atomic_fetch_add(&g->expected, 1);
}

static void check_free(struct guarded *g)
{
	CHECK_EQ(g->expected, g->count);
	CHECK_EQ(0, kaus_mutex_trylock(&g->mu));
	CHECK_EQ(0, kaus_mutex_unlock(&g->mu));
	CHECK_EQ(-EPERM, kaus_mutex_unlock(&g->mu));
}

static void errors(void)
{
	struct kaus_mutex mu = KAUS_MUTEX_INIT;

	CHECK_EQ(-EPERM, kaus_mutex_unlock(&mu));
	CHECK_EQ(0, kaus_mutex_lock(&mu));
	CHECK_EQ(-EAGAIN, kaus_mutex_trylock(&mu));
	CHECK_EQ(0, kaus_mutex_unlock(&mu));
	CHECK_EQ(-EPERM, kaus_mutex_unlock(&mu));
	CHECK_EQ(0, kaus_mutex_trylock(&mu));
	CHECK_EQ(0, kaus_mutex_unlock(&mu));
	/* What can be had at once is, whatever the deadline. */
	CHECK_EQ(0, kaus_mutex_lock_until(&mu, 0));
	CHECK_EQ(0, kaus_mutex_unlock(&mu));
}

static int errors_main(void *arg)
{
	struct kaus_mutex mu = KAUS_MUTEX_INIT;
	uint64_t deadline;

	errors();
	CHECK_EQ(0, kaus_mutex_lock(&mu));
	CHECK_EQ(-ETIMEDOUT, kaus_mutex_lock_until(&mu, 0));
	deadline = kaus_now_ns() + 2 * MSEC;
	CHECK_EQ(-ETIMEDOUT, kaus_mutex_lock_until(&mu, deadline));
	CHECK(kaus_now_ns() >= deadline);
	CHECK_EQ(0, kaus_mutex_unlock(&mu));
	CHECK_EQ(-EPERM, kaus_mutex_unlock(&mu));
	CHECK_EQ(0, kaus_mutex_lock(&mu));
	CHECK_EQ(0, kaus_mutex_unlock(&mu));
	return 0;
}

TEST(wrong_calls_change_nothing)
{
	RUN(errors_main, NULL);
}

TEST(without_the_runtime)
{
	struct kaus_mutex mu = KAUS_MUTEX_INIT;

	errors();
	EXPECT_EQ(0, kaus_mutex_lock(&mu));
	EXPECT_EQ(-EPERM, kaus_mutex_lock(&mu));
	EXPECT_EQ(-EPERM, kaus_mutex_lock_until(&mu, 0));
	EXPECT_EQ(0, kaus_mutex_unlock(&mu));
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

static void locker(void *arg)
{
	struct guarded *g = arg;
	int i;

	for (i = 0; i < g->rounds; i++) {
		CHECK_EQ(0, kaus_mutex_lock(&g->mu));
		use(g);
		CHECK_EQ(0, kaus_mutex_unlock(&g->mu));
		if (i % 64 == 0)
			kaus_yield();
	}
	CHECK_EQ(0, kaus_waitgroup_done(&g->ended));
}

static int exclusion(void *arg)
{
	struct guarded g = { .rounds = 3000, .hold = *(unsigned int *)arg };
	int i;

	CHECK_EQ(0, kaus_waitgroup_add(&g.ended, NR_GS));
	for (i = 0; i < NR_GS; i++)
		ut_go(locker, &g);
	CHECK_EQ(0, kaus_waitgroup_wait(&g.ended));
	CHECK_EQ(NR_GS * 3000, g.count);
	check_free(&g);
	return 0;
}

/* The slice is short: holders are preempted. */
static void exclude_on(unsigned int nr_procs, unsigned int hold)
{
	struct kaus_options opts = ut_procs(nr_procs);

	opts.slice_ns = 100 * USEC;
	CHECK_EQ(0, kaus_run_with(&opts, exclusion, &hold));
}

TEST(one_proc_short_sections)
{
	exclude_on(1, 0);
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

TEST(one_proc_long_sections)
{
	exclude_on(1, 1000);
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

TEST(two_procs_short_sections)
{
	exclude_on(2, 0);
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

TEST(two_procs_long_sections)
{
	exclude_on(2, 1000);
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

TEST(eight_procs_short_sections)
{
	exclude_on(8, 0);
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

TEST(eight_procs_long_sections)
{
	exclude_on(8, 1000);
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

static void *locking_thread(void *arg)
{
	locker(arg);
	return NULL;
}

static int with_threads(void *arg)
{
	struct guarded g = { .rounds = 2000, .hold = 100 };
	pthread_t threads[NR_THREADS];
	int i;

	CHECK_EQ(0, kaus_waitgroup_add(&g.ended, NR_GS + NR_THREADS));
	for (i = 0; i < NR_THREADS; i++)
		pthread_create(&threads[i], NULL, locking_thread, &g);
	for (i = 0; i < NR_GS; i++)
		ut_go(locker, &g);
	CHECK_EQ(0, kaus_waitgroup_wait(&g.ended));
	for (i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ((NR_GS + NR_THREADS) * 2000, g.count);
	check_free(&g);
	return 0;
}

TEST(threads_and_goroutines)
{
	RUN(with_threads, NULL);
}

/* Deadlines of the same size as the time the mutex is held. */
static void hurried(void *arg)
{
	struct guarded *g = arg;
	uint64_t rand = kaus_now_ns() | 1;
	int i, err;

	for (i = 0; i < g->rounds; i++) {
		uint64_t wait = ut_rand(&rand) % (60 * USEC);

		err = kaus_mutex_lock_until(&g->mu, kaus_now_ns() + wait);
		if (!err) {
			use(g);
			CHECK_EQ(0, kaus_mutex_unlock(&g->mu));
		} else {
			CHECK_EQ(-ETIMEDOUT, err);
		}
	}
	CHECK_EQ(0, kaus_waitgroup_done(&g->ended));
}

static void *hurried_thread(void *arg)
{
	hurried(arg);
	return NULL;
}

/* Some wait for ever: they find every wake-up that is lost. */
static int deadlines(void *arg)
{
	struct guarded g = { .rounds = 1500, .hold = 3000 };
	pthread_t thread;
	int i;

	CHECK_EQ(0, kaus_waitgroup_add(&g.ended, NR_GS + 1));
	pthread_create(&thread, NULL, hurried_thread, &g);
	for (i = 0; i < NR_GS; i++)
		ut_go(i % 4 ? hurried : locker, &g);
	CHECK_EQ(0, kaus_waitgroup_wait(&g.ended));
	pthread_join(thread, NULL);
	CHECK(g.count >= NR_GS / 4 * 1500);
	check_free(&g);
	return 0;
}

TEST(deadlines_race_with_unlock)
{
	struct kaus_options opts = ut_procs(4);

	opts.slice_ns = 200 * USEC;
	RUN_WITH(&opts, deadlines, NULL);
}

/*
 * Locks again at once, so that whoever is woken comes too late. On one P others
 * run only while it is locked.
 */
static void greedy(void *arg)
{
	struct guarded *g = arg;

	while (!g->stop) {
		CHECK_EQ(0, kaus_mutex_lock(&g->mu));
		if (ut_nr_procs() == 1)
			kaus_yield();
		else
			ut_spin(20000);
		CHECK_EQ(0, kaus_mutex_unlock(&g->mu));
	}
	CHECK_EQ(0, kaus_waitgroup_done(&g->ended));
}

static int starvation(void *arg)
{
	struct guarded g = { 0 };
	int i;

	CHECK_EQ(0, kaus_waitgroup_add(&g.ended, 1));
	ut_go(greedy, &g);
	for (i = 0; i < 50; i++) {
		while (!kaus_mutex_trylock(&g.mu)) {
			CHECK_EQ(0, kaus_mutex_unlock(&g.mu));
			kaus_yield();
		}
		CHECK_EQ(0, kaus_mutex_lock(&g.mu));
		CHECK_EQ(0, kaus_mutex_unlock(&g.mu));
	}
	g.stop = true;
	CHECK_EQ(0, kaus_waitgroup_wait(&g.ended));
	check_free(&g);
	return 0;
}

TEST(greedy_one_starves_nobody_one_proc)
{
	struct kaus_options opts = ut_procs(1);

	opts.slice_ns = 100 * MSEC;
	RUN_WITH(&opts, starvation, NULL);
}

TEST(greedy_one_starves_nobody_two_procs)
{
	struct kaus_options opts = ut_procs(2);

	RUN_WITH(&opts, starvation, NULL);
}

struct queue {
	struct kaus_mutex mu;
	struct kaus_waitgroup ended;
	int order[NR_GS];
	int nr;
};

struct place {
	struct queue *q;
	int id;
};

static void queue_up(void *arg)
{
	struct place *p = arg;

	CHECK_EQ(0, kaus_mutex_lock(&p->q->mu));
	p->q->order[p->q->nr++] = p->id;
	CHECK_EQ(0, kaus_mutex_unlock(&p->q->mu));
	CHECK_EQ(0, kaus_waitgroup_done(&p->q->ended));
}

/* Start one that waits, and return when it does. */
static void go_wait(struct place *p)
{
	struct kaus_waitlist *wl = &p->q->mu.waiters;
	struct kr_waiter *last = __atomic_load_n(&wl->last, __ATOMIC_ACQUIRE);

	ut_go(queue_up, p);
	while (__atomic_load_n(&wl->last, __ATOMIC_ACQUIRE) == last)
		kaus_yield();
}

static int in_order(void *arg)
{
	struct queue q = { 0 };
	struct place places[NR_GS];
	int i;

	CHECK_EQ(0, kaus_mutex_lock(&q.mu));
	CHECK_EQ(0, kaus_waitgroup_add(&q.ended, NR_GS));
	for (i = 0; i < NR_GS; i++) {
		places[i] = (struct place){ &q, i };
		go_wait(&places[i]);
	}
	/* One in the midst of the queue gives up. */
	CHECK_EQ(-ETIMEDOUT, kaus_mutex_lock_until(&q.mu, kaus_now_ns() + USEC));
	CHECK_EQ(0, kaus_mutex_unlock(&q.mu));
	CHECK_EQ(0, kaus_waitgroup_wait(&q.ended));
	for (i = 0; i < NR_GS; i++)
		CHECK_EQ(i, q.order[i]);
	return 0;
}

TEST(oldest_first)
{
	RUN(in_order, NULL);
}

static void unlock_other(void *arg)
{
	CHECK_EQ(0, kaus_mutex_unlock(arg));
}

/* Parked, it is not on a CPU; and somebody else may unlock. */
static int parked_holder(void *arg)
{
	struct guarded g = { .rounds = 1, .hold = 1 };
	struct kaus_mutex mu = KAUS_MUTEX_INIT;

	CHECK_EQ(0, kaus_mutex_lock(&g.mu));
	CHECK_EQ(0, kaus_waitgroup_add(&g.ended, 1));
	ut_go(locker, &g);
	CHECK_EQ(0, kaus_sleep(5 * MSEC));
	CHECK_EQ(0, g.count);
	CHECK_EQ(0, kaus_mutex_unlock(&g.mu));
	CHECK_EQ(0, kaus_waitgroup_wait(&g.ended));
	check_free(&g);

	CHECK_EQ(0, kaus_mutex_lock(&mu));
	ut_go(unlock_other, &mu);
	CHECK_EQ(0, kaus_mutex_lock(&mu));
	CHECK_EQ(0, kaus_mutex_unlock(&mu));
	return 0;
}

TEST(holder_may_park_and_another_unlock)
{
	RUN(parked_holder, NULL);
}

/* Whoever unlocks does not touch it once the next one has it. */
static void *last_user(void *arg)
{
	struct kaus_mutex *mu = arg;

	CHECK_EQ(0, kaus_mutex_lock(mu));
	CHECK_EQ(0, kaus_mutex_unlock(mu));
	memset(mu, 0xff, sizeof(*mu));
	return NULL;
}

static int vanish(void *arg)
{
	struct kaus_mutex mu, gone;
	struct kaus_g *g;
	int round;

	memset(&gone, 0xff, sizeof(gone));
	for (round = 0; round < 2000; round++) {
		memset(&mu, 0, sizeof(mu));
		CHECK_EQ(0, kaus_mutex_lock(&mu));
		g = ut_spawn(last_user, &mu);
		if (round % 2)
			kaus_yield();
		ut_spin(round % 50 * 20);
		CHECK_EQ(0, kaus_mutex_unlock(&mu));
		CHECK_EQ(0, kaus_join(g, NULL));
		CHECK_EQ(0, memcmp(&mu, &gone, sizeof(mu)));
	}
	return 0;
}

TEST(mutex_may_vanish_with_its_last_user)
{
	struct kaus_options opts = ut_procs(2);

	RUN_WITH(&opts, vanish, NULL);
}

TEST_HARNESS_MAIN
