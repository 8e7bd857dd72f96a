// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * What allocating and collecting costs: prints "metric value unit". heap.h says
 * on which heap; bench/go/mem.go is the same in Go. Times are CPU time of all
 * threads where the name does not say otherwise, so that a collector that works
 * beside the program is counted.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "heap.h"

static double scale = 1;

static size_t count(size_t nr)
{
	size_t scaled = (size_t)((double)nr * scale);

	return scaled > 10 ? scaled : 10;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void report(const char *metric, double value, const char *unit)
{
	printf("%s %.4g %s\n", metric, value, unit);
}

static void *must(void *obj)
{
	if (!obj) {
		fprintf(stderr, "mem: no memory\n");
		exit(1);
	}
	return obj;
}

/* ---- alloc: objects that die soon, a few of them alive ---- */

#define NR_ALIVE	64

static void **alive;

static void alloc(const char *metric, size_t size)
{
	size_t nr = count(size <= 16 ? 50000000 : 20000000);
	uint64_t start;

	alive = must(heap_alloc(NR_ALIVE * sizeof(*alive)));
	memset(alive, 0, NR_ALIVE * sizeof(*alive));
	start = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	for (size_t i = 0; i < nr; i++) {
		void **obj = must(heap_alloc(size));

		obj[0] = NULL;
		heap_drop(alive[i % NR_ALIVE]);
		HEAP_STORE(&alive[i % NR_ALIVE], (void *)obj);
	}
	report(metric, (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - start) /
		       (double)nr, "ns");
}

static void alloc_16(void)
{
	alloc("alloc_16", 16);
}

static void alloc_64(void)
{
	alloc("alloc_64", 64);
}

static void alloc_256(void)
{
	alloc("alloc_256", 256);
}

/* ---- trees: binary-trees of the Benchmarks Game ---- */

#define MIN_DEPTH	4
#define MAX_DEPTH	18

struct tree {
	struct tree *left, *right;
};

static struct tree *tree_make(unsigned int depth)
{
	struct tree *t = must(heap_alloc(sizeof(*t)));

	t->left = NULL;
	t->right = NULL;
	if (depth) {
		HEAP_STORE(&t->left, tree_make(depth - 1));
		HEAP_STORE(&t->right, tree_make(depth - 1));
	}
	return t;
}

static size_t tree_count(const struct tree *t)
{
	return t->left ? 1 + tree_count(t->left) + tree_count(t->right) : 1;
}

static void tree_drop(struct tree *t)
{
#if !defined(HEAP_KAUS) && !defined(HEAP_GC)
	if (t->left) {
		tree_drop(t->left);
		tree_drop(t->right);
	}
#endif
	heap_drop(t);
}

static void tree_check(const struct tree *t, unsigned int depth)
{
	if (tree_count(t) != ((size_t)2 << depth) - 1) {
		fprintf(stderr, "mem: a tree has lost nodes\n");
		exit(1);
	}
}

static void tree_try(unsigned int depth)
{
	struct tree *t = tree_make(depth);

	tree_check(t, depth);
	tree_drop(t);
}

static void trees(void)
{
	unsigned int max = scale < 1 ? MAX_DEPTH - 4 : MAX_DEPTH;
	uint64_t cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	uint64_t wall = clock_ns(CLOCK_MONOTONIC);
	struct tree *kept;
	struct rusage ru;

	tree_try(max + 1);
	kept = tree_make(max);
	for (unsigned int d = MIN_DEPTH; d <= max; d += 2) {
		size_t nr = (size_t)1 << (max - d + MIN_DEPTH);

		while (nr--)
			tree_try(d);
	}
	tree_check(kept, max);
	report("trees_cpu", (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) /
			    1e6, "ms");
	report("trees_wall", (double)(clock_ns(CLOCK_MONOTONIC) - wall) / 1e6,
	       "ms");
	getrusage(RUSAGE_SELF, &ru);
	report("trees_rss", (double)ru.ru_maxrss / 1024, "MiB");
}

/* ---- push: a window of messages that moves on (W. Sewell) ---- */

#define WINDOW		200000
#define MESSAGE_BYTES	1024

static void **window;

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/*
 * The worst one in time that the thread has run: what it waits for others, of
 * the runtime or not, does not count, and where the machine is shared that is
 * what the worst one consists of. The clock is a system call, so it is read at
 * each 64th push and after a long one, which is told too long by as much.
 */
#define LONG_NS		50000
#define CPU_EVERY	64

struct on_cpu {
	pthread_t thread;	/* a goroutine may be on another one */
	uint64_t ns, worst_ns;
};

static void on_cpu_look(struct on_cpu *c, int was_long)
{
	uint64_t now = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	pthread_t self = pthread_self();

	if (was_long && self == c->thread && now - c->ns > c->worst_ns)
		c->worst_ns = now - c->ns;
	c->thread = self;
	c->ns = now;
}

static void push(void)
{
	size_t nr = count(3000000), nr_window = count(WINDOW), nr_long = 0;
	uint32_t *took = must(malloc(nr * sizeof(*took)));
	struct on_cpu on_cpu = { .worst_ns = 0 };
	uint64_t cpu, last;

#ifdef HEAP_KAUS
	/* It declares its stores. */
	if (kaus_gc_set(KAUS_GC_CONCURRENT, 1)) {
		fprintf(stderr, "mem: not concurrent\n");
		exit(1);
	}
#endif
	memset(took, 0, nr * sizeof(*took));
	window = must(heap_alloc(nr_window * sizeof(*window)));
	memset(window, 0, nr_window * sizeof(*window));
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	on_cpu_look(&on_cpu, 0);
	last = clock_ns(CLOCK_MONOTONIC);
	for (size_t i = 0; i < nr; i++) {
		void *msg = must(heap_alloc_noscan(MESSAGE_BYTES));
		uint64_t now;

		memset(msg, (int)(i & 0xff), MESSAGE_BYTES);
		heap_drop(window[i % nr_window]);
		HEAP_STORE(&window[i % nr_window], msg);
		now = clock_ns(CLOCK_MONOTONIC);
		took[i] = (uint32_t)(now - last < UINT32_MAX ? now - last :
							       UINT32_MAX);
		nr_long += took[i] > 500000;
		if (i % CPU_EVERY == 0 || took[i] > LONG_NS) {
			on_cpu_look(&on_cpu, took[i] > LONG_NS);
			now = clock_ns(CLOCK_MONOTONIC);
		}
		last = now;
	}
	report("push_cpu", (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) /
			   (double)nr, "ns");
	qsort(took, nr, sizeof(*took), compare);
	report("push_p50", (double)took[nr / 2] / 1000, "us");
	report("push_p99.9", (double)took[nr - 1 - nr / 1000] / 1000, "us");
	report("push_worst", (double)took[nr - 1] / 1000, "us");
	report("push_worst_cpu", (double)on_cpu.worst_ns / 1000, "us");
	report("push_over_500us", (double)nr_long, "pushes");
	free(took);
}

static const struct {
	const char *name;
	void (*run)(void);
} works[] = {
	{ "alloc_16", alloc_16 },
	{ "alloc_64", alloc_64 },
	{ "alloc_256", alloc_256 },
	{ "trees", trees },
	{ "push", push },
};

#define NR_WORKS (sizeof(works) / sizeof(works[0]))

static int run(void *arg)
{
	works[*(size_t *)arg].run();
	return 0;
}

int main(int argc, char **argv)
{
	const char *env = getenv("BENCH_SCALE");
	size_t i;

	if (env && strtod(env, NULL) > 0)
		scale = strtod(env, NULL);
	for (i = 0; argc == 2 && i < NR_WORKS; i++)
		if (!strcmp(argv[1], works[i].name))
			return heap_run(run, &i) ? 1 : 0;
	fprintf(stderr, "usage: %s NAME, one of:", argv[0]);
	for (i = 0; i < NR_WORKS; i++)
		fprintf(stderr, " %s", works[i].name);
	fprintf(stderr, "\n");
	return 2;
}
