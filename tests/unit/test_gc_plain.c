// SPDX-License-Identifier: GPL-2.0-only
/*
 * The collector without a runtime, and threads of the program that have caches
 * of their own: what they hold stays, cycles begin by themselves, and a runtime
 * may be started beside it.
 *
 * If it is broken: an object changes under the hands of its thread, the heap
 * grows without end, or a cycle waits for ever for a thread that allocates.
 */
#include "utest.h"

#define WHY_TSAN "a thread that waits in the runtime gets no signal"
#define KB 1024UL
#define NR_THREADS 4
#define NR_ROUNDS 60

static struct kaus_gc_stats gc_stats(void)
{
	struct kaus_gc_stats st = { .size = sizeof(st) };

	CHECK_EQ(0, kaus_gc_stats_read(&st));
	return st;
}

struct node {
	struct node *left, *right;
	uint64_t tag;
	uint64_t sum;		/* tag ^ MAGIC */
};

#define MAGIC 0x9e3779b97f4a7c15ULL

static struct node *make_tree(int depth, uint64_t tag)
{
	struct node *n = kaus_alloc(sizeof(*n));

	if (!CHECK(n) || !CHECK(!n->left && !n->right && !n->tag))
		return NULL;
	n->tag = tag;
	n->sum = tag ^ MAGIC;
	if (depth) {
		n->left = make_tree(depth - 1, 2 * tag);
		n->right = make_tree(depth - 1, 2 * tag + 1);
	}
	return n;
}

static unsigned long check_tree(const struct node *n, uint64_t tag)
{
	if (!n)
		return 0;
	if (!CHECK(n->tag == tag && n->sum == (tag ^ MAGIC)))
		return 0;
	return 1 + check_tree(n->left, 2 * tag) +
	       check_tree(n->right, 2 * tag + 1);
}

static struct node *global_tree;

/* What another thread has left on its stack is not looked at when it is gone. */
static void *make_global(void *arg)
{
	CHECK_EQ(0, kaus_gc_thread_register());
	global_tree = make_tree(12, 1);
	CHECK_EQ(0, kaus_gc_thread_unregister());
	return arg;
}

static void *cut_global(void *arg)
{
	CHECK_EQ(8191, check_tree(global_tree, 1));
	global_tree->left = NULL;
	return arg;
}

static void *drop_global(void *arg)
{
	CHECK_EQ(4096, check_tree(global_tree, 1));
	global_tree = NULL;
	return arg;
}

static void elsewhere(void *(*fn)(void *))
{
	pthread_t t;

	CHECK_EQ(0, pthread_create(&t, NULL, fn, NULL));
	CHECK_EQ(0, pthread_join(t, NULL));
}

static uint64_t count_live(void)
{
	CHECK_EQ(0, kaus_gc());
	return gc_stats().nr_marked;
}

TEST(live_stays_and_dead_is_freed)
{
	uint64_t base;

	CHECK_EQ(-EPERM, kaus_gc());
	ASSERT_EQ(0, kaus_gc_thread_register());
	CHECK_EQ(-EEXIST, kaus_gc_thread_register());
	base = count_live();
	elsewhere(make_global);
	CHECK_EQ(base + 8191, count_live());
	elsewhere(cut_global);
	CHECK_EQ(base + 4096, count_live());
	elsewhere(drop_global);
	CHECK_EQ(base, count_live());
	CHECK_EQ(0, kaus_gc_thread_unregister());
	CHECK_EQ(-EPERM, kaus_gc());
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

TEST(cycles_begin_by_themselves)
{
	struct node *kept;

	ASSERT_EQ(0, kaus_gc_thread_register());
	kept = make_tree(10, 1);
	/* It would be 200 MB. */
	for (int i = 0; i < 3200; i++) {
		CHECK(kaus_alloc(64 * KB - 64));
		CHECK(kaus_alloc_noscan(100));
	}
	CHECK(gc_stats().nr_cycles > 5);
	CHECK(gc_stats().heap_live_bytes < 32 * KB * KB);
	CHECK_EQ(2047, check_tree(kept, 1));
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

static atomic_uint nr_done;

static void *build_and_check(void *arg)
{
	struct node *kept;

	CHECK_EQ(0, kaus_gc_thread_register());
	kept = make_tree(9, (uintptr_t)arg);
	for (int i = 0; i < NR_ROUNDS; i++) {
		struct node *n = make_tree(8, 3);
		char *freed = kaus_alloc(200);

		CHECK_EQ(511, check_tree(n, 3));
		kaus_free(freed);
		if (i % 16 == 5)
			CHECK_EQ(0, kaus_gc());
	}
	CHECK_EQ(1023, check_tree(kept, (uintptr_t)arg));
	CHECK_EQ(0, kaus_gc_thread_unregister());
	atomic_fetch_add(&nr_done, 1);
	return NULL;
}

/* Has no cache of its own, and is not looked at: what it gets may be gone. */
static void *unregistered(void *arg)
{
	while (atomic_load(&nr_done) < NR_THREADS)
		CHECK(kaus_alloc_noscan(64));
	return arg;
}

static void run_threads(void)
{
	pthread_t t[NR_THREADS], other;

	atomic_store(&nr_done, 0);
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		CHECK_EQ(0, pthread_create(&t[i], NULL, build_and_check,
					   (void *)(i + 1)));
	CHECK_EQ(0, pthread_create(&other, NULL, unregistered, NULL));
	for (int i = 0; i < NR_THREADS; i++)
		CHECK_EQ(0, pthread_join(t[i], NULL));
	CHECK_EQ(0, pthread_join(other, NULL));
}

TEST(threads_allocate_and_collect_at_once)
{
	UT_SKIP_TSAN(WHY_TSAN);
	run_threads();
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

static int with_goroutines(void *arg)
{
	struct node *kept = make_tree(9, 5);

	run_threads();
	CHECK_EQ(0, kaus_gc());
	CHECK_EQ(1023, check_tree(kept, 5));
	return 0;
}

/* The settings, the heap and what has been counted stay. */
TEST(runtime_starts_later)
{
	uint64_t nr;

	UT_SKIP_TSAN(WHY_TSAN);
	ASSERT_EQ(0, kaus_gc_thread_register());
	ASSERT_EQ(0, kaus_gc_set(KAUS_GC_PERCENT, 77));
	global_tree = make_tree(8, 7);
	CHECK_EQ(0, kaus_gc());
	nr = gc_stats().nr_cycles;
	RUN(with_goroutines, NULL);
	CHECK(gc_stats().nr_cycles > nr);
	CHECK_EQ(77, kaus_gc_get(KAUS_GC_PERCENT));
	CHECK_EQ(511, check_tree(global_tree, 7));
	/* It has ended: goroutines may be anywhere. */
	CHECK_EQ(-EPERM, kaus_gc());
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

static void *wait_for_it(void *arg)
{
	CHECK_EQ(0, kaus_gc_thread_register());
	atomic_fetch_add(&nr_done, 1);
	pause();
	return arg;
}

/* 0: it collects and the tree is whole. */
static int status_of_child(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		int err = kaus_gc();

		if (check_tree(global_tree, 7) != 511)
			err = -EIO;
		_exit(-err);
	}
	CHECK_EQ(pid, waitpid(pid, &status, 0));
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(child_of_fork)
{
	pthread_t t;

	UT_SKIP_TSAN(WHY_TSAN);
	ASSERT_EQ(0, kaus_gc_thread_register());
	global_tree = make_tree(8, 7);
	CHECK_EQ(0, status_of_child());
	ASSERT_EQ(0, pthread_create(&t, NULL, wait_for_it, NULL));
	while (!atomic_load(&nr_done))
		usleep(1000);
	CHECK_EQ(0, kaus_gc());
	/* There was another thread: nobody knows what it was at. */
	CHECK_EQ(EPERM, status_of_child());
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

/* ---- one collects, while cycles of another's end in between ---- */

#define NR_WAITS 200
#define NR_SWEPT 3000

static void *swept[NR_SWEPT];
static atomic_uint nr_collected;
static atomic_bool enough;

static void *collect(void *arg)
{
	CHECK_EQ(0, kaus_gc_thread_register());
	while (!atomic_load(&enough)) {
		CHECK_EQ(0, kaus_gc());
		atomic_fetch_add(&nr_collected, 1);
		/* Or a slow machine does nothing else. */
		usleep(500);
	}
	CHECK_EQ(0, kaus_gc_thread_unregister());
	return arg;
}

TEST(who_collects_waits_for_nobody)
{
	pthread_t thread;

	UT_SKIP_TSAN(WHY_TSAN);
	EXPECT_EQ(0, kaus_gc_thread_register());
	/* Each some allocations one is due, and there is something to sweep. */
	EXPECT_EQ(0, kaus_gc_set(KAUS_GC_GOAL, 1 << 20));
	for (int i = 0; i < NR_SWEPT; i++)
		swept[i] = kaus_alloc(1000);
	EXPECT_EQ(0, pthread_create(&thread, NULL, collect, NULL));
	for (int i = 0; i < NR_WAITS; i++) {
		unsigned int seen;

		for (int k = 0; k < 200; k++)
			EXPECT_NE(NULL, kaus_alloc(8000));
		/* Nobody else sweeps what it may have left. */
		seen = atomic_load(&nr_collected);
		while (atomic_load(&nr_collected) == seen)
			usleep(50);
	}
	atomic_store(&enough, true);
	EXPECT_EQ(0, pthread_join(thread, NULL));
}

TEST_HARNESS_MAIN
