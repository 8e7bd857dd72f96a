// SPDX-License-Identifier: GPL-2.0-only
/*
 * Functions marked KAUS_PREEMPTIBLE: they are preempted at any instruction
 * without another thread, go on on any, and find all registers as they were.
 *
 * If it is broken: a computation comes to a wrong result once in a thousand
 * preemptions, when it went on with another goroutine's vector registers; or a
 * function that did not promise anything finds itself on another thread.
 */
#include <sys/syscall.h>

#include "utest.h"

UT_PREEMPTS

static atomic_bool stop;

static uint64_t nr_light(void)
{
	return ut_stats().nr_light_preempts;
}

static pid_t tid(void)
{
	return (pid_t)syscall(SYS_gettid);
}

static struct kaus_options quick(unsigned int nr_procs)
{
	struct kaus_options opts = ut_procs(nr_procs);

	opts.slice_ns = 1 * MSEC;
	return opts;
}

/* ---- results ---- */

#define NR_VALUES 16

/* Integers and vectors live across every instruction; @seed tells them apart. */
KAUS_PREEMPTIBLE static uint64_t compute(uint64_t seed, unsigned long loops)
{
	double d[NR_VALUES];
	uint64_t x[NR_VALUES], sum = 0;
	int i;

	for (i = 0; i < NR_VALUES; i++) {
		x[i] = seed + (uint64_t)i;
		d[i] = (double)seed / (i + 1);
	}
	while (loops--)
		for (i = 0; i < NR_VALUES; i++) {
			x[i] = x[i] * 6364136223846793005ULL + seed;
			d[i] = d[i] * 1.0000001 + (double)i;
		}
	for (i = 0; i < NR_VALUES; i++)
		sum += x[i] ^ (uint64_t)(d[i] * 1000);
	return sum;
}

#define NR_COMPUTING 6
#define LOOPS 200000

static void *computing(void *arg)
{
	uint64_t seed = (uintptr_t)arg;

	return (void *)(uintptr_t)compute(seed, LOOPS);
}

static int all_compute(void *arg)
{
	uint64_t expected[NR_COMPUTING];
	struct kaus_g *gs[NR_COMPUTING];
	uint64_t light, rounds = 0;
	void *value;
	int i;

	(void)arg;
	for (i = 0; i < NR_COMPUTING; i++)
		expected[i] = compute((uint64_t)i + 1, LOOPS);
	light = nr_light();
	do {
		for (i = 0; i < NR_COMPUTING; i++)
			gs[i] = ut_spawn(computing, (void *)(uintptr_t)(i + 1));
		for (i = 0; i < NR_COMPUTING; i++) {
			CHECK_EQ(0, kaus_join(gs[i], &value));
			CHECK_EQ(expected[i], (uint64_t)(uintptr_t)value);
		}
	} while (++rounds < 2 || nr_light() < light + 20);
	return 0;
}

TEST(results_are_right_on_one_proc)
{
	struct kaus_options opts = quick(1);

	RUN_WITH(&opts, all_compute, NULL);
}

TEST(results_are_right_on_four_procs)
{
	struct kaus_options opts = quick(4);

	RUN_WITH(&opts, all_compute, NULL);
}

/* ---- no thread ---- */

KAUS_PREEMPTIBLE static void spin_marked(void)
{
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		;
}

static void hog_marked(void *arg)
{
	(void)arg;
	spin_marked();
}

#define NR_HOGS 50

/* As many hogs as would otherwise sit on a thread each. */
static int many_hogs(void *arg)
{
	int i;

	(void)arg;
	for (i = 0; i < NR_HOGS; i++)
		ut_go(hog_marked, NULL);
	while (nr_light() < 2 * NR_HOGS)
		kaus_sleep(1 * MSEC);
	CHECK(ut_stats().nr_threads < NR_HOGS / 2);
	atomic_store(&stop, true);
	return 0;
}

TEST(fifty_hogs_need_few_threads)
{
	struct kaus_options opts = quick(2);

	RUN_WITH(&opts, many_hogs, NULL);
}

/* ---- what makes no promise stays ---- */

__attribute__((noinline)) static void spin_unmarked(void)
{
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		;
}

KAUS_PREEMPTIBLE static void call_unmarked(void)
{
	spin_unmarked();
	/* Not a jump. */
	__asm__ volatile("");
}

static atomic_int nr_moved;

static void calling(void *arg)
{
	pid_t before = tid();

	(void)arg;
	call_unmarked();
	if (tid() != before)
		atomic_fetch_add(&nr_moved, 1);
}

static int unmarked(void *arg)
{
	struct kaus_stats st;
	int i;

	(void)arg;
	for (i = 0; i < 4; i++)
		ut_go(calling, NULL);
	do {
		kaus_sleep(1 * MSEC);
		st = ut_stats();
	} while (st.nr_preempts - st.nr_light_preempts < 50);
	atomic_store(&stop, true);
	while (ut_stats().nr_gs > 1)
		kaus_yield();
	CHECK_EQ(0, atomic_load(&nr_moved));
	return 0;
}

TEST(callees_without_the_mark_keep_their_thread)
{
	struct kaus_options opts = quick(2);

	RUN_WITH(&opts, unmarked, NULL);
}

static void locked(void *arg)
{
	pid_t before;

	(void)arg;
	CHECK_EQ(0, kaus_lock_thread());
	before = tid();
	spin_marked();
	CHECK_EQ(before, tid());
	CHECK_EQ(0, kaus_unlock_thread());
}

static int locked_to_thread(void *arg)
{
	uint64_t until = ut_stats().nr_preempts + 50;

	(void)arg;
	ut_go(locked, NULL);
	ut_go(locked, NULL);
	while (ut_stats().nr_preempts < until)
		kaus_sleep(1 * MSEC);
	atomic_store(&stop, true);
	while (ut_stats().nr_gs > 1)
		kaus_yield();
	return 0;
}

TEST(who_is_locked_to_a_thread_stays_there)
{
	struct kaus_options opts = quick(1);

	RUN_WITH(&opts, locked_to_thread, NULL);
}

/* ---- errno, depth ---- */

static void with_errno(void *arg)
{
	int mine = (int)(uintptr_t)arg;

	ut_set_errno(mine);
	spin_marked();
	CHECK_EQ(mine, ut_errno());
}

static int errnos(void *arg)
{
	int i;

	(void)arg;
	for (i = 1; i <= 8; i++)
		ut_go(with_errno, (void *)(uintptr_t)i);
	while (nr_light() < 50)
		kaus_sleep(1 * MSEC);
	atomic_store(&stop, true);
	while (ut_stats().nr_gs > 1)
		kaus_yield();
	return 0;
}

TEST(errno_is_kept)
{
	struct kaus_options opts = quick(2);

	RUN_WITH(&opts, errnos, NULL);
}

#define STACK_BYTES	(20UL << 10)
#define DEPTH_BYTES	(13UL << 10)

/* Down to where there is no room for the registers, and back. */
KAUS_PREEMPTIBLE static uint64_t deep(uint64_t depth, uintptr_t top)
{
	volatile uint64_t here = depth;
	uint64_t sum = 0;

	ut_spin(100000);
	if (top - (uintptr_t)__builtin_frame_address(0) < DEPTH_BYTES)
		sum = deep(depth + 1, top);
	CHECK_EQ(depth, here);
	return sum + 1;
}

static void *deeply(void *arg)
{
	uintptr_t top = (uintptr_t)__builtin_frame_address(0);

	(void)arg;
	return (void *)(uintptr_t)deep(0, top);
}

static int depths(void *arg)
{
	struct kaus_g *gs[4];
	uint64_t light = nr_light();
	void *value;
	int i;

	(void)arg;
	do {
		for (i = 0; i < 4; i++)
			gs[i] = ut_spawn(deeply, NULL);
		for (i = 0; i < 4; i++) {
			CHECK_EQ(0, kaus_join(gs[i], &value));
			CHECK((uintptr_t)value > 10);
		}
	} while (nr_light() < light + 10);
	return 0;
}

TEST(small_stacks_do_not_overflow)
{
	struct kaus_options opts = quick(2);

	opts.stack_size = STACK_BYTES;
	RUN_WITH(&opts, depths, NULL);
}

/* ---- what one may say ---- */

TEST(ranges_are_checked)
{
	static const char bytes[256];
	int i, err = 0;

	EXPECT_EQ(-EINVAL, kaus_preemptible_add(bytes, bytes));
	EXPECT_EQ(-EINVAL, kaus_preemptible_add(bytes + 1, bytes));
	EXPECT_EQ(0, kaus_preemptible_add(bytes, bytes + 1));
	/* The same again takes no place. */
	for (i = 0; i < 100; i++)
		EXPECT_EQ(0, kaus_preemptible_add(bytes, bytes + 1));
	for (i = 2; i < 256 && !err; i += 2)
		err = kaus_preemptible_add(bytes + i, bytes + i + 1);
	EXPECT_EQ(-ENOSPC, err);
	EXPECT_GT(i, 100);
	EXPECT_EQ(0, kaus_preemptible_add(bytes, bytes + 1));
}

TEST_HARNESS_MAIN
