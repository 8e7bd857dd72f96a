// SPDX-License-Identifier: GPL-2.0-only
/*
 * The collector that marks while the program runs: what is moved about among
 * objects meanwhile is not lost, what is dropped is freed, and a store that was
 * not declared is found, each of them, and no other.
 *
 * If it is broken: an object changes under the hands of its user, the check mode
 * complains of a program without a fault, or misses one.
 */
#define _GNU_SOURCE
#include <fcntl.h>

#include "gctest.h"

#define KB 1024UL

/* ---- settings ---- */

static int set_and_get(void *arg)
{
	CHECK_EQ(0, kaus_gc_get(KAUS_GC_CONCURRENT));
	CHECK_EQ(0, kaus_gc_get(KAUS_GC_CHECK));
	CHECK_EQ(0, kaus_gc());
	CHECK_EQ(0, gc_stats().nr_concurrent);
	concurrent(1);
	CHECK_EQ(1, kaus_gc_get(KAUS_GC_CONCURRENT));
	CHECK_EQ(1, kaus_gc_get(KAUS_GC_CHECK));
	CHECK_EQ(-EINVAL, kaus_gc_set(KAUS_GC_CHECK, 3));
	CHECK_EQ(0, kaus_gc());
	CHECK_EQ(1, gc_stats().nr_concurrent);
	CHECK(gc_stats().nr_pauses >= 3);
	CHECK_EQ(0, kaus_gc_barrier_on);
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_CONCURRENT, 0));
	CHECK_EQ(0, kaus_gc());
	CHECK_EQ(1, gc_stats().nr_concurrent);
	return 0;
}

TEST(settings)
{
	RUN(set_and_get, NULL);
}

static int from_env(void *arg)
{
	CHECK_EQ(1, kaus_gc_get(KAUS_GC_CONCURRENT));
	CHECK_EQ(2, kaus_gc_get(KAUS_GC_CHECK));
	return 0;
}

TEST(environment)
{
	setenv("KAUS_GC_MODE", "sometimes", 1);
	EXPECT_EQ(-EINVAL, kaus_run(from_env, NULL));
	setenv("KAUS_GC_MODE", "concurrent", 1);
	setenv("KAUS_GC_CHECK", "3", 1);
	EXPECT_EQ(-EINVAL, kaus_run(from_env, NULL));
	setenv("KAUS_GC_CHECK", "2", 1);
	RUN(from_env, NULL);
}

/* ---- live and dead ---- */

static void *cut(void *arg)
{
	KAUS_STORE(&ballast->left, NULL);
	return NULL;
}

static int live_and_dead(void *arg)
{
	uint64_t base;

	concurrent(1);
	base = count_live();
	elsewhere(make_ballast, (void *)12);
	check_live(base + 8191);
	elsewhere(cut, NULL);
	check_live(base + 4096);
	CHECK_EQ(4096, count_tree(ballast));
	CHECK_EQ(0, gc_stats().nr_missed);
	CHECK_EQ(3, gc_stats().nr_concurrent);
	return 0;
}

TEST(live_stays_and_dead_is_freed)
{
	RUN(live_and_dead, NULL);
}

/* Garbage only: the heap must not grow beyond what helpers keep up with. */
static int churn(void *arg)
{
	concurrent(0);
	elsewhere(make_ballast, (void *)12);
	for (int i = 0; i < 200000; i++)
		if (!CHECK(kaus_alloc(1000)))
			break;
	CHECK(gc_stats().nr_concurrent > 2);
	CHECK(gc_stats().heap_live_bytes < 100 * KB * KB);
	CHECK_EQ(8191, count_tree(ballast));
	return 0;
}

TEST(garbage_is_freed_as_it_comes)
{
	RUN(churn, NULL);
}

/* ---- the same words as in a struct, by all the ways there are ---- */

#define NR_WAYS 8

struct bag {
	struct node *slots[NR_WAYS];
};

static struct bag *make_bag(void)
{
	return kaus_alloc(sizeof(struct bag));
}

static int ways(void *arg)
{
	struct node *a = make_tree(0, 1), *b = make_tree(0, 2);
	struct bag *bag = make_bag(), *other = make_bag();

	concurrent(1);
	KAUS_STORE(&bag->slots[0], a);
	CHECK(bag->slots[0] == a);
	CHECK(kaus_gc_exchange(&bag->slots[0], b) == a);
	CHECK_EQ(0, kaus_gc_compare_exchange(&bag->slots[0], a, NULL));
	CHECK(bag->slots[0] == b);
	CHECK_EQ(1, kaus_gc_compare_exchange(&bag->slots[0], b, a));
	CHECK(bag->slots[0] == a);
	for (int i = 0; i < NR_WAYS; i++)
		KAUS_STORE(&bag->slots[i], make_tree(0, (uint64_t)i));
	CHECK(kaus_gc_copy(other, bag, sizeof(*bag)) == other);
	CHECK(!memcmp(other, bag, sizeof(*bag)));
	/* Overlapping, in both directions. */
	kaus_gc_copy(&bag->slots[1], &bag->slots[0], 7 * sizeof(void *));
	CHECK(bag->slots[0] == other->slots[0] &&
	      bag->slots[7] == other->slots[6]);
	kaus_gc_copy(&bag->slots[0], &bag->slots[1], 7 * sizeof(void *));
	CHECK(bag->slots[6] == other->slots[6]);
	kaus_gc_clear(&bag->slots[1], 7 * sizeof(void *));
	CHECK(bag->slots[0] && !bag->slots[1] && !bag->slots[7]);
	kaus_gc_copy(bag, other, 0);
	return 0;
}

/* More than is copied with preemption off, with an offset of a few words. */
static int long_copy(void *arg)
{
	size_t nr = 5000;
	uint64_t *words = kaus_alloc_array(nr, sizeof(*words));

	for (size_t i = 0; i < nr; i++)
		words[i] = i;
	kaus_gc_copy(words + 3, words, (nr - 3) * sizeof(*words));
	for (size_t i = 0; i < nr; i++)
		if (!CHECK_EQ(i < 3 ? i : i - 3, words[i]))
			break;
	kaus_gc_copy(words, words + 3, (nr - 3) * sizeof(*words));
	for (size_t i = 0; i < nr - 3; i++)
		if (!CHECK_EQ(i, words[i]))
			break;
	kaus_gc_clear(words, nr * sizeof(*words));
	for (size_t i = 0; i < nr; i++)
		if (!CHECK_EQ(0, words[i]))
			break;
	return ways(NULL);
}

TEST(ways_to_store)
{
	RUN(long_copy, NULL);
}

/* ---- large objects, in memory that had others before ---- */

#define NR_WORDS 20000

static int large(void *arg)
{
	concurrent(1);
	elsewhere(make_ballast, (void *)10);
	kaus_waitgroup_add(&mutators, 1);
	ut_go(collector, NULL);
	for (int i = 0; i < 300; i++) {
		struct node **words = kaus_alloc_array(NR_WORDS, sizeof(*words));

		for (size_t k = 0; k < NR_WORDS; k++) {
			if (!CHECK(!words[k]))
				break;
			words[k] = k & 1 ? ballast->left : ballast->right;
		}
		kaus_yield();
	}
	atomic_store(&planted, true);
	kaus_waitgroup_wait(&mutators);
	CHECK_EQ(0, gc_stats().nr_missed);
	return 0;
}

TEST(large_objects_are_new)
{
	RUN(large, NULL);
}

/* ---- many goroutines that change what they share ---- */

#define NR_SHARED 64
#define NR_GS 24

struct shared {
	struct kaus_mutex mu;
	struct bag *bag;	/* of trees */
};

static struct shared *shared;
static struct kaus_chan *trees;
static atomic_int nr_rounds_left;

/* Exchange a tree with another one's, with the help of a lock. */
static void trade(struct bag *own, unsigned int i, uint64_t *seed)
{
	struct shared *with = &shared[ut_rand(seed) % NR_SHARED];
	unsigned int k = ut_rand(seed) % NR_WAYS;
	struct node *tree;

	kaus_mutex_lock(&with->mu);
	tree = with->bag->slots[k];
	KAUS_STORE(&with->bag->slots[k], own->slots[i]);
	KAUS_STORE(&own->slots[i], tree);
	kaus_mutex_unlock(&with->mu);
}

/* Rotate: subtrees change places, none is lost. */
static void turn(struct node *n, uint64_t *seed)
{
	while (n) {
		struct node *left = n->left;

		KAUS_STORE(&n->left, n->right);
		KAUS_STORE(&n->right, left);
		n = ut_rand(seed) & 1 ? n->left : n->right;
	}
}

static void mutate(struct bag *own, uint64_t *seed)
{
	unsigned int i = ut_rand(seed) % NR_WAYS;
	struct bag *copy;

	switch (ut_rand(seed) % 12) {
	case 0:
	case 1:
		KAUS_STORE(&own->slots[i],
			   make_tree(ut_rand(seed) % 6, ut_rand(seed)));
		break;
	case 2:
		KAUS_STORE(&own->slots[i], NULL);
		break;
	case 3:
		copy = make_bag();
		memcpy(copy, own, sizeof(*own));
		kaus_gc_clear(own, sizeof(*own));
		kaus_gc_copy(own, copy, sizeof(*own));
		break;
	case 4:
		/* Into the object itself. */
		CHECK_EQ(0, kaus_chan_send(trees, &own->slots[i]));
		CHECK_EQ(0, kaus_chan_recv(trees, &own->slots[i]));
		break;
	case 5:
		kaus_yield();
		break;
	case 6:
	case 7:
		count_tree(own->slots[i]);
		break;
	case 8:
		turn(own->slots[i], seed);
		break;
	default:
		trade(own, i, seed);
		break;
	}
}

static void mutator(void *arg)
{
	uint64_t seed = 88172645463325252ULL + (uintptr_t)arg;
	struct bag *own = make_bag();

	while (atomic_fetch_sub(&nr_rounds_left, 1) > 0)
		mutate(own, &seed);
	for (int i = 0; i < NR_WAYS; i++)
		count_tree(own->slots[i]);
	kaus_waitgroup_done(&mutators);
}

/* @arg: in check mode. */
static int many(void *arg)
{
	concurrent(!!arg);
	kaus_gc_set(KAUS_GC_PERCENT, 30);
	atomic_store(&nr_rounds_left, UT_TSAN ? 20000 : 150000);
	trees = kaus_chan_make(sizeof(struct node *), NR_GS);
	shared = kaus_alloc_array(NR_SHARED, sizeof(*shared));
	for (int i = 0; i < NR_SHARED; i++)
		shared[i].bag = make_bag();
	for (uintptr_t i = 0; i < NR_GS; i++) {
		kaus_waitgroup_add(&mutators, 1);
		ut_go(mutator, (void *)i);
	}
	while (atomic_load(&nr_rounds_left) > 0) {
		kaus_gc();
		kaus_sleep(200 * USEC);
	}
	kaus_waitgroup_wait(&mutators);
	kaus_chan_free(trees);
	for (int i = 0; i < NR_SHARED; i++)
		for (int k = 0; k < NR_WAYS; k++)
			count_tree(shared[i].bag->slots[k]);
	CHECK_EQ(0, kaus_gc());
	CHECK(gc_stats().nr_concurrent > 1);
	CHECK_EQ(0, gc_stats().nr_missed);
	/* At most 63 nodes of a tree, and some that only seem to be in use. */
	CHECK(gc_stats().nr_marked <
	      2 * (NR_SHARED + NR_GS) * NR_WAYS * 64 + 10000);
	return 0;
}

TEST(many_mutators)
{
	RUN(many, "check");
}

/* Its stores take the fast path, if they are made by goroutines. */
TEST(many_mutators_unchecked)
{
	RUN(many, NULL);
}

TEST(many_mutators_unchecked_on_eight_procs)
{
	struct kaus_options opts = ut_procs(8);

	RUN_WITH(&opts, many, NULL);
}

TEST(many_mutators_on_one_proc)
{
	struct kaus_options opts = ut_procs(1);

	RUN_WITH(&opts, many, "check");
}

TEST(many_mutators_on_eight_procs)
{
	struct kaus_options opts = ut_procs(8);

	RUN_WITH(&opts, many, "check");
}

/* ---- a plain thread ---- */

static atomic_bool thread_done;

static void *plain(void *arg)
{
	uint64_t seed = 4711;
	struct bag *own;

	CHECK_EQ(0, kaus_gc_thread_register());
	own = make_bag();
	for (int i = 0; i < 20000; i++) {
		unsigned int k = ut_rand(&seed) % NR_WAYS;

		KAUS_STORE(&own->slots[k], make_tree(3, k));
		if (i % 64 == 0)
			trade(own, k, &seed);
		if (i % 4000 == 0)
			CHECK_EQ(0, kaus_gc());
		CHECK_EQ(15, count_tree(own->slots[k]));
	}
	CHECK_EQ(0, kaus_gc_thread_unregister());
	atomic_store(&thread_done, true);
	return NULL;
}

static int with_thread(void *arg)
{
	pthread_t thread;

	concurrent(1);
	kaus_gc_set(KAUS_GC_PERCENT, 30);
	shared = kaus_alloc_array(NR_SHARED, sizeof(*shared));
	for (int i = 0; i < NR_SHARED; i++) {
		shared[i].bag = make_bag();
		for (int k = 0; k < NR_WAYS; k++)
			shared[i].bag->slots[k] = make_tree(3, 1);
	}
	CHECK_EQ(0, pthread_create(&thread, NULL, plain, NULL));
	while (!atomic_load(&thread_done)) {
		kaus_gc();
		make_tree(5, 3);
		kaus_sleep(200 * USEC);
	}
	pthread_join(thread, NULL);
	CHECK_EQ(0, gc_stats().nr_missed);
	return 0;
}

TEST(registered_thread)
{
	UT_SKIP_TSAN("a thread that waits in the runtime gets no signal");
	RUN(with_thread, NULL);
}

/* ---- planted faults ---- */

#define NR_FAULTS 24

static struct node *victims[2 * NR_FAULTS];

static void *make_victims(void *arg)
{
	for (int i = 0; i < 2 * NR_FAULTS; i++)
		victims[i] = make_tree(1, (uint64_t)i);
	return NULL;
}

/*
 * Functions of their own, which leave no address of the word behind: a word that
 * somebody has at hand may be about to be told of.
 */
__attribute__((noinline)) static void raw_store(struct node *n, struct node *to)
{
	n->right = to;
	__asm__ volatile("");
}

__attribute__((noinline)) static void raw_clear(struct node *n)
{
	memset(&n->right, 0, sizeof(n->right));
	__asm__ volatile("");
}

/* With preemption off, so that the cycle that is there stays for so long. */
static bool plant(int i)
{
	struct node *n = victims[i];
	bool marking;

	kaus_preempt_disable();
	marking = __atomic_load_n(&kaus_gc_barrier_on, __ATOMIC_RELAXED);
	if (marking) {
		switch (i % 4) {
		case 0:
			raw_store(n, NULL);
			break;
		case 1:
			raw_clear(n);
			break;
		case 2:
			raw_store(n, n);
			break;
		case 3:
			/* It moves to where it is not seen any more. */
			victims[NR_FAULTS + i]->left = n->right;
			raw_store(n, NULL);
			break;
		}
	}
	kaus_preempt_enable();
	return marking;
}

static char reports[64 * KB];

static void read_reports(int fd)
{
	ssize_t len = pread(fd, reports, sizeof(reports) - 1, 0);

	CHECK(len > 0);
	reports[len > 0 ? len : 0] = 0;
}

static int faults(void *arg)
{
	int fd = *(int *)arg, nr_two = 0;

	concurrent(1);
	elsewhere(make_ballast, (void *)(UT_TSAN ? 13 : 16));
	elsewhere(make_victims, NULL);
	/* No cycle under way that began before these were there. */
	CHECK_EQ(0, kaus_gc());
	kaus_waitgroup_add(&mutators, 1);
	ut_go(collector, NULL);
	for (int i = 0; i < NR_FAULTS; i++) {
		while (!plant(i)) {
			/* One that does it as it should be. */
			KAUS_STORE(&victims[NR_FAULTS + i]->right, NULL);
			kaus_yield();
		}
		nr_two += i % 4 == 3;
	}
	atomic_store(&planted, true);
	kaus_waitgroup_wait(&mutators);
	CHECK_EQ(0, kaus_gc());
	/* Those of the fourth kind have also overwritten another one. */
	CHECK_EQ(NR_FAULTS + nr_two, gc_stats().nr_missed);
	read_reports(fd);
	for (int i = 0; i < NR_FAULTS; i++) {
		char line[100];
		const char *at, *with;

		snprintf(line, sizeof(line),
			 "into struct node %p of %zu bytes, offset %zu: ",
			 (void *)victims[i], kaus_alloc_size(victims[i]),
			 offsetof(struct node, right));
		at = strstr(reports, line);
		if (!CHECK(at))
			continue;
		/* What was stored there, too. */
		with = strstr(at, " with 0x");
		CHECK(with && strtoull(with + 6, NULL, 16) ==
			      (uintptr_t)victims[i]->right);
		if (i % 4 != 3)
			continue;
		CHECK_EQ(1, count_tree(victims[NR_FAULTS + i]->left));
	}
	return 0;
}

TEST(each_planted_fault_is_found)
{
	char name[] = "/tmp/kaus-test-XXXXXX";
	int fd = mkstemp(name), err = dup(STDERR_FILENO);

	ASSERT_LE(0, fd);
	unlink(name);
	dup2(fd, STDERR_FILENO);
	EXPECT_EQ(0, kaus_run(faults, &fd));
	dup2(err, STDERR_FILENO);
	if (atomic_load(&ut_failures)) {
		lseek(fd, 0, SEEK_SET);
		dprintf(err, "%s\n", reports);
	}
	EXPECT_EQ(0, atomic_load(&ut_failures));
}

static int one_fault(void *arg)
{
	concurrent(2);
	elsewhere(make_ballast, (void *)(UT_TSAN ? 13 : 16));
	elsewhere(make_victims, NULL);
	/* No cycle under way that began before these were there. */
	CHECK_EQ(0, kaus_gc());
	kaus_waitgroup_add(&mutators, 1);
	ut_go(collector, NULL);
	while (!plant(0))
		kaus_yield();
	atomic_store(&planted, true);
	kaus_waitgroup_wait(&mutators);
	return 0;
}

static void run_one_fault(void)
{
	int null = open("/dev/null", O_WRONLY);

	dup2(null, STDERR_FILENO);
	kaus_run(one_fault, NULL);
}

TEST(a_fault_aborts_if_wanted)
{
	int status = ut_child(run_one_fault);

	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGABRT, WTERMSIG(status));
}

TEST_HARNESS_MAIN
