// SPDX-License-Identifier: GPL-2.0-only
/*
 * Deadlines of blocking calls, and plain threads that block: the wait ends at
 * the deadline and not before, leaves nothing behind, and a wake-up that comes
 * at the same moment is either taken or still there for the next.
 *
 * If it is broken: an element is handed to a receiver that has given up (lost),
 * a timer fires into a stack frame that is gone, a thread sleeps on.
 */
#include "utest.h"

static int times_out(void *arg)
{
	struct kaus_waitgroup wg = KAUS_WAITGROUP_INIT;
	struct kaus_chan *ch = kaus_chan_make(sizeof(int), 1);
	uint64_t end = kaus_now_ns() + 3 * MSEC;
	int value = 1;

	CHECK_EQ(-ETIMEDOUT, kaus_chan_recv_until(ch, &value, end));
	CHECK(kaus_now_ns() >= end);
	CHECK_EQ(-ETIMEDOUT, kaus_chan_recv_until(ch, &value, 0));
	/* What can be done at once is done, however late it is. */
	CHECK_EQ(0, kaus_chan_send_until(ch, &value, 0));
	end = kaus_now_ns() + MSEC;
	CHECK_EQ(-ETIMEDOUT, kaus_chan_send_until(ch, &value, end));
	CHECK(kaus_now_ns() >= end);
	CHECK_EQ(1, kaus_chan_len(ch));
	CHECK_EQ(0, kaus_chan_recv_until(ch, &value, 0));

	CHECK_EQ(0, kaus_waitgroup_wait_until(&wg, 0));
	CHECK_EQ(0, kaus_waitgroup_add(&wg, 1));
	end = kaus_now_ns() + MSEC;
	CHECK_EQ(-ETIMEDOUT, kaus_waitgroup_wait_until(&wg, end));
	CHECK(kaus_now_ns() >= end);
	CHECK_EQ(0, kaus_waitgroup_done(&wg));

	end = kaus_now_ns() + MSEC;
	CHECK_EQ(-ETIMEDOUT, kaus_chan_recv_until(NULL, &value, end));
	CHECK_EQ(-ETIMEDOUT, kaus_chan_send_until(NULL, &value, end));
	CHECK(kaus_now_ns() >= end);
	CHECK_EQ(-EAGAIN, kaus_chan_try_recv(NULL, &value));
	CHECK_EQ(-EINVAL, kaus_chan_close(NULL));
	kaus_chan_free(ch);
	return 0;
}

TEST(at_the_deadline)
{
	RUN(times_out, NULL);
}

static void *times_out_on_thread(void *arg)
{
	times_out(arg);
	return NULL;
}

static int on_thread(void *arg)
{
	pthread_t thread;

	if (CHECK_EQ(0, pthread_create(&thread, NULL, times_out_on_thread,
				       NULL)))
		pthread_join(thread, NULL);
	return 0;
}

TEST(at_the_deadline_on_a_plain_thread)
{
	RUN(on_thread, NULL);
}

/*
 * Elements and deadlines that race: senders and receivers wait for a few
 * microseconds only, and what one side counts the other must count too.
 */
struct race {
	struct kaus_chan *ch;
	atomic_long sent, received, nr_late;
	struct kaus_waitgroup wg;
};

#define RACE_ROUNDS 3000

static void race_send(struct race *r)
{
	uint64_t rand = kaus_now_ns() | 1;

	for (long n = 1; n <= RACE_ROUNDS; n++) {
		uint64_t end = kaus_now_ns() + ut_rand(&rand) % (30 * USEC);
		int err = kaus_chan_send_until(r->ch, &n, end);

		if (!err)
			atomic_fetch_add(&r->sent, n);
		else if (CHECK_EQ(-ETIMEDOUT, err))
			atomic_fetch_add(&r->nr_late, 1);
	}
	CHECK_EQ(0, kaus_waitgroup_done(&r->wg));
}

static void race_recv(struct race *r)
{
	uint64_t rand = kaus_now_ns() | 1;

	for (;;) {
		uint64_t end = kaus_now_ns() + ut_rand(&rand) % (30 * USEC);
		long n;
		int err = kaus_chan_recv_until(r->ch, &n, end);

		if (!err)
			atomic_fetch_add(&r->received, n);
		else if (err == -ETIMEDOUT)
			atomic_fetch_add(&r->nr_late, 1);
		else
			break;
	}
}

static void race_send_g(void *arg)
{
	race_send(arg);
}

static void *race_recv_g(void *arg)
{
	race_recv(arg);
	return NULL;
}

static void *race_send_thread(void *arg)
{
	race_send(arg);
	return NULL;
}

static int race(void *arg)
{
	struct race r = { .wg = KAUS_WAITGROUP_INIT };
	pthread_t sender, receiver;
	struct kaus_g *g[2];

	r.ch = kaus_chan_make(sizeof(long), *(size_t *)arg);
	CHECK_EQ(0, kaus_waitgroup_add(&r.wg, 4));
	for (int i = 0; i < 3; i++)
		ut_go(race_send_g, &r);
	for (int i = 0; i < 2; i++)
		g[i] = ut_spawn(race_recv_g, &r);
	CHECK_EQ(0, pthread_create(&sender, NULL, race_send_thread, &r));
	CHECK_EQ(0, pthread_create(&receiver, NULL, race_recv_g, &r));
	CHECK_EQ(0, kaus_waitgroup_wait(&r.wg));
	CHECK_EQ(0, kaus_chan_close(r.ch));
	for (int i = 0; i < 2; i++)
		CHECK_EQ(0, kaus_join(g[i], NULL));
	pthread_join(sender, NULL);
	pthread_join(receiver, NULL);
	CHECK_EQ(atomic_load(&r.sent), atomic_load(&r.received));
	CHECK(atomic_load(&r.sent) > 0);
	CHECK(atomic_load(&r.nr_late) > 0);
	kaus_chan_free(r.ch);
	return 0;
}

TEST(wake_ups_race_with_deadlines_unbuffered)
{
	size_t capacity = 0;

	RUN(race, &capacity);
}

TEST(wake_ups_race_with_deadlines_buffered)
{
	size_t capacity = 2;

	RUN(race, &capacity);
}

/* Deadlines that were not needed leave no timer behind: the process idles. */
static void *answer(void *arg)
{
	struct kaus_chan *ch = arg;
	int value;

	while (!kaus_chan_recv(ch, &value))
		;
	return NULL;
}

static int stopped_timers(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(sizeof(int), 0);
	struct kaus_g *g = ut_spawn(answer, ch);

	for (int n = 0; n < 10000; n++)
		CHECK_EQ(0, kaus_chan_send_until(ch, &n,
						 kaus_now_ns() + 3600 * SEC));
	CHECK_EQ(0, kaus_chan_close(ch));
	CHECK_EQ(0, kaus_join(g, NULL));
	CHECK_EQ(0, ut_stats().nr_timers);
	kaus_chan_free(ch);
	return 0;
}

TEST(deadlines_that_are_not_reached_leave_no_timer)
{
	RUN(stopped_timers, NULL);
}

/* A plain thread and goroutines exchange elements, each blocking. */
static void *echo_thread(void *arg)
{
	struct kaus_chan **ch = arg;
	long n;

	while (!kaus_chan_recv(ch[0], &n))
		CHECK_EQ(0, kaus_chan_send(ch[1], &n));
	CHECK_EQ(0, kaus_chan_close(ch[1]));
	return NULL;
}

static int echo(void *arg)
{
	struct kaus_chan *ch[2] = { kaus_chan_make(sizeof(long), 0),
				    kaus_chan_make(sizeof(long), 0) };
	pthread_t thread;
	long back = 0;

	if (!CHECK_EQ(0, pthread_create(&thread, NULL, echo_thread, ch)))
		return 0;
	for (long n = 0; n < 2000; n++) {
		CHECK_EQ(0, kaus_chan_send(ch[0], &n));
		CHECK_EQ(0, kaus_chan_recv(ch[1], &back));
		CHECK_EQ(n, back);
	}
	CHECK_EQ(0, kaus_chan_close(ch[0]));
	CHECK_EQ(-EPIPE, kaus_chan_recv(ch[1], &back));
	pthread_join(thread, NULL);
	kaus_chan_free(ch[0]);
	kaus_chan_free(ch[1]);
	return 0;
}

TEST(plain_thread_echoes)
{
	RUN(echo, NULL);
}

static void *done_thread(void *arg)
{
	usleep(2000);
	CHECK_EQ(0, kaus_waitgroup_done(arg));
	return NULL;
}

static void *wait_thread(void *arg)
{
	return (void *)(long)kaus_waitgroup_wait(arg);
}

static int waitgroup_threads(void *arg)
{
	struct kaus_waitgroup wg = KAUS_WAITGROUP_INIT;
	pthread_t waiter, doer;
	void *result;

	CHECK_EQ(0, kaus_waitgroup_add(&wg, 1));
	CHECK_EQ(0, pthread_create(&waiter, NULL, wait_thread, &wg));
	CHECK_EQ(0, pthread_create(&doer, NULL, done_thread, &wg));
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	pthread_join(waiter, &result);
	CHECK_EQ(0, (long)result);
	pthread_join(doer, NULL);
	return 0;
}

TEST(plain_thread_waits_for_a_group)
{
	RUN(waitgroup_threads, NULL);
}

TEST_HARNESS_MAIN
