// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * How long a thread of a program that knows nothing of the collector is held up.
 * A tree stays live; threads exchange subtrees in it with plain stores and replace
 * parts of it, and look at the clock every few dozen stores. The time between two
 * looks is what counts: it has stops, and all else that the collector costs.
 *
 * usage: stalls [SECONDS [DEPTH [THREADS [SWAPS]]]]	(5 20 1 1)
 *
 * SWAPS is how many random places of the tree are written for each 63 objects that
 * are made: with 32 nearly all pages of the heap are written all the time.
 *
 * One source for each collector that has a gc.h. All that is printed are pairs of
 * a name and a number.
 */
#define GC_THREADS
#include <gc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define PART_DEPTH	5
#define MAX_LOOKS	(1U << 22)
#define MAX_THREADS	16

struct node {
	struct node *left, *right;
	uint64_t value[2];
};

struct mutator {
	pthread_t thread;
	struct node *tree;
	uint64_t nr;		/* looks so far */
	uint32_t *ns;		/* from malloc(): not looked at */
};

static struct mutator mutators[MAX_THREADS];
static int depth = 20, nr_threads = 1, nr_swaps = 1;
static uint64_t end_ns;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static struct node *make_tree(int d)
{
	struct node *n = GC_MALLOC(sizeof(*n));

	if (!n)
		exit(1);
	if (d) {
		n->left = make_tree(d - 1);
		n->right = make_tree(d - 1);
	}
	return n;
}

static struct node *inner(struct node *n, int levels, uint64_t way)
{
	for (int i = 0; i < levels; i++, way >>= 1)
		n = way & 1 ? n->left : n->right;
	return n;
}

static void mutate(struct mutator *m, uint64_t *state)
{
	for (int i = 0; i < nr_swaps; i++) {
		struct node *n, *left;

		*state = *state * 6364136223846793005ULL + 1;
		n = inner(m->tree, depth - PART_DEPTH - 1, *state >> 32);
		left = n->left;
		n->left = n->right;
		n->right = left;
	}
	inner(m->tree, depth - PART_DEPTH - 1, *state >> 40)->left =
		make_tree(PART_DEPTH);
}

static void *run(void *arg)
{
	uint64_t last = now_ns(), state = 0x9e3779b97f4a7c15ULL;
	struct mutator *m = arg;

	state *= (uint64_t)(m - mutators) + 1;
	while (last < end_ns && m->nr < MAX_LOOKS) {
		uint64_t now;

		mutate(m, &state);
		now = now_ns();
		m->ns[m->nr++] = now - last > UINT32_MAX ? UINT32_MAX :
							   (uint32_t)(now - last);
		last = now;
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 5;
	uint64_t begin, nr = 0, cycles;
	struct rusage ru;
	uint32_t *all;

	if (argc > 2)
		depth = atoi(argv[2]);
	if (argc > 3)
		nr_threads = atoi(argv[3]);
	if (argc > 4)
		nr_swaps = atoi(argv[4]);
	if (nr_threads < 1 || nr_threads > MAX_THREADS ||
	    depth <= PART_DEPTH + 1)
		return 2;
	GC_INIT();
	for (int i = 0; i < nr_threads; i++) {
		mutators[i].tree = make_tree(depth);
		mutators[i].ns = malloc(MAX_LOOKS * sizeof(uint32_t));
		if (!mutators[i].ns)
			return 1;
	}
	GC_gcollect();
	cycles = GC_get_gc_no();
	begin = now_ns();
	end_ns = begin + (uint64_t)(seconds * 1e9);
	for (int i = 0; i < nr_threads; i++)
		if (pthread_create(&mutators[i].thread, NULL, run, &mutators[i]))
			return 1;
	for (int i = 0; i < nr_threads; i++)
		pthread_join(mutators[i].thread, NULL);
	seconds = (double)(now_ns() - begin) / 1e9;
	for (int i = 0; i < nr_threads; i++)
		nr += mutators[i].nr;
	all = malloc(nr * sizeof(*all));
	if (!all || !nr)
		return 1;
	nr = 0;
	for (int i = 0; i < nr_threads; i++)
		for (uint64_t k = 0; k < mutators[i].nr; k++)
			all[nr++] = mutators[i].ns[k];
	qsort(all, nr, sizeof(*all), compare);
	getrusage(RUSAGE_SELF, &ru);
	printf("looks_per_s %.0f p50_us %.1f p99.9_us %.1f p99.99_us %.1f worst_us %.1f cycles %lu cpu_s %.2f rss_mb %ld faults %ld\n",
	       (double)nr / seconds, all[nr / 2] / 1e3,
	       all[nr - 1 - nr / 1000] / 1e3, all[nr - 1 - nr / 10000] / 1e3,
	       all[nr - 1] / 1e3, (unsigned long)(GC_get_gc_no() - cycles),
	       (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
	       (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6,
	       ru.ru_maxrss >> 10, ru.ru_minflt);
	return 0;
}
