// SPDX-License-Identifier: GPL-2.0-only
/*
 * Condition variables: no signal between unlocking and waiting is lost, one
 * signal wakes one, the mutex is locked on return whatever happened.
 *
 * If it is broken: a waiter is not on the list yet when the signal comes, or a
 * signal goes to one whose time is up (hangs), two wake for one signal, or
 * somebody is inside without the mutex.
 */
#include "utest.h"

#define NR_SIDE 8
#define NR_ITEMS 2000

struct store {
	struct kaus_mutex mu;
	struct kaus_cond filled, drained;
	struct kaus_waitgroup ended;
	int items, inside;
	long produced, consumed, timeouts;
	bool hurry;
};

static int wait_on(struct store *s, struct kaus_cond *cond, uint64_t *rand)
{
	uint64_t deadline = KAUS_NO_DEADLINE;
	int err;

	if (s->hurry)
		deadline = kaus_now_ns() + ut_rand(rand) % (30 * USEC);
	s->inside--;
	err = kaus_cond_wait_until(cond, &s->mu, deadline);
	CHECK_EQ(1, ++s->inside);
	CHECK(!err || (s->hurry && err == -ETIMEDOUT));
	s->timeouts += err != 0;
	return err;
}

static void producer(void *arg)
{
	struct store *s = arg;
	uint64_t rand = kaus_now_ns() | 1;
	int i;

	for (i = 0; i < NR_ITEMS; i++) {
		CHECK_EQ(0, kaus_mutex_lock(&s->mu));
		CHECK_EQ(1, ++s->inside);
		while (s->items == 2)
			wait_on(s, &s->drained, &rand);
		s->items++;
		s->produced++;
		s->inside--;
		CHECK_EQ(0, kaus_cond_signal(&s->filled));
		CHECK_EQ(0, kaus_mutex_unlock(&s->mu));
	}
	CHECK_EQ(0, kaus_waitgroup_done(&s->ended));
}

static void consumer(void *arg)
{
	struct store *s = arg;
	uint64_t rand = kaus_now_ns() | 1;
	int i;

	for (i = 0; i < NR_ITEMS; i++) {
		CHECK_EQ(0, kaus_mutex_lock(&s->mu));
		CHECK_EQ(1, ++s->inside);
		while (!s->items)
			wait_on(s, &s->filled, &rand);
		s->items--;
		s->consumed++;
		s->inside--;
		CHECK_EQ(0, kaus_mutex_unlock(&s->mu));
		CHECK_EQ(0, kaus_cond_signal(&s->drained));
	}
	CHECK_EQ(0, kaus_waitgroup_done(&s->ended));
}

static void *consuming_thread(void *arg)
{
	consumer(arg);
	return NULL;
}

static int produce_and_consume(void *arg)
{
	struct store s = { .hurry = arg };
	pthread_t thread;
	int i;

	CHECK_EQ(0, kaus_waitgroup_add(&s.ended, 2 * NR_SIDE));
	pthread_create(&thread, NULL, consuming_thread, &s);
	for (i = 0; i < NR_SIDE; i++) {
		ut_go(producer, &s);
		if (i)
			ut_go(consumer, &s);
	}
	CHECK_EQ(0, kaus_waitgroup_wait(&s.ended));
	pthread_join(thread, NULL);
	CHECK_EQ(NR_SIDE * NR_ITEMS, s.produced);
	CHECK_EQ(s.produced, s.consumed);
	CHECK_EQ(0, s.items);
	CHECK_EQ(0, kaus_mutex_trylock(&s.mu));
	return 0;
}

TEST(no_signal_is_lost)
{
	struct kaus_options opts = ut_procs(4);

	opts.slice_ns = 100 * USEC;
	RUN_WITH(&opts, produce_and_consume, NULL);
}

TEST(no_signal_is_lost_on_one_proc)
{
	struct kaus_options opts = ut_procs(1);

	opts.slice_ns = 100 * USEC;
	RUN_WITH(&opts, produce_and_consume, NULL);
}

TEST(deadlines_race_with_signals)
{
	struct kaus_options opts = ut_procs(4);

	RUN_WITH(&opts, produce_and_consume, "in a hurry");
}

static int errors(void *arg)
{
	struct kaus_mutex mu = KAUS_MUTEX_INIT;
	struct kaus_cond cond = KAUS_COND_INIT;
	uint64_t deadline;

	CHECK_EQ(-EPERM, kaus_cond_wait(&cond, &mu));
	CHECK_EQ(-EPERM, kaus_cond_wait_until(&cond, &mu, 0));
	CHECK_EQ(0, kaus_cond_signal(&cond));
	CHECK_EQ(0, kaus_cond_broadcast(&cond));
	CHECK_EQ(0, kaus_mutex_lock(&mu));
	/* Signals for nobody are not kept. */
	CHECK_EQ(-ETIMEDOUT, kaus_cond_wait_until(&cond, &mu, 0));
	deadline = kaus_now_ns() + MSEC;
	CHECK_EQ(-ETIMEDOUT, kaus_cond_wait_until(&cond, &mu, deadline));
	CHECK(kaus_now_ns() >= deadline);
	CHECK_EQ(0, kaus_mutex_unlock(&mu));
	return 0;
}

TEST(wrong_calls_and_deadlines)
{
	RUN(errors, NULL);
}

TEST(without_the_runtime)
{
	struct kaus_mutex mu = KAUS_MUTEX_INIT;
	struct kaus_cond cond = KAUS_COND_INIT;

	EXPECT_EQ(0, kaus_mutex_lock(&mu));
	EXPECT_EQ(-EPERM, kaus_cond_wait(&cond, &mu));
	EXPECT_EQ(0, kaus_cond_signal(&cond));
	EXPECT_EQ(0, kaus_mutex_unlock(&mu));
}

struct crowd {
	struct kaus_mutex mu;
	struct kaus_cond cond;
	struct kaus_waitgroup ended;
	int waiting, nr_woken;
	int woken[NR_SIDE];
};

static void wait_once(void *arg)
{
	struct crowd *c = arg;
	int id;

	CHECK_EQ(0, kaus_mutex_lock(&c->mu));
	id = c->waiting++;
	CHECK_EQ(0, kaus_cond_wait(&c->cond, &c->mu));
	c->woken[c->nr_woken++] = id;
	CHECK_EQ(0, kaus_mutex_unlock(&c->mu));
	CHECK_EQ(0, kaus_waitgroup_done(&c->ended));
}

/* With the mutex: all that count as waiting do wait. */
static int seen(struct crowd *c, int *field)
{
	int value;

	CHECK_EQ(0, kaus_mutex_lock(&c->mu));
	value = *field;
	CHECK_EQ(0, kaus_mutex_unlock(&c->mu));
	return value;
}

static void gather(struct crowd *c)
{
	int i;

	CHECK_EQ(0, kaus_waitgroup_add(&c->ended, NR_SIDE));
	for (i = 0; i < NR_SIDE; i++)
		ut_go(wait_once, c);
	while (seen(c, &c->waiting) < NR_SIDE)
		kaus_yield();
}

static int one_by_one(void *arg)
{
	struct crowd c = { .waiting = 0 };
	int i;

	gather(&c);
	for (i = 0; i < NR_SIDE; i++) {
		CHECK_EQ(i, seen(&c, &c.nr_woken));
		CHECK_EQ(0, kaus_cond_signal(&c.cond));
		while (seen(&c, &c.nr_woken) == i)
			kaus_yield();
		CHECK_EQ(i, c.woken[i]);
	}
	CHECK_EQ(0, kaus_waitgroup_wait(&c.ended));
	return 0;
}

TEST(signal_wakes_the_oldest)
{
	RUN(one_by_one, NULL);
}

static int all_at_once(void *arg)
{
	struct crowd c = { .waiting = 0 };

	gather(&c);
	CHECK_EQ(0, kaus_mutex_lock(&c.mu));
	CHECK_EQ(0, kaus_cond_broadcast(&c.cond));
	CHECK_EQ(0, c.nr_woken);
	CHECK_EQ(0, kaus_mutex_unlock(&c.mu));
	CHECK_EQ(0, kaus_waitgroup_wait(&c.ended));
	CHECK_EQ(NR_SIDE, c.nr_woken);
	return 0;
}

TEST(broadcast_wakes_all)
{
	RUN(all_at_once, NULL);
}

TEST_HARNESS_MAIN
