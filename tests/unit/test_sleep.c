// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sleeping: never shorter than asked, in the order of the deadlines on one P,
 * with the borders (0, the past, for ever, overflow) as documented.
 *
 * If it is broken: a timer heap that is out of order wakes late ones early and
 * early ones late, an earlier deadline set while everybody is idle does not
 * shorten the sleep of the thread that waits (a hang, or very late), or
 * kaus_sleep(UINT64_MAX) wraps round and returns at once.
 */
#include "utest.h"

static void sleep_checked(uint64_t ns)
{
	uint64_t start = kaus_now_ns(), end;

	CHECK_EQ(0, kaus_sleep(ns));
	end = kaus_now_ns();
	CHECK(end - start >= ns);
}

static int sleep_all_lengths(void *arg)
{
	static const uint64_t lengths[] = {
		1, 100, 1 * USEC, 10 * USEC, 49 * USEC, 100 * USEC,
		333 * USEC, 1 * MSEC, 1 * MSEC + 1, 7 * MSEC, 23 * MSEC,
	};
	uint64_t deadline;
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		for (j = 0; j < 5; j++) {
			sleep_checked(lengths[i]);
			deadline = kaus_now_ns() + lengths[i];
			CHECK_EQ(0, kaus_sleep_until(deadline));
			CHECK(kaus_now_ns() >= deadline);
		}
	}
	return 0;
}

TEST(never_early)
{
	RUN(sleep_all_lengths, NULL);
}

static int sleep_beside_hogs(void *arg)
{
	ut_go_hogs();
	return sleep_all_lengths(arg);
}

TEST(never_early_under_hogs)
{
	RUN(sleep_beside_hogs, NULL);
}

/*
 * Goroutines that sleep longer and longer, started in a shuffled order. Once
 * all of them sleep, the only P wakes them in the order of their deadlines,
 * however late. A round in which one was not asleep in time says nothing and
 * is done again. The slice is long so that nobody is preempted between waking
 * up and saying so.
 */
#define NR_ORDERED 12

struct ordered {
	uint64_t first_ns;
	struct kaus_waitgroup wg;
	atomic_bool is_void;
	atomic_int nr_woken;
	int order[NR_ORDERED];
};

struct one {
	struct ordered *all;
	int place;
};

static void wake_in_order(void *arg)
{
	struct one *one = arg;
	struct ordered *all = one->all;
	uint64_t deadline;

	deadline = all->first_ns + (uint64_t)one->place * 5 * MSEC;
	if (kaus_now_ns() >= all->first_ns - 25 * MSEC)
		atomic_store(&all->is_void, true);
	CHECK_EQ(0, kaus_sleep_until(deadline));
	CHECK(kaus_now_ns() >= deadline);
	all->order[atomic_fetch_add(&all->nr_woken, 1)] = one->place;
	CHECK_EQ(0, kaus_waitgroup_done(&all->wg));
}

static int order_main(void *arg)
{
	struct ordered *all = arg;
	struct one ones[NR_ORDERED];
	int i;

	do {
		atomic_store(&all->is_void, false);
		atomic_store(&all->nr_woken, 0);
		all->first_ns = kaus_now_ns() + 50 * MSEC;
		kaus_waitgroup_add(&all->wg, NR_ORDERED);
		for (i = 0; i < NR_ORDERED; i++) {
			ones[i].all = all;
			ones[i].place = i * 5 % NR_ORDERED;
			ut_go(wake_in_order, &ones[i]);
		}
		CHECK_EQ(0, kaus_waitgroup_wait(&all->wg));
	} while (atomic_load(&all->is_void));
	for (i = 0; i < NR_ORDERED; i++)
		CHECK_EQ(i, all->order[i]);
	return 0;
}

TEST(in_the_order_of_the_deadlines)
{
	struct kaus_options opts = ut_procs(1);
	static struct ordered all;

	opts.slice_ns = 1 * SEC;
	RUN_WITH(&opts, order_main, &all);
}

#define NR_SLEEPERS UT_MANY

struct sleepers {
	struct kaus_waitgroup wg;
	atomic_int nr_early;
};

static void sleeper(void *arg)
{
	struct sleepers *all = arg;
	uint64_t deadline, seed = kaus_goid() * 0x9e3779b97f4a7c15ULL;

	deadline = kaus_now_ns() + ut_rand(&seed) % (200 * MSEC);
	CHECK_EQ(0, kaus_sleep_until(deadline));
	if (kaus_now_ns() < deadline)
		atomic_fetch_add(&all->nr_early, 1);
	kaus_waitgroup_done(&all->wg);
}

static int sleepers_main(void *arg)
{
	struct sleepers *all = arg;
	int i;

	kaus_waitgroup_add(&all->wg, NR_SLEEPERS);
	for (i = 0; i < NR_SLEEPERS; i++)
		ut_go(sleeper, all);
	CHECK_EQ(0, kaus_waitgroup_wait(&all->wg));
	CHECK_EQ(0, all->nr_early);
	return 0;
}

TEST(ten_thousand_sleepers)
{
	static struct sleepers all;

	RUN(sleepers_main, &all);
}

TEST(ten_thousand_sleepers_on_eight_procs)
{
	struct kaus_options opts = ut_procs(8);
	static struct sleepers all;

	RUN_WITH(&opts, sleepers_main, &all);
}

static int borders(void *arg)
{
	int i;

	for (i = 0; i < 1000; i++) {
		CHECK_EQ(0, kaus_sleep(0));
		CHECK_EQ(0, kaus_sleep_until(0));
		CHECK_EQ(0, kaus_sleep_until(1));
		CHECK_EQ(0, kaus_sleep_until(kaus_now_ns() - 1));
	}
	return 0;
}

TEST(zero_and_the_past_return)
{
	RUN(borders, NULL);
}

static atomic_bool flag;

static void set_flag(void *arg)
{
	atomic_store(&flag, true);
}

static int zero_yields(void *arg)
{
	ut_go(set_flag, NULL);
	while (!atomic_load(&flag))
		kaus_sleep(0);
	atomic_store(&flag, false);
	ut_go(set_flag, NULL);
	while (!atomic_load(&flag))
		kaus_sleep_until(1);
	return 0;
}

TEST(zero_and_the_past_yield)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, zero_yields, NULL);
}

static void until_for_ever(void *arg)
{
	kaus_sleep_until(UINT64_MAX);
	atomic_store((atomic_bool *)arg, true);
}

static void for_ever(void *arg)
{
	kaus_sleep(UINT64_MAX);
	atomic_store((atomic_bool *)arg, true);
}

static void nearly_for_ever(void *arg)
{
	kaus_sleep(UINT64_MAX - 1);
	atomic_store((atomic_bool *)arg, true);
}

static int for_ever_main(void *arg)
{
	int i;

	ut_go(until_for_ever, &flag);
	ut_go(for_ever, &flag);
	ut_go(nearly_for_ever, &flag);
	for (i = 0; i < 10; i++)
		kaus_sleep(2 * MSEC);
	CHECK(!flag);
	return 0;
}

TEST(for_ever_is_for_ever_and_main_returns)
{
	RUN(for_ever_main, NULL);
}

/* Main parks first with a far deadline; a nearer one comes from elsewhere. */
static void near_sleeper(void *arg)
{
	sleep_checked(1 * MSEC);
	sleep_checked(2 * MSEC);
	CHECK_EQ(0, kaus_chan_send(arg, NULL));
}

static void far_sleeper(void *arg)
{
	kaus_sleep(3600 * SEC);
	CHECK(false);
}

static void *go_later(void *arg)
{
	usleep(20000);
	ut_go(near_sleeper, arg);
	return NULL;
}

static int nearer_deadline(void *arg)
{
	struct kaus_chan *ch = kaus_chan_make(0, 0);
	pthread_t thread;

	ut_go(far_sleeper, NULL);
	pthread_create(&thread, NULL, go_later, ch);
	CHECK_EQ(0, kaus_chan_recv(ch, NULL));
	pthread_join(thread, NULL);
	return 0;
}

TEST(nearer_deadline_shortens_the_idle_sleep)
{
	RUN(nearer_deadline, NULL);
}

TEST_HARNESS_MAIN
