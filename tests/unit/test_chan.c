// SPDX-License-Identifier: GPL-2.0-only
/*
 * Channels: elements arrive once, whole and in order; unbuffered channels are
 * a rendezvous; a full channel stops senders and an empty one receivers;
 * closing wakes everybody and keeps what is buffered; plain threads may use
 * the try_ calls.
 *
 * If it is broken: an element is lost or seen twice when a receiver parks at
 * the moment a sender arrives, a ring buffer of wrong size mixes up order at
 * its end, or a close leaves a sleeper behind (a hang).
 */
#include "utest.h"

static void send_ints(struct kaus_chan *ch, int from, int to)
{
	int i;

	for (i = from; i < to; i++)
		CHECK_EQ(0, kaus_chan_send(ch, &i));
}

static void send_thousand(void *arg)
{
	send_ints(arg, 0, 1000);
	CHECK_EQ(0, kaus_chan_close(arg));
}

/* Receive until closed: consecutive ints from 0; returns how many. */
static int recv_ints(struct kaus_chan *ch)
{
	int value, n = 0;

	while (!kaus_chan_recv(ch, &value))
		CHECK_EQ(n++, value);
	return n;
}

static int fifo(void *arg)
{
	size_t capacity = *(size_t *)arg;
	struct kaus_chan *ch = kaus_chan_make(sizeof(int), capacity);

	if (!CHECK(ch))
		return 0;
	ut_go(send_thousand, ch);
	CHECK_EQ(1000, recv_ints(ch));
	CHECK_EQ(-EPIPE, kaus_chan_recv(ch, NULL));
	kaus_chan_free(ch);
	return 0;
}

TEST(order_unbuffered)
{
	size_t capacity = 0;

	RUN(fifo, &capacity);
}

TEST(order_capacity_1)
{
	size_t capacity = 1;

	RUN(fifo, &capacity);
}

TEST(order_capacity_7)
{
	size_t capacity = 7;

	RUN(fifo, &capacity);
}

TEST(order_capacity_4096)
{
	size_t capacity = 4096;

	RUN(fifo, &capacity);
}

/* An unbuffered send returns only when a receiver has come. */
struct meeting {
	struct kaus_chan *ch;
	atomic_int nr_sent;
};

static void meet_sender(void *arg)
{
	struct meeting *m = arg;
	int i;

	for (i = 0; i < 10; i++) {
		CHECK_EQ(0, kaus_chan_send(m->ch, &i));
		atomic_fetch_add(&m->nr_sent, 1);
	}
}

static int rendezvous(void *arg)
{
	struct meeting m = { 0 };
	int i, j, value = -1;

	m.ch = kaus_chan_make(sizeof(int), 0);
	ut_go(meet_sender, &m);
	for (i = 0; i < 10; i++) {
		for (j = 0; j < 20; j++)
			kaus_yield();
		CHECK(atomic_load(&m.nr_sent) <= i);
		CHECK_EQ(0, kaus_chan_len(m.ch));
		CHECK_EQ(0, kaus_chan_recv(m.ch, &value));
		CHECK_EQ(i, value);
	}
	while (atomic_load(&m.nr_sent) < 10)
		kaus_yield();
	kaus_chan_free(m.ch);
	return 0;
}

TEST(unbuffered_is_a_rendezvous)
{
	RUN(rendezvous, NULL);
}

static int capacity_main(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(sizeof(int), 5);
	int i, value = -1;

	CHECK_EQ(-EAGAIN, kaus_chan_try_recv(ch, &value));
	CHECK_EQ(-1, value);
	for (i = 0; i < 5; i++) {
		CHECK_EQ(i, kaus_chan_len(ch));
		CHECK_EQ(0, kaus_chan_try_send(ch, &i));
	}
	CHECK_EQ(5, kaus_chan_len(ch));
	CHECK_EQ(-EAGAIN, kaus_chan_try_send(ch, &i));
	CHECK_EQ(5, kaus_chan_len(ch));

	/* Round the ring's end a few times. */
	for (i = 5; i < 30; i++) {
		CHECK_EQ(0, kaus_chan_try_recv(ch, &value));
		CHECK_EQ(i - 5, value);
		CHECK_EQ(0, kaus_chan_try_send(ch, &i));
		CHECK_EQ(-EAGAIN, kaus_chan_try_send(ch, &i));
	}
	for (i = 25; i < 30; i++) {
		CHECK_EQ(0, kaus_chan_recv(ch, &value));
		CHECK_EQ(i, value);
	}
	CHECK_EQ(0, kaus_chan_len(ch));
	CHECK_EQ(-EAGAIN, kaus_chan_try_recv(ch, &value));
	kaus_chan_free(ch);
	return 0;
}

TEST(capacity_is_exact)
{
	RUN(capacity_main, NULL);
}

static void recv_one(void *arg)
{
	int value = -1;

	CHECK_EQ(0, kaus_chan_recv(arg, &value));
	CHECK_EQ(77, value);
}

static void send_one(void *arg)
{
	int value = 78;

	CHECK_EQ(0, kaus_chan_send(arg, &value));
}

static int try_unbuffered(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(sizeof(int), 0);
	int value = 77;

	CHECK_EQ(-EAGAIN, kaus_chan_try_send(ch, &value));
	CHECK_EQ(-EAGAIN, kaus_chan_try_recv(ch, &value));
	CHECK_EQ(77, value);
	ut_go(recv_one, ch);
	while (kaus_chan_try_send(ch, &value) == -EAGAIN)
		kaus_yield();
	ut_go(send_one, ch);
	while (kaus_chan_try_recv(ch, &value) == -EAGAIN)
		kaus_yield();
	CHECK_EQ(78, value);
	kaus_chan_free(ch);
	return 0;
}

TEST(try_meets_a_waiting_partner)
{
	RUN(try_unbuffered, NULL);
}

static int close_and_drain(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(sizeof(int), 10);
	int i, value = -1;

	send_ints(ch, 0, 6);
	CHECK_EQ(0, kaus_chan_close(ch));
	CHECK_EQ(-EPIPE, kaus_chan_close(ch));
	CHECK_EQ(-EPIPE, kaus_chan_send(ch, &value));
	CHECK_EQ(-EPIPE, kaus_chan_try_send(ch, &value));
	CHECK_EQ(6, kaus_chan_len(ch));
	for (i = 0; i < 3; i++) {
		CHECK_EQ(0, kaus_chan_recv(ch, &value));
		CHECK_EQ(i, value);
	}
	for (; i < 5; i++) {
		CHECK_EQ(0, kaus_chan_try_recv(ch, &value));
		CHECK_EQ(i, value);
	}
	CHECK_EQ(0, kaus_chan_recv(ch, NULL));
	value = 1234;
	CHECK_EQ(-EPIPE, kaus_chan_recv(ch, &value));
	CHECK_EQ(-EPIPE, kaus_chan_try_recv(ch, &value));
	CHECK_EQ(-EPIPE, kaus_chan_recv(ch, NULL));
	CHECK_EQ(1234, value);
	kaus_chan_free(ch);
	return 0;
}

TEST(closed_channel_is_drained)
{
	RUN(close_and_drain, NULL);
}

struct closing {
	struct kaus_chan *ch;
	atomic_int started;
	atomic_int ended;
};

static void closed_receiver(void *arg)
{
	struct closing *c = arg;
	int value = 55;

	atomic_fetch_add(&c->started, 1);
	CHECK_EQ(-EPIPE, kaus_chan_recv(c->ch, &value));
	CHECK_EQ(55, value);
	atomic_fetch_add(&c->ended, 1);
}

static void closed_sender(void *arg)
{
	struct closing *c = arg;
	int value = 66;

	atomic_fetch_add(&c->started, 1);
	CHECK_EQ(-EPIPE, kaus_chan_send(c->ch, &value));
	atomic_fetch_add(&c->ended, 1);
}

static void close_on(struct closing *c, void (*fn)(void *), size_t capacity)
{
	int i, value;

	atomic_store(&c->started, 0);
	atomic_store(&c->ended, 0);
	c->ch = kaus_chan_make(sizeof(int), capacity);
	if (fn == closed_sender)
		send_ints(c->ch, 0, (int)capacity);
	for (i = 0; i < 100; i++)
		ut_go(fn, c);
	while (atomic_load(&c->started) < 100)
		kaus_yield();
	for (i = 0; i < 50; i++)
		kaus_yield();
	CHECK_EQ(0, c->ended);
	CHECK_EQ(0, kaus_chan_close(c->ch));
	while (atomic_load(&c->ended) < 100)
		kaus_yield();
	if (fn == closed_sender)
		for (i = 0; i < (int)capacity; i++) {
			CHECK_EQ(0, kaus_chan_recv(c->ch, &value));
			CHECK_EQ(i, value);
		}
	CHECK_EQ(-EPIPE, kaus_chan_recv(c->ch, &value));
	kaus_chan_free(c->ch);
}

static int close_waiting(void *arg)
{
	static struct closing c;

	close_on(&c, closed_receiver, 0);
	close_on(&c, closed_receiver, 3);
	close_on(&c, closed_sender, 0);
	close_on(&c, closed_sender, 3);
	return 0;
}

TEST(close_wakes_all_waiters)
{
	RUN(close_waiting, NULL);
}

/*
 * Many to many. A message says who sent it and which of his it is, so that a
 * receiver can see that each sender's come in order.
 */
#define NR_SIDE 8
#define NR_MSGS 4000

struct msg {
	uint32_t sender;
	uint32_t seq;
};

struct crowd {
	struct kaus_chan *ch;
	struct kaus_waitgroup senders;
	struct kaus_waitgroup receivers;
	atomic_uint next;
	atomic_ullong nr_received;
	atomic_ullong sum;
};

static void crowd_sender(void *arg)
{
	struct crowd *crowd = arg;
	struct msg msg = { .sender = atomic_fetch_add(&crowd->next, 1) };

	for (msg.seq = 0; msg.seq < NR_MSGS; msg.seq++)
		CHECK_EQ(0, kaus_chan_send(crowd->ch, &msg));
	kaus_waitgroup_done(&crowd->senders);
}

static void crowd_receiver(void *arg)
{
	struct crowd *crowd = arg;
	long long last[NR_SIDE];
	struct msg msg;
	int i;

	for (i = 0; i < NR_SIDE; i++)
		last[i] = -1;
	while (!kaus_chan_recv(crowd->ch, &msg)) {
		if (!CHECK(msg.sender < NR_SIDE))
			continue;
		CHECK(last[msg.sender] < (long long)msg.seq);
		last[msg.sender] = msg.seq;
		atomic_fetch_add(&crowd->nr_received, 1);
		atomic_fetch_add(&crowd->sum, msg.seq + 1);
	}
	kaus_waitgroup_done(&crowd->receivers);
}

static int crowd_main(void *arg)
{
	struct crowd crowd = { 0 };
	int i;

	crowd.ch = kaus_chan_make(sizeof(struct msg), *(size_t *)arg);
	kaus_waitgroup_add(&crowd.senders, NR_SIDE);
	kaus_waitgroup_add(&crowd.receivers, NR_SIDE);
	for (i = 0; i < NR_SIDE; i++) {
		ut_go(crowd_sender, &crowd);
		ut_go(crowd_receiver, &crowd);
	}
	CHECK_EQ(0, kaus_waitgroup_wait(&crowd.senders));
	CHECK_EQ(0, kaus_chan_close(crowd.ch));
	CHECK_EQ(0, kaus_waitgroup_wait(&crowd.receivers));
	CHECK_EQ(NR_SIDE * NR_MSGS, crowd.nr_received);
	CHECK_EQ(NR_SIDE * (NR_MSGS * (NR_MSGS + 1ULL) / 2), crowd.sum);
	kaus_chan_free(crowd.ch);
	return 0;
}

TEST(many_to_many_unbuffered)
{
	size_t capacity = 0;

	RUN(crowd_main, &capacity);
}

TEST(many_to_many_buffered)
{
	size_t capacity = 16;

	RUN(crowd_main, &capacity);
}

TEST(many_to_many_on_eight_procs)
{
	struct kaus_options opts = ut_procs(8);
	size_t capacity = 3;

	RUN_WITH(&opts, crowd_main, &capacity);
}

static void send_events(void *arg)
{
	int i;

	for (i = 0; i < 500; i++)
		CHECK_EQ(0, kaus_chan_send(arg, NULL));
	CHECK_EQ(0, kaus_chan_close(arg));
}

static int events(void *arg)
{
	struct kaus_chan *ch;
	size_t capacity;
	int n;

	for (capacity = 0; capacity < 12; capacity += 4) {
		ch = kaus_chan_make(0, capacity);
		if (!CHECK(ch))
			return 0;
		ut_go(send_events, ch);
		for (n = 0; !kaus_chan_recv(ch, NULL); n++)
			;
		CHECK_EQ(500, n);
		kaus_chan_free(ch);
	}
	ch = kaus_chan_make(0, 2);
	CHECK_EQ(0, kaus_chan_try_send(ch, NULL));
	CHECK_EQ(0, kaus_chan_try_send(ch, NULL));
	CHECK_EQ(-EAGAIN, kaus_chan_try_send(ch, NULL));
	CHECK_EQ(2, kaus_chan_len(ch));
	kaus_chan_free(ch);
	return 0;
}

TEST(elements_of_size_0_are_events)
{
	RUN(events, NULL);
}

#define BIG (100 * 1024 + 13)

static void fill_big(unsigned char *big, unsigned int seed)
{
	unsigned int i;

	for (i = 0; i < BIG; i++)
		big[i] = (unsigned char)(i * 31 + seed);
}

static void send_big(void *arg)
{
	unsigned char *big = malloc(BIG);
	unsigned int i;

	for (i = 0; i < 20; i++) {
		fill_big(big, i);
		CHECK_EQ(0, kaus_chan_send(arg, big));
		memset(big, 0xee, BIG);
	}
	free(big);
	CHECK_EQ(0, kaus_chan_close(arg));
}

static int big_elements(void *arg)
{
	unsigned char *seen = malloc(BIG + 1), *expected = malloc(BIG);
	struct kaus_chan *ch;
	size_t capacity;
	unsigned int i;

	seen[BIG] = 0x5a;
	for (capacity = 0; capacity < 6; capacity += 3) {
		ch = kaus_chan_make(BIG, capacity);
		ut_go(send_big, ch);
		for (i = 0; !kaus_chan_recv(ch, seen); i++) {
			fill_big(expected, i);
			CHECK(!memcmp(expected, seen, BIG));
			CHECK_EQ(0x5a, seen[BIG]);
		}
		CHECK_EQ(20, i);
		kaus_chan_free(ch);
	}
	free(seen);
	free(expected);
	return 0;
}

TEST(big_elements_arrive_whole)
{
	RUN(big_elements, NULL);
}

static void send_odd(void *arg)
{
	const char odd[] = "seven!";
	int i;

	for (i = 0; i < 50; i++)
		CHECK_EQ(0, kaus_chan_send(arg, odd));
	CHECK_EQ(0, kaus_chan_close(arg));
}

/* Odd sizes write exactly their bytes. */
static int odd_elements(void *arg)
{
	struct kaus_chan *ch;
	size_t capacity;
	char seen[8];

	for (capacity = 0; capacity < 10; capacity += 5) {
		ch = kaus_chan_make(7, capacity);
		ut_go(send_odd, ch);
		memset(seen, 'x', sizeof(seen));
		while (!kaus_chan_recv(ch, seen)) {
			CHECK(!memcmp(seen, "seven!\0x", 8));
			memset(seen, 'x', sizeof(seen));
		}
		CHECK(!memcmp(seen, "xxxxxxxx", 8));
		kaus_chan_free(ch);
	}
	return 0;
}

TEST(odd_elements_write_their_bytes_only)
{
	RUN(odd_elements, NULL);
}

TEST(impossible_channels_are_null)
{
	struct kaus_chan *ch;

	ch = kaus_chan_make(SIZE_MAX, 2);
	EXPECT_EQ(NULL, ch);
	ch = kaus_chan_make((size_t)1 << 33, (size_t)1 << 33);
	EXPECT_EQ(NULL, ch);
	ch = kaus_chan_make(16, SIZE_MAX / 16 + 2);
	EXPECT_EQ(NULL, ch);
}

static void park_on(void *arg)
{
	kaus_chan_recv(arg, NULL);
}

static int free_busy(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(4, 0);
	int i;

	ut_go(park_on, ch);
	for (i = 0; i < 100; i++)
		kaus_sleep(1 * MSEC);
	kaus_chan_free(ch);
	return 0;
}

static void run_free_busy(void)
{
	kaus_run(free_busy, NULL);
}

TEST(free_with_waiters_aborts)
{
	int status = ut_child(run_free_busy);

	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGABRT, WTERMSIG(status));
}

/* A channel may be made before the run and freed after it. */
static int fill_foreign(void *arg)
{
	send_ints(arg, 0, 3);
	return 0;
}

TEST(channel_outlives_the_run)
{
	struct kaus_chan *ch = kaus_chan_make(sizeof(int), 3);

	ASSERT_NE(NULL, ch);
	RUN(fill_foreign, ch);
	EXPECT_EQ(3UL, kaus_chan_len(ch));
	kaus_chan_free(ch);
}

/* Plain threads on both sides of a pipeline whose middle are goroutines. */
#define NR_PLAIN 5000

struct plain {
	struct kaus_chan *in;
	struct kaus_chan *out;
	atomic_bool done;
};

static void *plain_sender(void *arg)
{
	struct plain *plain = arg;
	int i, ret;

	for (i = 1; i <= NR_PLAIN; i++) {
		while ((ret = kaus_chan_try_send(plain->in, &i)) == -EAGAIN)
			sched_yield();
		CHECK_EQ(0, ret);
	}
	CHECK_EQ(0, kaus_chan_close(plain->in));
	return NULL;
}

static void *plain_receiver(void *arg)
{
	struct plain *plain = arg;
	long long sum = 0;
	int value, ret;

	for (;;) {
		ret = kaus_chan_try_recv(plain->out, &value);
		if (ret == -EPIPE)
			break;
		if (ret == -EAGAIN) {
			sched_yield();
			continue;
		}
		CHECK_EQ(0, ret);
		sum += value;
	}
	CHECK_EQ((long long)NR_PLAIN * (NR_PLAIN + 1) / 2, sum);
	atomic_store(&plain->done, true);
	return NULL;
}

static void pump(void *arg)
{
	struct plain *plain = arg;
	int value;

	while (!kaus_chan_recv(plain->in, &value))
		CHECK_EQ(0, kaus_chan_send(plain->out, &value));
	CHECK_EQ(0, kaus_chan_close(plain->out));
}

static int plain_main(void *arg)
{
	size_t capacity = *(size_t *)arg;
	struct plain plain = { 0 };
	pthread_t threads[2];

	plain.in = kaus_chan_make(sizeof(int), capacity);
	plain.out = kaus_chan_make(sizeof(int), capacity);
	pthread_create(&threads[0], NULL, plain_sender, &plain);
	pthread_create(&threads[1], NULL, plain_receiver, &plain);
	ut_go(pump, &plain);
	while (!atomic_load(&plain.done))
		kaus_sleep(1 * MSEC);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	kaus_chan_free(plain.in);
	kaus_chan_free(plain.out);
	return 0;
}

TEST(plain_threads_try_unbuffered)
{
	size_t capacity = 0;

	RUN(plain_main, &capacity);
}

TEST(plain_threads_try_buffered)
{
	size_t capacity = 64;

	RUN(plain_main, &capacity);
}

TEST_HARNESS_MAIN
