// SPDX-License-Identifier: GPL-2.0-only
/*
 * Select: one case is done and no other, whatever comes from how many sides at
 * once; all ready cases have their turn; closed, null, equal and no channels;
 * deadlines; plain threads.
 *
 * If it is broken: an element is sent through two cases, or none; a goroutine
 * sleeps on a channel that has an element; one busy channel starves others; a
 * waiter that has gone on is written to by a sender that comes late.
 */
#include "utest.h"

#define NR_CHANS 4

struct fan {
	struct kaus_chan *ch[NR_CHANS];
	struct kaus_chan *done;
	long per_sender;
	atomic_long sum;
};

static void fan_init(struct fan *f, size_t capacity)
{
	memset(f, 0, sizeof(*f));
	for (int i = 0; i < NR_CHANS; i++)
		f->ch[i] = kaus_chan_make(sizeof(long), capacity);
	f->done = kaus_chan_make(sizeof(long), NR_CHANS);
}

static void fan_free(struct fan *f)
{
	for (int i = 0; i < NR_CHANS; i++)
		kaus_chan_free(f->ch[i]);
	kaus_chan_free(f->done);
}

static void recv_cases(struct fan *f, struct kaus_case *cases, long *to)
{
	for (int i = 0; i < NR_CHANS; i++)
		cases[i] = (struct kaus_case)KAUS_RECV(f->ch[i], to);
}

static int ready_ones(void *arg)
{
	struct kaus_case cases[NR_CHANS];
	struct fan f;
	long value;

	fan_init(&f, 1);
	recv_cases(&f, cases, &value);
	CHECK_EQ(-EAGAIN, kaus_select_try(cases, NR_CHANS));
	for (long i = 0; i < NR_CHANS; i++) {
		long sent = 100 + i;

		CHECK_EQ(0, kaus_chan_send(f.ch[i], &sent));
		cases[i].result = -1;
		CHECK_EQ(i, kaus_select(cases, NR_CHANS));
		CHECK_EQ(sent, value);
		CHECK_EQ(0, cases[i].result);
		CHECK_EQ(0, kaus_chan_len(f.ch[i]));
	}
	CHECK_EQ(-EAGAIN, kaus_select_try(cases, NR_CHANS));
	/* The other direction. */
	for (int i = 0; i < NR_CHANS; i++)
		cases[i] = (struct kaus_case)KAUS_SEND(f.ch[i], &value);
	for (int i = 0; i < NR_CHANS; i++)
		CHECK(kaus_select(cases, NR_CHANS) >= 0);
	for (int i = 0; i < NR_CHANS; i++)
		CHECK_EQ(1, kaus_chan_len(f.ch[i]));
	CHECK_EQ(-EAGAIN, kaus_select_try(cases, NR_CHANS));
	fan_free(&f);
	return 0;
}

TEST(takes_the_case_that_is_ready)
{
	RUN(ready_ones, NULL);
}

static int fair(void *arg)
{
	int times[NR_CHANS] = { 0 };
	struct kaus_case cases[NR_CHANS];
	struct fan f;
	long value;

	/* Each time all but one are ready; for how often see below. */
	fan_init(&f, 1);
	recv_cases(&f, cases, &value);
	for (int n = 0; n < 3000; n++) {
		int i;

		for (i = 1; i < NR_CHANS; i++)
			(void)kaus_chan_try_send(f.ch[i], &value);
		i = kaus_select(cases, NR_CHANS);
		if (!CHECK(i > 0 && i < NR_CHANS))
			break;
		times[i]++;
	}
	/* 1000 expected, sigma is 26: this is 11 of them. */
	for (int i = 1; i < NR_CHANS; i++)
		CHECK(times[i] > 700 && times[i] < 1300);
	fan_free(&f);
	return 0;
}

TEST(ready_cases_have_equal_chances)
{
	RUN(fair, NULL);
}

struct sender {
	struct fan *f;
	int i;
};

static void send_sequence(void *arg)
{
	struct sender *s = arg;

	for (long v = 1; v <= s->f->per_sender; v++)
		CHECK_EQ(0, kaus_chan_send(s->f->ch[s->i], &v));
	CHECK_EQ(0, kaus_chan_close(s->f->ch[s->i]));
}

static void select_until_all_closed(void *arg)
{
	struct fan *f = arg;
	struct kaus_case cases[NR_CHANS];
	long last[NR_CHANS] = { 0 };
	int nr_open = NR_CHANS;
	long sum = 0, value;

	recv_cases(f, cases, &value);
	while (nr_open) {
		int i = kaus_select(cases, NR_CHANS);

		if (!CHECK(i >= 0))
			break;
		if (cases[i].result) {
			CHECK_EQ(-EPIPE, cases[i].result);
			cases[i].chan = NULL;
			nr_open--;
			continue;
		}
		/* Each sender's come in order, with gaps that others took. */
		CHECK(value > last[i]);
		last[i] = value;
		sum += value;
	}
	atomic_fetch_add(&f->sum, sum);
	CHECK_EQ(0, kaus_chan_send(f->done, &sum));
}

static int fan_in(void *arg)
{
	const size_t *capacity = arg;
	struct sender senders[NR_CHANS];
	struct fan f;
	long n;

	fan_init(&f, *capacity);
	f.per_sender = n = 5000;
	for (int i = 0; i < NR_CHANS; i++) {
		senders[i] = (struct sender){ &f, i };
		ut_go(send_sequence, &senders[i]);
	}
	for (int i = 0; i < 3; i++)
		ut_go(select_until_all_closed, &f);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(0, kaus_chan_recv(f.done, NULL));
	CHECK_EQ(NR_CHANS * n * (n + 1) / 2, atomic_load(&f.sum));
	fan_free(&f);
	return 0;
}

TEST(nothing_lost_or_doubled_unbuffered)
{
	size_t capacity = 0;

	RUN(fan_in, &capacity);
}

TEST(nothing_lost_or_doubled_buffered)
{
	size_t capacity = 3;

	RUN(fan_in, &capacity);
}

/*
 * Selects that meet selects, each with both directions on the same channels:
 * every element that is sent is received.
 */
struct meet {
	struct fan f;
	atomic_long sent, received;
	struct kaus_waitgroup wg;
};

#define MEET_ROUNDS 4000

static void meet_g(void *arg)
{
	struct meet *m = arg;

	for (long n = 1; n <= MEET_ROUNDS; n++) {
		long in = 0, out = n;
		struct kaus_case cases[] = {
			KAUS_SEND(m->f.ch[0], &out),
			KAUS_RECV(m->f.ch[1], &in),
			KAUS_RECV(m->f.ch[0], &in),
			KAUS_SEND(m->f.ch[1], &out),
		};
		int i = kaus_select_until(cases, 4, kaus_now_ns() + 20 * MSEC);

		if (i == -ETIMEDOUT)
			continue;
		if (!CHECK(i >= 0 && i < 4))
			break;
		CHECK_EQ(0, cases[i].result);
		if (i == 0 || i == 3)
			atomic_fetch_add(&m->sent, out);
		else
			atomic_fetch_add(&m->received, in);
	}
	CHECK_EQ(0, kaus_waitgroup_done(&m->wg));
}

static int meet(void *arg)
{
	struct meet m = { .wg = KAUS_WAITGROUP_INIT };

	fan_init(&m.f, 0);
	CHECK_EQ(0, kaus_waitgroup_add(&m.wg, 6));
	for (int i = 0; i < 6; i++)
		ut_go(meet_g, &m);
	CHECK_EQ(0, kaus_waitgroup_wait(&m.wg));
	CHECK_EQ(atomic_load(&m.sent), atomic_load(&m.received));
	CHECK(atomic_load(&m.sent) > 0);
	fan_free(&m.f);
	return 0;
}

TEST(selects_meet_selects)
{
	RUN(meet, NULL);
}

static void close_soon(void *arg)
{
	CHECK_EQ(0, kaus_sleep(MSEC));
	CHECK_EQ(0, kaus_chan_close(arg));
}

static int closing(void *arg)
{
	struct kaus_chan *a = kaus_chan_make(sizeof(int), 0);
	struct kaus_chan *b = kaus_chan_make(sizeof(int), 0);
	int value = 7;
	struct kaus_case cases[] = { KAUS_SEND(a, &value),
				     KAUS_RECV(b, &value) };

	ut_go(close_soon, a);
	CHECK_EQ(0, kaus_select(cases, 2));
	CHECK_EQ(-EPIPE, cases[0].result);
	cases[0].chan = NULL;
	ut_go(close_soon, b);
	CHECK_EQ(1, kaus_select(cases, 2));
	CHECK_EQ(-EPIPE, cases[1].result);
	/* Closed ones are ready for ever. */
	CHECK_EQ(1, kaus_select_try(cases, 2));
	CHECK_EQ(-EPIPE, cases[1].result);
	CHECK_EQ(7, value);
	kaus_chan_free(a);
	kaus_chan_free(b);
	return 0;
}

TEST(close_wakes_a_select)
{
	RUN(closing, NULL);
}

static int bad_and_empty(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(sizeof(int), 0);
	int value = 0;
	struct kaus_case bad = { ch, 2, 0, &value, { 0 } };
	struct kaus_case nil[] = { KAUS_RECV(NULL, &value),
				   KAUS_SEND(NULL, &value) };
	uint64_t end = kaus_now_ns() + MSEC;

	CHECK_EQ(-EINVAL, kaus_select(&bad, 1));
	CHECK_EQ(-EINVAL, kaus_select_try(&bad, 1));
	CHECK_EQ(-EINVAL, kaus_select(&bad, -1));
	CHECK_EQ(-EAGAIN, kaus_select_try(nil, 2));
	CHECK_EQ(-EAGAIN, kaus_select_try(NULL, 0));
	CHECK_EQ(-ETIMEDOUT, kaus_select_until(nil, 2, end));
	CHECK(kaus_now_ns() >= end);
	end += MSEC;
	CHECK_EQ(-ETIMEDOUT, kaus_select_until(NULL, 0, end));
	CHECK(kaus_now_ns() >= end);
	CHECK_EQ(-ETIMEDOUT, kaus_select_until(nil, 2, 0));
	kaus_chan_free(ch);
	return 0;
}

TEST(null_channels_no_channels_bad_cases)
{
	RUN(bad_and_empty, NULL);
}

/* Entries of a select that timed out are off the lists of its channels. */
static int timed_out(void *arg)
{
	struct kaus_case cases[NR_CHANS + 1];
	struct fan f;
	long value = 0, sent = 5;

	fan_init(&f, 0);
	recv_cases(&f, cases, &value);
	/* The same channel twice. */
	cases[NR_CHANS] = cases[0];
	for (int n = 0; n < 100; n++)
		CHECK_EQ(-ETIMEDOUT,
			 kaus_select_until(cases, NR_CHANS + 1,
					   kaus_now_ns() + 10 * USEC));
	memset(cases, 0xff, sizeof(cases));
	for (int i = 0; i < NR_CHANS; i++)
		CHECK_EQ(-EAGAIN, kaus_chan_try_send(f.ch[i], &sent));
	CHECK_EQ(0, value);
	fan_free(&f);
	return 0;
}

TEST(leaves_nothing_behind_when_it_times_out)
{
	RUN(timed_out, NULL);
}

static void *select_on_thread(void *arg)
{
	struct fan *f = arg;
	struct kaus_case cases[NR_CHANS];
	long value = 0, sum = 0;

	recv_cases(f, cases, &value);
	CHECK_EQ(-EAGAIN, kaus_select_try(cases, NR_CHANS));
	CHECK_EQ(-ETIMEDOUT, kaus_select_until(cases, NR_CHANS,
					       kaus_now_ns() + MSEC));
	CHECK_EQ(0, kaus_chan_send(f->done, &value));
	for (int n = 0; n < 1000; n++) {
		CHECK(kaus_select(cases, NR_CHANS) >= 0);
		sum += value;
	}
	return (void *)sum;
}

static int with_thread(void *arg)
{
	pthread_t thread;
	struct fan f;
	void *sum;

	fan_init(&f, 0);
	if (!CHECK_EQ(0, pthread_create(&thread, NULL, select_on_thread, &f)))
		return 0;
	CHECK_EQ(0, kaus_chan_recv(f.done, NULL));
	for (long n = 1; n <= 1000; n++)
		CHECK_EQ(0, kaus_chan_send(f.ch[n % NR_CHANS], &n));
	pthread_join(thread, &sum);
	CHECK_EQ(1000 * 1001 / 2, (long)sum);
	fan_free(&f);
	return 0;
}

TEST(plain_threads_may_select)
{
	RUN(with_thread, NULL);
}

/* Many cases, given in no order: what sorts and locks them. */
static int many(void *arg)
{
	enum { NR = 200 };
	static struct kaus_case cases[NR];
	struct kaus_chan *ch[NR];
	int value, i;

	for (i = 0; i < NR; i++)
		ch[i] = kaus_chan_make(sizeof(int), 1);
	for (i = 0; i < NR; i++)
		cases[i] = (struct kaus_case)KAUS_RECV(ch[i * 77 % NR], &value);
	for (i = 0; i < NR; i++) {
		CHECK_EQ(-EAGAIN, kaus_select_try(cases, NR));
		CHECK_EQ(0, kaus_chan_send(ch[i * 77 % NR], &i));
		CHECK_EQ(i, kaus_select(cases, NR));
		CHECK_EQ(i, value);
	}
	for (i = 0; i < NR; i++)
		kaus_chan_free(ch[i]);
	return 0;
}

TEST(two_hundred_cases)
{
	RUN(many, NULL);
}

/*
 * Nobody holds a lock here that could keep the wait from being over: its
 * deadline comes while it is only just falling asleep. Each goes on to another
 * one at another depth of its stack, which must find nobody at work there.
 */
__attribute__((noinline)) static void time_out(struct kaus_chan *ch, int depth)
{
	struct kaus_case nil[] = { KAUS_RECV(NULL, NULL), KAUS_RECV(NULL, NULL),
				   KAUS_SEND(NULL, NULL) };
	volatile unsigned char canary[256];
	unsigned int i;

	for (i = 0; i < sizeof(canary); i++)
		canary[i] = 0xff;
	if (depth) {
		time_out(ch, depth - 1);
	} else {
		uint64_t now = kaus_now_ns();

		CHECK_EQ(-ETIMEDOUT, kaus_select_until(nil, 3, now + 5 * USEC));
		now = kaus_now_ns();
		CHECK_EQ(-ETIMEDOUT, kaus_chan_recv_until(ch, NULL,
							  now + 5 * USEC));
	}
	for (i = 0; i < sizeof(canary); i++)
		if (!CHECK_EQ(0xff, canary[i]))
			break;
}

static void time_out_often(void *arg)
{
	for (int i = 0; i < 300; i++) {
		time_out(NULL, i % 7);
		/* The P is busy: others see to its timers. */
		ut_spin(5000);
	}
	CHECK_EQ(0, kaus_waitgroup_done(arg));
}

static int nulls_time_out(void *arg)
{
	struct kaus_waitgroup wg = KAUS_WAITGROUP_INIT;

	CHECK_EQ(0, kaus_waitgroup_add(&wg, 20));
	for (int i = 0; i < 20; i++)
		ut_go(time_out_often, &wg);
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	return 0;
}

TEST(null_channels_that_time_out_at_once)
{
	RUN(nulls_time_out, NULL);
}

TEST_HARNESS_MAIN
