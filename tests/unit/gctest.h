/* SPDX-License-Identifier: GPL-2.0-only */
/* Trees that tell when they have been damaged, and cycles: for tests of the GC. */
#ifndef GCTEST_H
#define GCTEST_H

#include "utest.h"

#define MAGIC 0x9e3779b97f4a7c15ULL

static inline struct kaus_gc_stats gc_stats(void)
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

KAUS_TYPE(node_type, struct node, left, right);

static inline struct node *make_node(uint64_t tag)
{
	struct node *n = kaus_new(&node_type);

	if (!CHECK(n))
		return NULL;
	n->tag = tag;
	n->sum = tag ^ MAGIC;
	return n;
}

static inline bool is_sound(const struct node *n)
{
	return n && n->sum == (n->tag ^ MAGIC);
}

/* Into new objects: nothing is overwritten. */
static inline struct node *make_tree(int depth, uint64_t tag)
{
	struct node *n = make_node(tag);

	if (n && depth) {
		n->left = make_tree(depth - 1, 2 * tag);
		n->right = make_tree(depth - 1, 2 * tag + 1);
	}
	return n;
}

/* All of a tree that nothing has been moved in. */
static inline unsigned long check_tree(const struct node *n, uint64_t tag)
{
	if (!n)
		return 0;
	if (!CHECK(n->tag == tag && is_sound(n)))
		return 0;
	return 1 + check_tree(n->left, 2 * tag) +
	       check_tree(n->right, 2 * tag + 1);
}

/* Is it a child, and not something new where that was? */
static inline bool fits(const struct node *n, const struct node *child)
{
	return !child || child->tag >> 1 == n->tag << 1 >> 1;
}

static inline unsigned long count_tree(const struct node *n)
{
	if (!n || !CHECK(is_sound(n)) || !CHECK(fits(n, n->left)) ||
	    !CHECK(fits(n, n->right)))
		return 0;
	return 1 + count_tree(n->left) + count_tree(n->right);
}

/* A large heap, so that marking takes a while. Used: by the collector at least. */
static struct node *ballast __attribute__((used));

static inline void *make_ballast(void *arg)
{
	ballast = make_tree((int)(uintptr_t)arg, 1);
	return NULL;
}

/*
 * In a goroutine of its own: what it leaves behind on its stack is not looked at
 * when it has ended.
 */
static inline void elsewhere(void *(*fn)(void *), void *arg)
{
	CHECK_EQ(0, kaus_join(ut_spawn(fn, arg), NULL));
}

static inline void concurrent(int check)
{
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_CONCURRENT, 1));
	CHECK_EQ(0, kaus_gc_set(KAUS_GC_CHECK, check));
}

static inline uint64_t count_live(void)
{
	CHECK_EQ(0, kaus_gc());
	return gc_stats().nr_marked;
}

/* A word that happens to lie on a stack may hold a few that are dead. */
#define HELD_MAX	128

static inline void check_live(uint64_t nr)
{
	uint64_t live = count_live();

	CHECK(live >= nr);
	CHECK(live <= nr + HELD_MAX);
}

static atomic_bool planted;
static struct kaus_waitgroup mutators;

/* Cycles until all are planted, each with something to do. */
static inline void collector(void *arg)
{
	while (!atomic_load(&planted)) {
		kaus_gc();
		kaus_yield();
	}
	kaus_waitgroup_done(&mutators);
}

#endif /* GCTEST_H */
