// SPDX-License-Identifier: GPL-2.0-only
/*
 * When there is a cycle, besides that the heap has grown: none was for a long
 * time, the goal was set by hand. And who is told that the limit is too low.
 *
 * If it is broken: a program that could drop its caches is killed, finalizers
 * wait for ever, or an experiment with the goal shows nothing.
 */
#include "gcbegin.h"

#include "gc/state.h"

#define KB (1UL << 10)
#define MB (1UL << 20)
#define BLOCK_BYTES 4096UL

static struct kaus_gc_pacer pacer(void)
{
	struct kaus_gc_pacer p = { .size = sizeof(p) };

	CHECK_EQ(0, kaus_gc_pacer_read(&p));
	return p;
}

static void waste(size_t bytes)
{
	for (size_t i = 0; i < bytes; i += BLOCK_BYTES)
		CHECK(kaus_alloc_noscan(BLOCK_BYTES));
}

/* ---- the goal, by hand ---- */

static uint64_t cycles_with_goal(int64_t goal)
{
	uint64_t nr;

	CHECK_EQ(0, kaus_gc_set(KAUS_GC_GOAL, goal));
	CHECK_EQ(goal, kaus_gc_get(KAUS_GC_GOAL));
	CHECK_EQ(0, kaus_gc());
	CHECK_EQ(1, pacer().goal_is_set);
	CHECK_EQ((uint64_t)goal, pacer().goal_bytes);
	CHECK_EQ((uint64_t)goal, gc_stats().heap_goal_bytes);
	nr = gc_stats().nr_cycles;
	waste(256 * MB);
	return gc_stats().nr_cycles - nr;
}

static int goal_main(void *arg)
{
	struct kaus_gc_pacer p = { .size = sizeof(p) - 1 };
	uint64_t much, little;

	CHECK_EQ(-EINVAL, kaus_gc_pacer_read(&p));
	CHECK_EQ(-EINVAL, kaus_gc_set(KAUS_GC_GOAL, -2));
	CHECK_EQ(-1, kaus_gc_get(KAUS_GC_GOAL));
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_CONCURRENT, 0));
	much = cycles_with_goal(64 * MB);
	little = cycles_with_goal(16 * MB);
	/* 4 and 16, give or take what is live and what is in caches. */
	CHECK(much >= 3 && much <= 8);
	CHECK(little >= 3 * much - 2);
	/* Below what is live: not one cycle after the other. */
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_GOAL, 0));
	CHECK_EQ(0, kaus_gc());
	p = pacer();
	CHECK(p.goal_bytes >= p.marked_bytes + MB);
	CHECK(p.trigger_bytes <= p.goal_bytes);
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_GOAL, -1));
	CHECK_EQ(-1, kaus_gc_get(KAUS_GC_GOAL));
	CHECK_EQ(0, pacer().goal_is_set);
	CHECK(pacer().goal_bytes >= 4 * MB);
	return 0;
}

TEST(the_goal_is_set)
{
	RUN(goal_main, NULL);
}

/* ---- the limit ---- */

#define NR_CACHED 4096

static void **cache;
static atomic_int nr_calls;

static void drop_cache(void *arg)
{
	CHECK_EQ(7, *(int *)arg);
	CHECK(kaus_goid());
	/* Once it has helped a call that is late finds another goal. */
	CHECK(pacer().goal_is_limit || atomic_load(&nr_calls));
	memset(cache, 0, NR_CACHED * sizeof(*cache));
	atomic_fetch_add(&nr_calls, 1);
}

static int limit_main(void *arg)
{
	static int seven = 7;
	int nr;

	/* More than what it is limited to: 16 MiB. */
	cache = kaus_alloc(NR_CACHED * sizeof(*cache));
	for (int i = 0; i < NR_CACHED; i++)
		cache[i] = kaus_alloc_noscan(BLOCK_BYTES);
	kaus_gc_limit_handler_set(drop_cache, &seven);
	CHECK_EQ(0, kaus_gc());
	CHECK_EQ(0, atomic_load(&nr_calls));
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_LIMIT, 12 * MB));
	while (!atomic_load(&nr_calls)) {
		waste(MB);
		kaus_yield();
	}
	/* That helped. One more may be under way. */
	do {
		nr = atomic_load(&nr_calls);
		for (int i = 0; i < 8; i++) {
			waste(2 * MB);
			CHECK_EQ(0, kaus_gc());
		}
	} while (atomic_load(&nr_calls) != nr);
	CHECK(pacer().marked_bytes < 8 * MB);
	/* Nor is it called when nobody asks for it. */
	kaus_gc_limit_handler_set(NULL, NULL);
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_LIMIT, MB / 4));
	waste(16 * MB);
	CHECK_EQ(0, kaus_gc());
	CHECK_EQ(nr, atomic_load(&nr_calls));
	return 0;
}

TEST(the_limit_is_told)
{
	RUN(limit_main, NULL);
}

/* ---- who allocates while a cycle marks ---- */

#define ASSIST_BYTES	(256UL << 10)	/* ASSIST_MAX of gc/concurrent.c */

static uint64_t marked_here(void)
{
	struct m *mp = kr_enter();
	uint64_t bytes = kr_gc_of(mp)->marker.done_bytes;

	kr_exit(mp);
	return bytes;
}

/*
 * A goal that is near wants all of the heap marked for some of what is
 * allocated: an allocation does a part of it, and not all that it owes.
 */
static void allocate_in_a_cycle(uint64_t *ret_most, uint64_t *ret_all)
{
	uint64_t before, bytes;

	*ret_most = *ret_all = 0;
	CHECK_EQ(0, kaus_gc());
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_GOAL, (int64_t)
				(gc_stats().heap_live_bytes + 256 * KB)));
	begin_cycle();
	CHECK(kaus_gc_barrier_on);
	for (int i = 0; i < 8192 && kaus_gc_barrier_on; i++) {
		before = marked_here();
		CHECK(kaus_alloc_noscan(KB));
		bytes = marked_here() - before;
		*ret_all += bytes;
		if (bytes > *ret_most)
			*ret_most = bytes;
	}
}

static int assist_main(void *arg)
{
	uint64_t most, all;
	bool limiting, is_over;

	concurrent(0);
	elsewhere(make_ballast, (void *)17);
	/* Nobody helps while cycles have had too much of the CPU time. */
	for (uint64_t ns = 100 * MSEC;; ns *= 2) {
		allocate_in_a_cycle(&most, &all);
		is_over = !kaus_gc_barrier_on;
		kaus_preempt_enable();
		limiting = pacer().limiting;
		if (is_over || !limiting)
			break;
		kaus_sleep(ns);
	}
	/* An object counts as what it takes to fetch it, too. */
	CHECK(most > ASSIST_BYTES / 4 && most <= ASSIST_BYTES);
	/* And there is nobody else. */
	CHECK(is_over);
	CHECK(all >= 8 * MB - 32);
	return 0;
}

TEST(an_allocation_marks_a_part)
{
	const struct kaus_options opts = ut_procs(1);

	UT_SKIP_TSAN("cycles have too much of the CPU time, so nobody helps");
	RUN_WITH(&opts, assist_main, NULL);
}

/* ---- after some time ---- */

static void note(void *arg)
{
	atomic_fetch_add(&nr_calls, 1);
}

static void die(void *arg)
{
	void *obj = kaus_alloc(64);

	CHECK(kaus_gc_cleanup_add(obj, note, NULL) >= 0);
}

static int period_main(void *arg)
{
	CHECK_EQ(120 * (int64_t)SEC, kaus_gc_get(KAUS_GC_PERIOD));
	CHECK_EQ(-EINVAL, kaus_gc_set(KAUS_GC_PERIOD, -2));
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_PERIOD, -1));
	CHECK_EQ(-1, kaus_gc_get(KAUS_GC_PERIOD));
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_PERIOD, 100 * MSEC));
	for (int i = 0; i < 10; i++)
		ut_go(die, NULL);
	/* Nothing is allocated; goroutines run. */
	while (!atomic_load(&nr_calls))
		kaus_sleep(MSEC);
	CHECK(gc_stats().nr_forced > 0);
	return 0;
}

TEST(a_cycle_after_some_time)
{
	RUN(period_main, NULL);
}

TEST_HARNESS_MAIN
