// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The collector: how long the world stands still, with either kind of cycle, and
 * what a declared store costs. The live heap is a tree of 260,000 nodes, parts
 * of which are replaced all the time.
 */
#include "bench.h"

#include <stdlib.h>

#define DEPTH		17	/* of the tree */
#define PART_DEPTH	6	/* of what is replaced */
#define MAX_PAUSES	10000
#define NR_SLOTS	64
#define BATCH		1000

struct node {
	struct node *left, *right;
	uint64_t value[2];
};

KAUS_TYPE(node_type, struct node, left, right);

static struct node *tree;
static int by_pages;
static uint64_t state = 88172645463325252ULL;

static uint64_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static struct node *make_tree(int depth)
{
	struct node *n = kaus_new(&node_type);

	bench_check(n ? 0 : -1, "kaus_new");
	if (depth) {
		n->left = make_tree(depth - 1);
		n->right = make_tree(depth - 1);
	}
	return n;
}

static void replace_part(void)
{
	struct node *n = tree;
	uint64_t way = next_random();

	for (int i = 0; i < DEPTH - PART_DEPTH - 1; i++, way >>= 1)
		n = way & 1 ? n->left : n->right;
	/* By pages it is not declared. */
	if (way & 1 && by_pages)
		n->left = make_tree(PART_DEPTH);
	else if (by_pages)
		n->right = make_tree(PART_DEPTH);
	else if (way & 1)
		KAUS_STORE(&n->left, make_tree(PART_DEPTH));
	else
		KAUS_STORE(&n->right, make_tree(PART_DEPTH));
}

static struct kaus_gc_stats stats(void)
{
	struct kaus_gc_stats st = { .size = sizeof(st) };

	bench_check(kaus_gc_stats_read(&st), "kaus_gc_stats_read");
	return st;
}

/* Each stop is seen, for this is what makes cycles, but the first of two. */
static void pauses(const char *metric, int concurrent)
{
	uint64_t *ns = calloc(MAX_PAUSES, sizeof(*ns)), seen;
	size_t nr = 0, max = bench_count(100);

	bench_check(ns ? 0 : -1, "calloc");
	bench_check(kaus_gc_set(KAUS_GC_CONCURRENT, concurrent), "concurrent");
	by_pages = concurrent == 2;
	tree = make_tree(DEPTH);
	seen = stats().nr_pauses;
	if (max > MAX_PAUSES)
		max = MAX_PAUSES;
	while (nr < max) {
		struct kaus_gc_stats st;

		replace_part();
		st = stats();
		if (st.nr_pauses != seen)
			ns[nr++] = st.pause_ns;
		seen = st.nr_pauses;
	}
	bench_report_percentiles(metric, ns, nr);
	bench_report("worst", (double)ns[nr - 1] / 1000, "us");
	free(ns);
}

void bench_gc_stop(void)
{
	pauses("gc_stop", 0);
}

void bench_gc_concurrent(void)
{
	pauses("gc_concurrent", 1);
}

void bench_gc_pages(void)
{
	if (kaus_gc_set(KAUS_GC_CONCURRENT, 2))
		return;		/* not on this kernel */
	pauses("gc_pages", 2);
}

/* So many stores, of which each overwrites another node. */
static uint64_t store_batch(struct node **slots, int declared)
{
	uint64_t start = kaus_now_ns();

	for (size_t i = 0; i < BATCH; i++) {
		struct node **slot = &slots[i % NR_SLOTS];
		struct node *n = slots[(i * 7 + 1) % NR_SLOTS];

		if (declared)
			KAUS_STORE(slot, n);
		else
			__atomic_store_n(slot, n, __ATOMIC_RELAXED);
	}
	return kaus_now_ns() - start;
}

/* The least of many batches: others want the CPU, too. */
static uint64_t least(struct node **slots, int declared, int marking, size_t nr)
{
	uint64_t min = UINT64_MAX;

	while (nr) {
		uint64_t ns;
		int as_wanted;

		bench_check(kaus_preempt_disable(), "kaus_preempt_disable");
		as_wanted = !!kaus_gc_barrier_on == marking;
		ns = store_batch(slots, declared);
		bench_check(kaus_preempt_enable(), "kaus_preempt_enable");
		if (!as_wanted) {
			/* Make a cycle come, or wait for its end. */
			replace_part();
			continue;
		}
		if (ns < min)
			min = ns;
		nr--;
	}
	return min;
}

void bench_gc_store(void)
{
	struct node **slots = kaus_alloc_array(NR_SLOTS, sizeof(*slots));
	size_t nr = bench_count(20000);

	bench_check(slots ? 0 : -1, "kaus_alloc_array");
	bench_check(kaus_gc_set(KAUS_GC_CONCURRENT, 1), "concurrent");
	tree = make_tree(DEPTH);
	for (size_t i = 0; i < NR_SLOTS; i++)
		slots[i] = make_tree(0);
	bench_report("gc_store_plain", (double)least(slots, 0, 0, nr) / BATCH,
		     "ns");
	bench_report("gc_store_idle", (double)least(slots, 1, 0, nr) / BATCH,
		     "ns");
	bench_report("gc_store_marking",
		     (double)least(slots, 1, 1, nr / 10) / BATCH, "ns");
}
