// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * GCBench, after the description of J. Ellis' and P. Kovac's test as H. Boehm
 * has published it: binary trees of several depths, built from the top and from
 * the bottom, while a large tree and a large array without pointers stay. Two
 * words of data make a node 32 bytes long.
 *
 * One source for each collector that has a gc.h.
 */
#include <gc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define LONG_DEPTH	16
#define STRETCH_DEPTH	18
#define MIN_DEPTH	4
#define MAX_DEPTH	16
#define ARRAY_SIZE	500000

struct node {
	struct node *left, *right;
	int i, j;
};

static long tree_size(int depth)
{
	return (1L << (depth + 1)) - 1;
}

static long nr_rounds(int depth)
{
	return 2 * tree_size(STRETCH_DEPTH) / tree_size(depth);
}

static struct node *new_node(struct node *left, struct node *right)
{
	struct node *n = GC_MALLOC(sizeof(*n));

	if (!n) {
		fputs("gcbench: no memory\n", stderr);
		exit(1);
	}
	n->left = left;
	n->right = right;
	return n;
}

static void populate(int depth, struct node *n)
{
	if (depth <= 0)
		return;
	n->left = new_node(NULL, NULL);
	n->right = new_node(NULL, NULL);
	populate(depth - 1, n->left);
	populate(depth - 1, n->right);
}

static struct node *make_tree(int depth)
{
	struct node *left, *right;

	if (depth <= 0)
		return new_node(NULL, NULL);
	left = make_tree(depth - 1);
	right = make_tree(depth - 1);
	return new_node(left, right);
}

static long count(const struct node *n)
{
	return n ? 1 + count(n->left) + count(n->right) : 0;
}

static void construct(int depth)
{
	long nr = nr_rounds(depth);

	for (long i = 0; i < nr; i++)
		populate(depth, new_node(NULL, NULL));
	for (long i = 0; i < nr; i++)
		make_tree(depth);
}

static double seconds(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int main(void)
{
	double wall = seconds(CLOCK_MONOTONIC);
	struct node *long_lived;
	struct rusage ru;
	double *array;

	GC_INIT();
	make_tree(STRETCH_DEPTH);
	long_lived = new_node(NULL, NULL);
	populate(LONG_DEPTH, long_lived);
	array = GC_MALLOC_ATOMIC(ARRAY_SIZE * sizeof(*array));
	if (!array)
		return 1;
	for (int i = 0; i < ARRAY_SIZE / 2; i++)
		array[i] = 1.0 / (i + 1);
	for (int d = MIN_DEPTH; d <= MAX_DEPTH; d += 2)
		construct(d);
	if (count(long_lived) != tree_size(LONG_DEPTH) ||
	    array[1000] != 1.0 / 1001) {
		fputs("gcbench: data has changed\n", stderr);
		return 1;
	}
	wall = seconds(CLOCK_MONOTONIC) - wall;
	getrusage(RUSAGE_SELF, &ru);
	printf("cpu %.3f wall %.3f rss_kb %ld cycles %lu\n",
	       seconds(CLOCK_PROCESS_CPUTIME_ID), wall, ru.ru_maxrss,
	       (unsigned long)GC_get_gc_no());
	return 0;
}
