// SPDX-License-Identifier: GPL-2.0-only
/*
 * kaus_go(), kaus_spawn(), kaus_join(), kaus_exit() and kaus_goid(): every
 * goroutine started runs exactly once, its result reaches the one who joins,
 * wrong joins are refused, and what has ended leaves no memory behind.
 *
 * If it is broken: goroutines are lost, or starve, when a local queue overflows
 * into the global one, or fill the memory with a generation at a time, are run
 * twice when stolen, a join sleeps for ever because the end came at the same
 * moment, or a server grows with each request.
 */
#include "utest.h"

#define NR_GS UT_MANY

static atomic_uint ran[NR_GS];
static atomic_uint nr_ran;

static void mark(void *arg)
{
	atomic_fetch_add(&ran[(uintptr_t)arg], 1);
	atomic_fetch_add(&nr_ran, 1);
}

static int go_many(void *arg)
{
	uintptr_t i;

	for (i = 0; i < NR_GS; i++)
		ut_go(mark, (void *)i);
	while (atomic_load(&nr_ran) < NR_GS)
		kaus_yield();
	for (i = 0; i < NR_GS; i++)
		CHECK_EQ(1, ran[i]);
	return 0;
}

TEST(ten_thousand_run_once_each)
{
	RUN(go_many, NULL);
}

TEST(ten_thousand_on_one_proc)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, go_many, NULL);
}

TEST(ten_thousand_on_more_procs_than_cpus)
{
	struct kaus_options opts = ut_procs(8);

	RUN_WITH(&opts, go_many, NULL);
}

static void *twice(void *arg)
{
	return (void *)((uintptr_t)arg * 2);
}

static int join_many(void *arg)
{
	static struct kaus_g *gs[NR_GS];
	void *value;
	uintptr_t i;

	for (i = 0; i < NR_GS; i++)
		gs[i] = ut_spawn(twice, (void *)i);
	for (i = 0; i < NR_GS; i++) {
		value = NULL;
		CHECK_EQ(0, kaus_join(gs[i], &value));
		CHECK_EQ(2 * i, (uintptr_t)value);
	}
	return 0;
}

TEST(join_gets_each_result)
{
	RUN(join_many, NULL);
}

static void *sleep_first(void *arg)
{
	kaus_sleep(5 * MSEC);
	return arg;
}

static int join_early_and_late(void *arg)
{
	struct kaus_g *early, *late;
	void *value = NULL;

	early = ut_spawn(sleep_first, "early");
	late = ut_spawn(twice, (void *)21);
	CHECK_EQ(0, kaus_join(early, &value));
	CHECK(!strcmp(value, "early"));
	CHECK_EQ(0, kaus_join(late, NULL));
	return 0;
}

TEST(join_before_and_after_the_end)
{
	RUN(join_early_and_late, NULL);
}

/* A tree: each goroutine joins two of its own. The result counts leaves. */
static void *tree(void *arg)
{
	uintptr_t depth = (uintptr_t)arg;
	void *left = NULL, *right = NULL;
	struct kaus_g *gs[2];

	if (!depth)
		return (void *)1;
	gs[0] = ut_spawn(tree, (void *)(depth - 1));
	gs[1] = ut_spawn(tree, (void *)(depth - 1));
	CHECK_EQ(0, kaus_join(gs[0], &left));
	CHECK_EQ(0, kaus_join(gs[1], &right));
	return (void *)((uintptr_t)left + (uintptr_t)right);
}

static int join_nested(void *arg)
{
	CHECK_EQ(1 << 11, (uintptr_t)tree((void *)11));
	return 0;
}

TEST(nested_spawn_and_join)
{
	RUN(join_nested, NULL);
}

struct self {
	struct kaus_g *g;
	atomic_bool known;
	int ret;
};

static void *join_self(void *arg)
{
	struct self *self = arg;

	while (!atomic_load(&self->known))
		kaus_yield();
	self->ret = kaus_join(self->g, NULL);
	return NULL;
}

static int wrong_joins(void *arg)
{
	void *untouched = &untouched;
	struct self self = { 0 };

	CHECK_EQ(-EINVAL, kaus_join(NULL, NULL));
	CHECK_EQ(-EINVAL, kaus_join(NULL, &untouched));
	CHECK(untouched == &untouched);

	self.g = ut_spawn(join_self, &self);
	atomic_store(&self.known, true);
	CHECK_EQ(0, kaus_join(self.g, NULL));
	CHECK_EQ(-EDEADLK, self.ret);
	return 0;
}

TEST(wrong_joins_are_refused)
{
	RUN(wrong_joins, NULL);
}

struct twice_joined {
	struct kaus_g *g;
	atomic_int about_to_join;
	atomic_int nr_joined;
	atomic_int nr_refused;
	atomic_bool finish;
};

static void *wait_for_finish(void *arg)
{
	struct twice_joined *t = arg;

	while (!atomic_load(&t->finish))
		kaus_sleep(1 * MSEC);
	return "done";
}

static void join_it(void *arg)
{
	struct twice_joined *t = arg;
	void *value = NULL;
	int ret;

	atomic_fetch_add(&t->about_to_join, 1);
	ret = kaus_join(t->g, &value);
	if (!ret) {
		CHECK(value && !strcmp(value, "done"));
		atomic_fetch_add(&t->nr_joined, 1);
	} else {
		CHECK_EQ(-EINVAL, ret);
		CHECK(!value);
		atomic_fetch_add(&t->nr_refused, 1);
	}
}

/* The goroutine ends only when one of the two has been refused. */
static int join_twice(void *arg)
{
	struct twice_joined *t = arg;

	t->g = ut_spawn(wait_for_finish, t);
	ut_go(join_it, t);
	ut_go(join_it, t);
	while (!atomic_load(&t->nr_refused))
		kaus_yield();
	atomic_store(&t->finish, true);
	while (!atomic_load(&t->nr_joined))
		kaus_yield();
	CHECK_EQ(2, t->about_to_join);
	CHECK_EQ(1, t->nr_joined);
	CHECK_EQ(1, t->nr_refused);
	return 0;
}

TEST(second_join_is_refused)
{
	static struct twice_joined t;

	RUN(join_twice, &t);
}

__attribute__((noinline)) static void exit_deeper(void)
{
	kaus_exit();
}

__attribute__((noinline)) static void exit_deep(void)
{
	exit_deeper();
}

static void *exit_early(void *arg)
{
	exit_deep();
	return "not reached";
}

static void exit_go(void *arg)
{
	atomic_fetch_add((atomic_int *)arg, 1);
	exit_deep();
	atomic_fetch_add((atomic_int *)arg, 1000);
}

static int exits(void *arg)
{
	atomic_int count = 0;
	void *value = &value;
	int i;

	CHECK_EQ(0, kaus_join(ut_spawn(exit_early, NULL), &value));
	CHECK(!value);
	for (i = 0; i < 100; i++)
		ut_go(exit_go, &count);
	while (atomic_load(&count) < 100)
		kaus_yield();
	CHECK_EQ(100, count);
	return 0;
}

TEST(exit_ends_the_goroutine_and_yields_null)
{
	RUN(exits, NULL);
}

static void *own_id(void *arg)
{
	uint64_t id = kaus_goid();

	kaus_yield();
	CHECK_EQ(id, kaus_goid());
	return (void *)id;
}

static int ids(void *arg)
{
	struct kaus_g *gs[100];
	uint64_t seen[100];
	void *value;
	int i, j;

	CHECK_EQ(1, kaus_goid());
	for (i = 0; i < 100; i++)
		gs[i] = ut_spawn(own_id, NULL);
	for (i = 0; i < 100; i++) {
		value = NULL;
		CHECK_EQ(0, kaus_join(gs[i], &value));
		seen[i] = (uintptr_t)value;
		CHECK(seen[i] > 1);
		for (j = 0; j < i; j++)
			CHECK(seen[i] != seen[j]);
	}
	CHECK_EQ(1, kaus_goid());
	return 0;
}

TEST(ids_are_unique_and_main_is_1)
{
	RUN(ids, NULL);
}

static long rss_kib(void)
{
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f) {
		if (fscanf(f, "%*d %ld", &pages) != 1)
			pages = 0;
		fclose(f);
	}
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void spawn_and_join(int nr)
{
	struct kaus_g *gs[50];
	int i, j;

	for (i = 0; i < nr; i += 50) {
		for (j = 0; j < 50; j++)
			gs[j] = ut_spawn(twice, NULL);
		for (j = 0; j < 50; j++)
			CHECK_EQ(0, kaus_join(gs[j], NULL));
	}
}

/* 50,000 stacks of which each had one page touched would be 200 MB. */
static int leak(void *arg)
{
	long before;

	spawn_and_join(5000);
	before = rss_kib();
	spawn_and_join(50000);
	CHECK(rss_kib() - before < 16 * 1024);
	return 0;
}

TEST(ended_goroutines_leave_nothing)
{
	UT_SKIP_TSAN("ThreadSanitizer's memory would be measured");
	RUN(leak, NULL);
}

struct fan {
	atomic_int left;
};

static void fan_out(void *arg)
{
	struct fan *fan = arg;
	int i = atomic_fetch_sub(&fan->left, 2);

	if (i > 1)
		ut_go(fan_out, fan);
	if (i > 0)
		ut_go(fan_out, fan);
}

static int fan_main(void *arg)
{
	struct fan *fan = arg;

	ut_go(fan_out, fan);
	while (atomic_load(&fan->left) > 0)
		kaus_yield();
	return 0;
}

TEST(goroutines_start_goroutines)
{
	static struct fan fan = { 2 * UT_MANY };

	RUN(fan_main, &fan);
}

/*
 * A crowd that always makes more of itself, behind a thousand that were there
 * before and overflowed the queue first.
 */
#define NR_EARLY	1000
#define NR_CROWD_MAX	(500U * NR_EARLY * (unsigned int)slow_factor())

static atomic_uint nr_early, nr_crowd;

static void early(void *arg)
{
	atomic_fetch_add(&nr_early, 1);
}

static void leaf(void *arg)
{
}

static void crowd(void *arg)
{
	if (atomic_load(&nr_early) == NR_EARLY ||
	    atomic_load(&nr_crowd) >= NR_CROWD_MAX)
		return;
	atomic_fetch_add(&nr_crowd, 2);
	ut_go(crowd, NULL);
	ut_go(crowd, NULL);
	/* The last one goes on in this slice. */
	ut_go(leaf, NULL);
}

static int crowd_behind_early(void *arg)
{
	for (int i = 0; i < NR_EARLY; i++)
		ut_go(early, NULL);
	for (int i = 0; i < NR_EARLY; i++)
		ut_go(crowd, NULL);
	while (atomic_load(&nr_early) < NR_EARLY)
		kaus_yield();
	printf("# %u others\n", atomic_load(&nr_crowd));
	CHECK(atomic_load(&nr_crowd) < NR_CROWD_MAX);
	return 0;
}

TEST(a_growing_crowd_starves_nobody)
{
	struct kaus_options opts = ut_procs(1);

	UT_SKIP_TSAN("a hundred thousand goroutines take it minutes");
	RUN_WITH(&opts, crowd_behind_early, NULL);
}

/*
 * A tree of which each makes ten others: one generation need not be there as a
 * whole before the next one runs.
 */
#define TREE_LEAVES	100000

static atomic_uint nr_live, nr_live_max, nr_leaves;

static void branch(void *arg)
{
	uintptr_t size = (uintptr_t)arg;
	unsigned int nr = atomic_load(&nr_live);

	if (nr > atomic_load(&nr_live_max))
		atomic_store(&nr_live_max, nr);
	if (size == 1)
		atomic_fetch_add(&nr_leaves, 1);
	for (int i = 0; size > 1 && i < 10; i++) {
		atomic_fetch_add(&nr_live, 1);
		ut_go(branch, (void *)(size / 10));
	}
	atomic_fetch_sub(&nr_live, 1);
}

static int grow_tree(void *arg)
{
	atomic_store(&nr_live, 1);
	ut_go(branch, (void *)TREE_LEAVES);
	while (atomic_load(&nr_leaves) < TREE_LEAVES)
		kaus_yield();
	printf("# %u at a time\n", atomic_load(&nr_live_max));
	CHECK(atomic_load(&nr_live_max) < TREE_LEAVES / 4);
	return 0;
}

TEST(a_tree_is_walked_into_the_depth)
{
	struct kaus_options opts = ut_procs(1);

	UT_SKIP_TSAN("a hundred thousand goroutines take it minutes");
	RUN_WITH(&opts, grow_tree, NULL);
}

TEST_HARNESS_MAIN
