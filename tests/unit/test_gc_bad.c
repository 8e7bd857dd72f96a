// SPDX-License-Identifier: GPL-2.0-only
/*
 * The collector, given what it should not be given: words that are no pointers
 * where a type has some, types that tell less or more than there is, pointers
 * just behind an object, frees while it is at work.
 *
 * If it is broken: it faults, keeps or frees the wrong object, or never ends.
 */
#include "gctest.h"

#define KB 1024UL
#define NR 2000

static void *litter(void *arg)
{
	for (uint64_t i = 0; i < NR; i++)
		make_node(~i);
	return NULL;
}

static void collect(void)
{
	CHECK_EQ(0, kaus_gc());
	elsewhere(litter, NULL);
}

/* ---- wild pointers ---- */

static struct node *nodes[NR];

static void *make_wild(void *arg)
{
	uint64_t seed = 88172645463325252ULL;
	char *near = kaus_alloc(16);
	const uintptr_t edges[] = {
		0, 1, 7, 8, 4095, 4096, (uintptr_t)-1, (uintptr_t)-8,
		1ULL << 47, (1ULL << 47) - 1, 1ULL << 63, ~0ULL << 47,
		(uintptr_t)&seed, (uintptr_t)make_wild, (uintptr_t)"text",
		(uintptr_t)near - (4UL << 20), (uintptr_t)near + (4UL << 20),
		(uintptr_t)near - (1UL << 30), (uintptr_t)near + (1UL << 30),
		(uintptr_t)near + (1UL << 40), (uintptr_t)near + 8192,
	};
	const size_t nr_edges = sizeof(edges) / sizeof(edges[0]);

	for (uint64_t i = 0; i < NR; i++) {
		nodes[i] = make_node(i);
		nodes[i]->left = (void *)(i < nr_edges ? edges[i] :
						      ut_rand(&seed));
		/* Anywhere near, in use or not, aligned or not. */
		nodes[i]->right =
			(void *)(near + (int64_t)(ut_rand(&seed) % (64UL << 20)) -
				 (int64_t)(32UL << 20));
	}
	return NULL;
}

static int wild(void *arg)
{
	elsewhere(make_wild, NULL);
	for (int i = 0; i < 5; i++) {
		collect();
		for (uint64_t k = 0; k < NR; k++)
			CHECK(nodes[k]->tag == k && is_sound(nodes[k]));
	}
	return 0;
}

TEST(wild_pointers_do_no_harm)
{
	RUN(wild, NULL);
}

/* ---- just behind ---- */

static struct kaus_weak weak_behind, weak_last;
static char *volatile behind, *volatile last;

static void *make_behind(void *arg)
{
	size_t size;
	char *obj;

	/* Nothing else is in the pages of a large object. */
	obj = kaus_alloc(100 * KB);
	size = kaus_alloc_size(obj);
	weak_behind = kaus_weak_make(obj);
	behind = obj + size;
	obj = kaus_alloc(100 * KB);
	weak_last = kaus_weak_make(obj);
	last = obj + kaus_alloc_size(obj) - 1;
	memset(obj, 0x5a, 100 * KB);
	CHECK(weak_behind.id && weak_last.id);
	return NULL;
}

static int at_the_end(void *arg)
{
	elsewhere(make_behind, NULL);
	/* It hangs if the pointer behind it keeps the object. */
	do {
		collect();
	} while (kaus_weak_get(weak_behind));
	CHECK(kaus_weak_get(weak_last));
	CHECK_EQ(0x5a, *(char *)kaus_weak_get(weak_last));
	return 0;
}

TEST(the_last_byte_counts_and_the_one_behind_does_not)
{
	RUN(at_the_end, NULL);
}

/* ---- types that lie ---- */

struct liar {
	struct node *hidden;	/* a pointer that the type does not name */
	struct node *named;
	double number[4];	/* no pointers, but named */
	char name[16];
};

KAUS_TYPE(liar_type, struct liar, named, number, name);
KAUS_TYPE_NOSCAN(silent_type, struct node);

static struct liar *liars[100];
static struct node *silent;
static struct kaus_weak weak_hidden[100], weak_silent;

static void *make_liars(void *arg)
{
	for (uint64_t i = 0; i < 100; i++) {
		liars[i] = kaus_new(&liar_type);
		liars[i]->hidden = make_node(i);
		liars[i]->named = make_node(i);
		liars[i]->number[i % 4] = 1e300 * (double)i;
		memset(liars[i]->name, 0xff, 16);
		weak_hidden[i] = kaus_weak_make(liars[i]->hidden);
	}
	silent = kaus_new(&silent_type);
	silent->left = make_node(1);
	weak_silent = kaus_weak_make(silent->left);
	return NULL;
}

static int nr_hidden;

static void *count_hidden(void *arg)
{
	nr_hidden = 0;
	for (uint64_t i = 0; i < 100; i++) {
		nr_hidden += kaus_weak_get(weak_hidden[i]) != NULL;
		CHECK(liars[i]->named->tag == i && is_sound(liars[i]->named));
	}
	nr_hidden += kaus_weak_get(weak_silent) != NULL;
	return NULL;
}

static int lies(void *arg)
{
	elsewhere(make_liars, NULL);
	/* What no type names is freed, as documented; the rest stays. */
	do {
		collect();
		elsewhere(count_hidden, NULL);
	} while (nr_hidden > 10);
	return 0;
}

TEST(types_that_lie)
{
	RUN(lies, NULL);
}

/* Made by hand: references beyond the object, and beyond all of the heap. */
struct far {
	struct node *named;
	long number[7];
};

static const struct kaus_ptrs far_ptrs[] = {
	{ 0, 1 }, { 56, 4 }, { 64, 1U << 20 }, { 0x7ffffff8, 1U << 28 },
	{ UINT32_MAX - 7, UINT32_MAX },
};
static const struct kaus_type far_type = {
	.size = sizeof(struct far),
	.ptr_bytes = 8,
	.nr_ptrs = sizeof(far_ptrs) / sizeof(far_ptrs[0]),
	.ptrs = far_ptrs,
	.name = "struct far",
};

static struct far *far[200], *far_array;

static void call_nobody(void *obj, void *arg)
{
	CHECK(false);
}

static void *make_far(void *arg)
{
	for (uint64_t i = 0; i < 200; i++) {
		far[i] = kaus_new(&far_type);
		far[i]->named = make_node(i);
	}
	/* What it refers to is looked at by other means. */
	CHECK_EQ(0, kaus_gc_finalizer_set(far[0], call_nobody, NULL));
	far_array = kaus_new_array(&far_type, 3000);
	far_array[2999].named = make_node(2999);
	return NULL;
}

static int beyond(void *arg)
{
	concurrent((int)(intptr_t)arg);
	elsewhere(make_far, NULL);
	for (int k = 0; k < 3; k++) {
		collect();
		for (uint64_t i = 0; i < 200; i++)
			CHECK(far[i]->named->tag == i &&
			      is_sound(far[i]->named));
		CHECK_EQ(2999, far_array[2999].named->tag);
	}
	CHECK_EQ(0, gc_stats().nr_missed);
	CHECK_EQ(0, kaus_gc_finalizer_set(far[0], NULL, NULL));
	return 0;
}

TEST(types_that_end_beyond)
{
	RUN(beyond, NULL);
}

TEST(types_that_end_beyond_by_the_check)
{
	RUN(beyond, (void *)1L);
}

/* ---- freed, and once more, while a cycle is under way ---- */

static struct node *twice[100];
static struct kaus_weak weak_twice[100];

static void *make_twice(void *arg)
{
	for (uint64_t i = 0; i < 100; i++) {
		twice[i] = make_node(i);
		weak_twice[i] = kaus_weak_make(twice[i]);
	}
	return NULL;
}

static unsigned int nr_ignored;

/*
 * With preemption off the cycle that there is stays until the first call has been
 * made. If it has ended by then the second one frees.
 */
static bool free_twice(uint64_t i)
{
	struct node *n = twice[i];
	uint64_t nr_cycles;
	bool marking;

	kaus_preempt_disable();
	nr_cycles = gc_stats().nr_cycles;
	marking = __atomic_load_n(&kaus_gc_barrier_on, __ATOMIC_RELAXED);
	if (marking) {
		kaus_free(n);
		kaus_free(n);
		/* It is ignored, but for what was to be told of it. */
		CHECK(!kaus_weak_get(weak_twice[i]));
		if (gc_stats().nr_cycles == nr_cycles) {
			CHECK(n->tag == i && is_sound(n));
			nr_ignored++;
		}
		twice[i] = NULL;
	}
	kaus_preempt_enable();
	return marking;
}

static int in_a_cycle(void *arg)
{
	uint64_t live;

	concurrent(0);
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_POISON, 1));
	elsewhere(make_ballast, (void *)14UL);
	elsewhere(make_twice, NULL);
	live = count_live();
	kaus_waitgroup_add(&mutators, 1);
	ut_go(collector, NULL);
	for (uint64_t i = 0; i < 100; i++)
		while (!free_twice(i))
			kaus_yield();
	atomic_store(&planted, true);
	kaus_waitgroup_wait(&mutators);
	CHECK(nr_ignored);
	/* And it is freed as everything else. */
	CHECK(count_live() < live - 50);
	CHECK_EQ(32767, count_tree(ballast));
	return 0;
}

TEST(freed_twice_in_a_cycle)
{
	RUN(in_a_cycle, NULL);
}

TEST_HARNESS_MAIN
