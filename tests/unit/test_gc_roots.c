// SPDX-License-Identifier: GPL-2.0-only
/*
 * Words of roots, wherever they lie: most are none, and are told from those that
 * are by groups, by the upper half of the address. A heap that has more than one
 * upper half takes another way.
 *
 * If it is broken: an object that a variable refers to is freed.
 */
#include <kaus/weak.h>

#include "gctest.h"

#include "mem/heap.h"

#define NR_WORDS	80
#define NR_LENS		(UT_TSAN ? 20U : 70U)
#define MUCH		(5UL << 30)

static void *words[NR_WORDS] __attribute__((aligned(64)));
static struct kaus_weak weak[NR_WORDS];
static bool has_much;

/* What is no address of the heap, and looks like one. */
static void *junk(size_t i)
{
	uintptr_t base = (uintptr_t)kr_heap.base;
	uintptr_t end = base + ((uintptr_t)READ_ONCE(kr_heap.nr_table) <<
				KR_HPAGE_SHIFT);

	switch (i % 6) {
	case 0:
		return NULL;
	case 1:
		return (void *)(base - 8);
	case 2:
		return (void *)end;
	case 3:
		return (void *)(base << 32 | base >> 32);
	case 4:
		return (void *)-1UL;
	default:
		return (void *)(base | 1UL << 63);
	}
}

struct part {
	size_t lo, hi;
	bool mixed;		/* each fifth, or only the last with zeroes before it */
};

static bool is_one(const struct part *p, size_t i)
{
	return i >= p->lo && i < p->hi &&
	       (p->mixed ? i % 5 == 0 : i == p->hi - 1);
}

static void *fill(void *arg)
{
	const struct part *p = arg;

	for (size_t i = 0; i < NR_WORDS; i++) {
		words[i] = p->mixed && i % 5 ? junk(i) : NULL;
		if (!is_one(p, i))
			continue;
		words[i] = make_node(i);
		weak[i] = kaus_weak_make(words[i]);
	}
	return NULL;
}

static void *check(void *arg)
{
	const struct part *p = arg;

	for (size_t i = p->lo; i < p->hi; i++) {
		const struct node *n = words[i];

		if (!is_one(p, i))
			continue;
		CHECK(kaus_weak_get(weak[i]) == n && is_sound(n) && n->tag == i);
		CHECK_EQ(0, kaus_weak_drop(weak[i]));
	}
	return NULL;
}

static void try_part(struct part p)
{
	struct kaus_gc_root root;

	elsewhere(fill, &p);
	CHECK_EQ(0, kaus_gc_root_add(&root, &words[p.lo],
				     (p.hi - p.lo) * sizeof(words[0])));
	CHECK_EQ(0, kaus_gc());
	elsewhere(check, &p);
	kaus_gc_root_del(&root);
	memset(words, 0, sizeof(words));
}

static int roots(void *arg)
{
	void *volatile much = NULL;

	if (arg) {
		much = kaus_alloc_noscan(MUCH);
		has_much = much;
		if (!much)
			return 0;
		/* Behind it. */
		CHECK(make_node(0));
		CHECK((size_t)READ_ONCE(kr_heap.nr_table) << KR_HPAGE_SHIFT >
		      MUCH);
	}
	/* Variables are no roots here but those that are told of. */
	for (size_t lo = 0; lo < 4; lo++)
		for (size_t len = 1; len < NR_LENS; len++) {
			try_part((struct part){ lo, lo + len, true });
			try_part((struct part){ lo, lo + len, false });
		}
	return 0;
}

TEST(wherever_they_lie)
{
	setenv("KAUS_GC_DATA", "0", 1);
	RUN(roots, NULL);
}

TEST(in_a_large_heap)
{
	setenv("KAUS_GC_DATA", "0", 1);
	RUN(roots, "large");
	if (!has_much)
		SKIP(return, "no 5 GiB of address space that may be used");
}

TEST_HARNESS_MAIN
