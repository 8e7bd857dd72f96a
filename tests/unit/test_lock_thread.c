// SPDX-License-Identifier: GPL-2.0-only
/*
 * Goroutines that are locked to their thread: they never see another one,
 * however they stop and go on, and nobody else is seen on it; on one P as on
 * all of them; afterwards both are as any other.
 *
 * If it is broken: a goroutine goes on on a thread that is not its own, or
 * never; a P stays with a thread that waits.
 */
#include <sys/syscall.h>

#include "utest.h"

#define NR_LOCKED	4
#define NR_OTHERS	8
#define ROUNDS		200

static atomic_int locked_tids[NR_LOCKED];

static int tid(void)
{
	return (int)syscall(SYS_gettid);
}

struct locked {
	int i;
	struct kaus_chan *ch;
	struct kaus_waitgroup *wg;
};

static void compute(uint64_t ns)
{
	uint64_t end = kaus_now_ns() + ns;

	while (kaus_now_ns() < end)
		ut_spin(100);
}

static void locked_g(void *arg)
{
	struct locked *l = arg;
	int mine, value;

	CHECK_EQ(0, kaus_lock_thread());
	mine = tid();
	atomic_store(&locked_tids[l->i], mine);
	for (int n = 0; n < ROUNDS; n++) {
		kaus_yield();
		CHECK_EQ(mine, tid());
		CHECK_EQ(0, kaus_chan_recv(l->ch, &value));
		CHECK_EQ(mine, tid());
		if (n % 20 == 0)
			CHECK_EQ(0, kaus_sleep(100 * USEC));
		CHECK_EQ(mine, tid());
		if (n % 50 == 0)
			compute(15 * MSEC);
		CHECK_EQ(mine, tid());
	}
	atomic_store(&locked_tids[l->i], 0);
	if (l->i % 2)
		CHECK_EQ(0, kaus_unlock_thread());
	/* The others end locked. */
	CHECK_EQ(0, kaus_waitgroup_done(l->wg));
}

/* Goroutines of no particular thread, which feed the locked ones. */
static void other_g(void *arg)
{
	struct locked *l = arg;

	for (int n = 0; n < NR_LOCKED * ROUNDS / NR_OTHERS; n++) {
		int here = tid();

		for (int i = 0; i < NR_LOCKED; i++)
			CHECK(here != atomic_load(&locked_tids[i]) ||
			      here != tid());
		CHECK_EQ(0, kaus_chan_send(l->ch, &n));
	}
	CHECK_EQ(0, kaus_waitgroup_done(l->wg));
}

static int mixed(void *arg)
{
	struct kaus_waitgroup wg = KAUS_WAITGROUP_INIT;
	struct kaus_chan *ch = kaus_chan_make(sizeof(int), 2);
	struct locked l[NR_LOCKED];

	CHECK_EQ(0, kaus_waitgroup_add(&wg, NR_LOCKED + NR_OTHERS));
	for (int i = 0; i < NR_LOCKED; i++) {
		l[i] = (struct locked){ i, ch, &wg };
		ut_go(locked_g, &l[i]);
	}
	for (int i = 0; i < NR_OTHERS; i++)
		ut_go(other_g, &l[0]);
	CHECK_EQ(0, kaus_waitgroup_wait(&wg));
	kaus_chan_free(ch);
	return 0;
}

TEST(stay_on_their_threads_one_p)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, mixed, NULL);
}

TEST(stay_on_their_threads_two_ps)
{
	struct kaus_options opts = ut_procs(2);

	RUN_WITH(&opts, mixed, NULL);
}

static void *echo(void *arg)
{
	struct kaus_chan **ch = arg;
	long n;

	while (!kaus_chan_recv(ch[0], &n))
		CHECK_EQ(0, kaus_chan_send(ch[1], &n));
	return NULL;
}

static void *locked_echo(void *arg)
{
	CHECK_EQ(0, kaus_lock_thread());
	return echo(arg);
}

/* Both ends locked: each hop is from thread to thread. */
static int ping_pong(void *arg)
{
	struct kaus_chan *ch[2] = { kaus_chan_make(sizeof(long), 0),
				    kaus_chan_make(sizeof(long), 0) };
	struct kaus_g *g;
	int mine;
	long back;

	CHECK_EQ(0, kaus_lock_thread());
	mine = tid();
	g = ut_spawn(locked_echo, ch);
	for (long n = 0; n < 1000; n++) {
		CHECK_EQ(0, kaus_chan_send(ch[0], &n));
		CHECK_EQ(0, kaus_chan_recv(ch[1], &back));
		CHECK_EQ(n, back);
	}
	CHECK_EQ(0, kaus_chan_close(ch[0]));
	CHECK_EQ(0, kaus_join(g, NULL));
	CHECK_EQ(mine, tid());
	kaus_chan_free(ch[0]);
	kaus_chan_free(ch[1]);
	return 0;
}

TEST(two_locked_ones_talk_one_p)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, ping_pong, NULL);
}

TEST(two_locked_ones_talk_two_ps)
{
	struct kaus_options opts = ut_procs(2);

	RUN_WITH(&opts, ping_pong, NULL);
}

/* Nobody else is there to keep time for it, or for those it has left behind. */
static void *sleep_often(void *arg)
{
	for (int n = 0; n < 20; n++)
		CHECK_EQ(0, kaus_sleep(MSEC));
	return NULL;
}

static int sleeper(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(0, 0);
	struct kaus_g *g;

	CHECK_EQ(0, kaus_lock_thread());
	for (int n = 0; n < 20; n++) {
		CHECK_EQ(0, kaus_sleep(MSEC));
		CHECK_EQ(-ETIMEDOUT, kaus_chan_recv_until(ch, NULL,
							  kaus_now_ns() + MSEC));
	}
	g = ut_spawn(sleep_often, NULL);
	CHECK_EQ(0, kaus_join(g, NULL));
	kaus_chan_free(ch);
	return 0;
}

TEST(a_locked_one_may_sleep_alone)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, sleeper, NULL);
}

static void *nest(void *arg)
{
	CHECK_EQ(-EINVAL, kaus_unlock_thread());
	CHECK_EQ(0, kaus_lock_thread());
	CHECK_EQ(0, kaus_lock_thread());
	CHECK_EQ(0, kaus_unlock_thread());
	kaus_yield();
	CHECK_EQ(0, kaus_unlock_thread());
	CHECK_EQ(-EINVAL, kaus_unlock_thread());
	kaus_yield();
	CHECK_EQ(0, kaus_lock_thread());
	return NULL;
}

static int nested(void *arg)
{
	/* Each may get the thread that the one before has left locked. */
	for (int i = 0; i < 50; i++)
		CHECK_EQ(0, kaus_join(ut_spawn(nest, NULL), NULL));
	return 0;
}

TEST(calls_nest_and_end_with_the_goroutine)
{
	RUN(nested, NULL);
}

TEST_HARNESS_MAIN
