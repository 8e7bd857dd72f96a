// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * How long the world stands still in concurrent cycles: a mutator on each P
 * swaps subtrees of a tree of its own and replaces parts of it, beside many
 * goroutines that are parked with a few words on their stacks, many timers, or
 * many objects with finalizers.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "bench.h"

#define DEPTH		15	/* of a mutator's tree */
#define PART_DEPTH	6	/* of what is replaced */
#define NR_SWAPS	64	/* for each part */

struct node {
	struct node *left, *right;
	uint64_t value[2];
};

KAUS_TYPE(node_type, struct node, left, right);

static struct {
	uint64_t *ns;
	size_t nr, max;
	atomic_flag busy;
	uint64_t seen, total_ns;	/* of nr_pauses, total_pause_ns */
	atomic_bool done;
} log = { .busy = ATOMIC_FLAG_INIT };

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

static struct node *inner(struct node *n, uint64_t way)
{
	for (int i = 0; i < DEPTH - PART_DEPTH - 1; i++, way >>= 1)
		n = way & 1 ? n->left : n->right;
	return n;
}

static struct kaus_gc_stats stats(void)
{
	struct kaus_gc_stats st = { .size = sizeof(st) };

	bench_check(kaus_gc_stats_read(&st), "kaus_gc_stats_read");
	return st;
}

static void put(uint64_t ns)
{
	if (log.nr < log.max)
		log.ns[log.nr++] = ns;
	else
		atomic_store(&log.done, true);
}

/* Looked at so often that hardly ever more than two are new. */
static void look(void)
{
	struct kaus_gc_stats st;
	uint64_t nr, ns;

	if (atomic_flag_test_and_set(&log.busy))
		return;
	st = stats();
	nr = st.nr_pauses - log.seen;
	ns = st.total_pause_ns - log.total_ns - st.pause_ns;
	for (uint64_t i = 1; i < nr; i++)
		put(ns / (nr - 1));
	if (nr)
		put(st.pause_ns);
	log.seen = st.nr_pauses;
	log.total_ns = st.total_pause_ns;
	atomic_flag_clear(&log.busy);
}

static void *mutator(void *arg)
{
	uint64_t state = (uintptr_t)arg * 0x9e3779b97f4a7c15ULL;
	struct node *tree = make_tree(DEPTH);

	while (!atomic_load(&log.done)) {
		for (int i = 0; i < NR_SWAPS; i++) {
			struct node *n, *left;

			state = state * 6364136223846793005ULL + 1;
			n = inner(tree, state >> 32);
			left = n->left;
			KAUS_STORE(&n->left, n->right);
			KAUS_STORE(&n->right, left);
		}
		KAUS_STORE(&inner(tree, state >> 40)->left,
			   make_tree(PART_DEPTH));
		look();
	}
	return NULL;
}

static void parked(void *arg)
{
	uint64_t value;

	kaus_chan_recv(arg, &value);
}

static void pauses(const char *metric, size_t nr_parked, size_t nr_pauses)
{
	struct kaus_chan *ch = bench_chan(sizeof(uint64_t), 0);
	size_t nr = (size_t)kaus_procs();
	struct kaus_g **gs = calloc(nr, sizeof(struct kaus_g *));
	struct kaus_gc_stats st;

	log.max = bench_count(nr_pauses);
	log.ns = calloc(log.max, sizeof(*log.ns));
	bench_check(gs && log.ns ? 0 : -1, "calloc");
	bench_check(kaus_gc_set(KAUS_GC_CONCURRENT, 1), "concurrent");
	for (size_t i = 0; i < nr_parked; i++)
		bench_go(parked, ch);
	kaus_sleep(100000000);
	st = stats();
	log.seen = st.nr_pauses;
	log.total_ns = st.total_pause_ns;
	for (size_t i = 0; i < nr; i++)
		gs[i] = bench_spawn(mutator, (void *)(i + 1));
	for (size_t i = 0; i < nr; i++)
		bench_check(kaus_join(gs[i], NULL), "kaus_join");
	bench_report_tail(metric, log.ns, log.nr);
	kaus_chan_close(ch);
	free(log.ns);
	free(gs);
}

static void never(void *arg)
{
	(void)arg;
}

/* Armed, and not due before it is over. */
void bench_gc_pauses_timers(void)
{
	size_t nr = bench_count(100000);
	struct kaus_timer *timers = calloc(nr, sizeof(*timers));

	bench_check(timers ? 0 : -1, "calloc");
	for (size_t i = 0; i < nr; i++) {
		kaus_timer_init(&timers[i], never, NULL);
		bench_check(kaus_timer_start(&timers[i], kaus_now_ns() +
					     3600000000000ULL + i, 0),
			    "kaus_timer_start");
	}
	pauses("gc_pauses_timers", 1, 4000);
	for (size_t i = 0; i < nr; i++)
		kaus_timer_stop(&timers[i]);
	free(timers);
}

static void finalize(void *obj, void *arg)
{
	(void)obj;
	(void)arg;
}

void bench_gc_pauses_final(void)
{
	size_t nr = bench_count(100000);
	struct node **objs = kaus_alloc(nr * sizeof(*objs));

	bench_check(objs ? 0 : -1, "kaus_alloc");
	for (size_t i = 0; i < nr; i++) {
		objs[i] = make_tree(0);
		bench_check(kaus_gc_finalizer_set(objs[i], finalize, NULL),
			    "kaus_gc_finalizer_set");
	}
	pauses("gc_pauses_final", 1, 4000);
	bench_check(objs[nr - 1] ? 0 : -1, "objects");
}

void bench_gc_pauses_1(void)
{
	pauses("gc_pauses_1", 1, 4000);
}

void bench_gc_pauses_1k(void)
{
	pauses("gc_pauses_1k", 1000, 4000);
}

void bench_gc_pauses_100k(void)
{
	pauses("gc_pauses_100k", 100000, 400);
}
